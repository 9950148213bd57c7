"""Splits a clean answer into tokens, LaTeX or plain."""

from __future__ import annotations

import re
from typing import NamedTuple

from plm.graders.math.words import BIG_OPERATORS, CONSTANTS, FUNCTIONS, GREEK, MEASURES, ORDINALS, PERCENT, UNITS

MAX_TOKENS = 600
_MAX_NESTING = 8


class UnreadableError(Exception):
    """The text is no mathematics that we know."""


class Token(NamedTuple):
    """A token.

    Attributes:
        kind: `num`, `sym`, `cmd` (a LaTeX command or a known name, without backslash), `op` (as written), `text`
            (words), `sep` (`,`, `;`, `and`, `or`), `begin` and `close` (an environment), or `end` (the end).
        value: What it says.
        spaced: Whether a blank stands before it.
    """

    kind: str
    value: str
    spaced: bool = False


_TOKEN = re.compile(
    r"""
    (?P<space>\s+|\\[,!;:>\ ]|~|\\(?:left|right)\.
      |\\(?:q?quad|left|right|[bB]igg?[lrm]?|displaystyle|textstyle|limits|thinspace|nobreak)(?![a-zA-Z]))
    |(?P<repeating>\d*\.\d*\\(?:overline|bar|dot)\s*(?:\{\d+\}|\d))
    |(?P<scientific>\d+(?:\.\d+)?[eE][+-]?\d{1,3}(?![\d.a-zA-Z]))
    |(?P<num>\d+\.\d+|\d+\.(?=\s*[)\]},])|\d+|\.\d+)
    |(?P<half>(?<![a-zA-Z])[ap]\.\s?m\b\.?)
    |\\(?P<font>text(?:bf|rm|it|sf|normal)?|mbox|math(?:rm|bf|it|sf|cal|bb|frak|scr)|operatorname\*?|emph|textup
      |boldsymbol|bm|bold)\s*(?P<brace>\{)?
    |\\begin\s*\{(?P<begin>[a-z]+\*?)\}
    |\\end\s*\{(?P<end>[a-z]+\*?)\}
    |(?P<phantom>\\[hv]?phantom\s*(?:\{[^{}]*\}|[^\s{])|\\[hv]space\*?\s*\{[^{}]*\})
    |\\(?P<cmd>[a-zA-Z]+)
    |(?P<escape>\\\\|\\[{}|%$&\#_])
    |(?P<word>[A-Za-z]+|[^\x00-\x7f]+)
    |(?P<op>\*\*|<=|>=|==|!=|\+-|-\+|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ALIASES = {
    **{name: "frac" for name in ("dfrac", "tfrac", "cfrac", "nicefrac", "sfrac")},
    **{name: "binom" for name in ("dbinom", "tbinom")},
}
_HALF_DAY = re.compile(r"(?i)[ap]\.?\s?m\.?")
_TEXT_WITH_MATHS = re.compile(r"(?:[A-Za-z](?![A-Za-z])|[\d\s.,;:()\[\]+\-*/=<>%^|'$]|\\[a-zA-Z]++|and\b|or\b)*+")


def tokenize(text: str) -> list[Token]:
    """The tokens of a clean answer, with an `end` token.

    Raises:
        UnreadableError: If there are too many tokens, or braces do not match.
    """
    tokens: list[Token] = []
    _scan(text, tokens, 0)
    return [*tokens, Token("end", "")]


def _scan(text: str, tokens: list[Token], nesting: int) -> None:
    if nesting > _MAX_NESTING:
        raise UnreadableError("fonts nested too deep")
    at, spaced = 0, False
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None, "the last alternative takes any character"
        at = match.end()
        kind = match.lastgroup if match.lastgroup != "brace" else "font"
        if kind in ("space", "phantom"):
            spaced = True
            continue
        if kind == "font":
            at = _scan_font(text, at, match, tokens, spaced, nesting)
        elif kind == "word":
            _add_word(match["word"], tokens, spaced)
        elif kind == "begin":
            at = _skip_columns(text, at, match["begin"])
            tokens.append(Token("begin", match["begin"], spaced))
        else:
            tokens.append(_make_token(kind or "op", match, spaced))
        spaced = False
        if len(tokens) > MAX_TOKENS:
            raise UnreadableError("too many tokens")


def _make_token(kind: str, match: re.Match[str], spaced: bool) -> Token:
    value = match[kind]
    if kind == "end":
        return Token("close", value, spaced)
    if kind == "half":
        return Token("text", value, spaced)
    if kind == "escape":
        return Token("op", {"\\%": "%", "\\|": "|", "\\&": "&", "\\#": "#", "\\_": "_"}.get(value, value), spaced)
    if kind == "op" and value in ",;":
        return Token("sep", value, spaced)
    if kind == "cmd":
        value = _ALIASES.get(value, value)
        if value in ("land", "wedge", "lor", "vee"):
            return Token("sep", "and" if value in ("land", "wedge") else "or", spaced)
        if value in ("lvert", "rvert", "vert", "lVert", "rVert", "Vert"):
            return Token("op", "|", spaced)
        if value in ("lbrace", "rbrace"):
            return Token("op", "\\{" if value == "lbrace" else "\\}", spaced)
    return Token(kind, value, spaced)


def _scan_font(text: str, at: int, match: re.Match[str], tokens: list[Token], spaced: bool, nesting: int) -> int:
    if match["brace"] is None:  # \mathrm e, \text A
        content, at = text[at : at + 1], at + 1
    else:
        content, at = _braced(text, at)
    font, words = match["font"], content.strip(" ~").replace("\\ ", " ").strip()
    if font == "mathbb":
        tokens.append(Token("cmd", f"mathbb {words}", spaced))
    elif words.casefold() in ("and", "or", ", and", ", or", "and/or"):
        tokens.append(Token("sep", "or" if words.casefold().endswith("or") else "and", spaced))
    elif font in ("mathbf", "boldsymbol", "bm", "bold") and words in ("i", "j", "k", "e"):
        tokens.append(Token("sym", f"bold {words}", spaced))
    elif words.casefold() in PERCENT or (
        font in ("operatorname", "mathrm") and (words in FUNCTIONS or words in CONSTANTS)
    ):
        _add_word(words, tokens, spaced)
    elif _HALF_DAY.fullmatch(words) or (_ends_factor(tokens) and _is_unit(words)):
        tokens.append(Token("text", words, spaced))
    elif _TEXT_WITH_MATHS.fullmatch(content) or (font in ("boldsymbol", "bm", "mathbf") and "\\" in content):
        _scan(content.replace("$", " "), tokens, nesting + 1)
    else:
        _add_text(content, tokens, spaced, nesting)
    return at


def _ends_factor(tokens: list[Token]) -> bool:
    return bool(tokens) and (tokens[-1].kind == "num" or tokens[-1].value in ("}", ")"))


def _is_unit(words: str) -> bool:
    """Whether a text is made of unit signs: `m`, `m/s`, `cm^2`."""
    parts = re.split(r"\s*/\s*", re.sub(r"\^?\{?\d\}?", "", words))
    return all(part.casefold() in UNITS for part in parts)


def _add_text(content: str, tokens: list[Token], spaced: bool, nesting: int) -> None:
    """Words; where `and` or `or` joins parts, they are answers of their own."""
    parts = re.split(r"\s+(and|or)\s+|(?:^|\s+)(and|or)\s*$|^\s*(and|or)\s+", content)
    for part in parts:
        if part in ("and", "or"):
            tokens.append(Token("sep", part, spaced))
        elif part and part.strip():
            for i, piece in enumerate(part.split(",")):
                if i:
                    tokens.append(Token("sep", ",", spaced))
                if _TEXT_WITH_MATHS.fullmatch(piece):
                    _scan(piece, tokens, nesting + 1)
                elif piece.strip():
                    tokens.append(Token("text", piece.strip(), spaced))


def _braced(text: str, start: int) -> tuple[str, int]:
    """What stands between a brace that opened before `start` and its partner, and where to go on."""
    depth, at = 1, start
    while at < len(text):
        if text[at] == "\\":
            at += 2
            continue
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at], at + 1
        at += 1
    raise UnreadableError("a brace that never closes")


def _skip_columns(text: str, at: int, environment: str) -> int:
    """Behind the argument with the columns of an array."""
    if environment in ("array", "tabular") and (match := re.compile(r"\s*(?:\[\w\]\s*)?\{[^{}]*\}").match(text, at)):
        return match.end()
    return at


def _add_word(word: str, tokens: list[Token], spaced: bool) -> None:
    low = word.casefold()
    after_number = bool(tokens) and tokens[-1].kind == "num"
    if low in ("and", "or"):
        tokens.append(Token("sep", low, spaced))
    elif after_number and word[:2] == "or" and len(word) > 2 and word[2].isupper():  # 1orW(x)=2
        tokens.append(Token("sep", "or"))
        _add_word(word[2:], tokens, spaced)
    elif low in PERCENT:
        tokens.append(Token("op", "%", spaced))
    elif after_number and not spaced and low in ORDINALS:
        return
    elif after_number and low in UNITS and len(word) > 1:
        tokens.append(Token("text", word, spaced))
    elif word in FUNCTIONS or word in ("sqrt", "frac", "binom", "cup", "union") or word in BIG_OPERATORS[:2]:
        tokens.append(Token("cmd", {"union": "cup"}.get(word, word), spaced))
    elif (low in CONSTANTS and len(word) > 1) or (word in GREEK and len(word) > 2):
        tokens.append(Token("cmd", low if low in CONSTANTS else word, spaced))
    elif len(word) == 1 and word.isascii():
        tokens.append(Token("sym", word, spaced))
    elif _is_words(word, spaced) or (len(word) > 2 and not after_number and (word.isupper() or word.istitle())):
        tokens.append(Token("text", word, spaced))
    else:
        tokens.extend(Token("sym", letter, spaced and i == 0) for i, letter in enumerate(word))


def _is_words(word: str, spaced: bool) -> bool:
    """Whether a run of letters is a word rather than a product of variables."""
    low = word.casefold()
    return not word.isascii() or low in UNITS or low in MEASURES or len(word) > 4 or (len(word) > 3 and spaced)
