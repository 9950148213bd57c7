"""Splits C++ into tokens, as far as a plain program goes; anything unusual is refused, never guessed."""

from __future__ import annotations

import re
from typing import NamedTuple

_TOKEN = re.compile(
    r"""(?P<blank>[ \t\n]+|//[^\n]*|/\*.*?\*/)
    |(?P<include>\#[ \t]*include[ \t]*<(?P<header>[\w./+]+)>[ \t]*(?=\n|//|$))
    |(?P<word>[A-Za-z$\x80-\U0010ffff][\w$\x80-\U0010ffff]*|__gcd\b)
    |(?P<number>\.?[0-9](?:[eEpP][+-]|'?[\w$\x80-\U0010ffff]|\.)*)
    |(?P<string>"(?:[^"\\\n]|\\[^\n])*")
    |(?P<char>'(?:[^'\\\n]|\\(?:[abfnrtv0'"?\\]))')
    |(?P<mark>(?!/\*)(?:::|->|<<|>>|&&|\|\||[-+*/%&|^=!<>]=|[-+*/%&|^=!<>~?:;,.(){}\[\]]))""",
    re.VERBOSE | re.DOTALL,
)
_UNUSUAL = re.compile(r"\\[ \t]*\n|\?\?|[^\t\n\x20-\x7e\u00a0-\U0010ffff]|[\ud800-\udfff\u2028\u2029]")
_DIGRAPH = re.compile(r"<%|%>|<:|:>|%:|\[\s*\[")
_OPEN_QUOTE = re.compile(r"""(["'])(?:(?!\1)[^\\\n]|\\[^\n])*(?:\n|\Z)""")
_STRAY = re.compile(r"[`@\x01-\x08\x0e-\x1f\x7f]|\\(?=[^uUN\s])")
_RAW = ("R", "LR", "uR", "UR", "u8R")
_CLOSING = {")": "(", "]": "[", "}": "{"}


class Token(NamedTuple):
    """One token.

    Attributes:
        kind: `include`, `word`, `number`, `string`, `char` or `mark`. Characters that are not ASCII's are letters of a
            word or number: g++ refuses those that are none, in the program's own lines.
        text: The token; of an include, the header's name.
        start: Where it starts in the program.
        end: Where it ends.
    """

    kind: str
    text: str
    start: int
    end: int


def read_tokens(program: str) -> tuple[list[Token], int]:
    """Splits a program into tokens, without blanks and comments, up to the first thing that a plain program has not.

    That is: directives other than includes of standard headers, comments without an end, raw or prefixed strings, names
    that start with an underscore, line splices, digraphs, attributes, characters outside of C++'s basic set (but in
    comments and strings).

    Args:
        program: The C++ text.

    Returns:
        The tokens, and where the rest begins; at the end of the text where all of it is such tokens.
    """
    unusual = _UNUSUAL.search(program)
    limit = unusual.start() if unusual else len(program)
    tokens: list[Token] = []
    position = 0
    while position < limit:
        found = _TOKEN.match(program, position)
        if found is None or found.end() > limit or _DIGRAPH.match(program, position) or _glued(tokens, found):
            break
        kind = found.lastgroup if found.lastgroup != "header" else "include"
        if kind == "include" and _in_line(program, tokens, position):
            break
        if kind is not None and kind != "blank":
            tokens.append(Token(kind, found["header"] or found[0], found.start(), found.end()))
        position = found.end()
    return tokens, position


def _glued(tokens: list[Token], found: re.Match[str]) -> bool:
    """Whether a literal touches a word: a prefix (R, u8) or a suffix that the user defined."""
    if not tokens or tokens[-1].end != found.start() or not found[0].strip():
        return False
    kinds = {tokens[-1].kind, found.lastgroup}
    literal, name = kinds & {"string", "char", "number"}, kinds & {"word", "number"}
    return bool(literal) and bool(name) and "mark" not in kinds


def _in_line(program: str, tokens: list[Token], position: int) -> bool:
    """Whether a token stands before this place in its line, so that a `#` is no directive."""
    return bool(tokens) and "\n" not in program[tokens[-1].end : position]


def pair_brackets(tokens: list[Token]) -> tuple[dict[int, int], list[int]] | None:
    """Pairs brackets.

    Args:
        tokens: A program's tokens.

    Returns:
        The index of the closing bracket for that of each opening one, and the brackets that are still open at the end;
        None where one closes what is not open.
    """
    partners: dict[int, int] = {}
    open_: list[int] = []
    for i, token in enumerate(tokens):
        if token.kind != "mark":
            continue
        if token.text in "([{":
            open_.append(i)
        elif token.text in _CLOSING:
            if not open_ or tokens[open_[-1]].text != _CLOSING[token.text]:
                return None
            partners[open_.pop()] = i
    return partners, open_


def is_broken(program: str, tokens: list[Token], end: int) -> bool:
    """Whether no compiler accepts what `read_tokens` has read and found, whatever follows.

    That is: a bracket without its partner, a quote without its partner, a character or a `#` that stands where C++ has
    none.

    Args:
        program: The C++ text.
        tokens: Its first tokens, none of them a macro.
        end: Where they end.
    """
    paired = pair_brackets(tokens)
    if paired is None:
        return True
    if end == len(program):
        return bool(paired[1])
    if _STRAY.match(program, end):
        return True
    if program[end] == "#":
        return _in_line(program, tokens, end)
    if tokens and tokens[-1].end == end and tokens[-1].text in _RAW:  # R"(
        return False
    return _OPEN_QUOTE.match(program, end) is not None
