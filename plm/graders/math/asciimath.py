r"""Reads ASCII-Math (asciimath.org): what our parser does not know of it becomes LaTeX, which it knows.

Most of ASCII-Math is read as it stands: `(3)/(4)`, `sqrt(3)/2`, `x^(n+1)`, `log_2(3)`, `oo`, `+-`, `<=`, `abs(x)`.
The rest is here: `xx`, `-:`, `uu`, `nn`, `RR`, `O/`, `^@`, `root(3)(5)`, `bar(3)`, `"words"`, `[[1,2],[3,4]]`, and, for
answers in words, letters with accents.
"""

from __future__ import annotations

import re
import unicodedata

_LONGEST = 2_000
_MOST_CALLS = 50
_WORDS = {
    **{"xx": "\\times ", "div": "\\div ", "uu": "\\cup ", "nn": "\\cap ", "cup": "\\cup ", "cap": "\\cap "},
    **{"RR": "\\mathbb{R}", "ZZ": "\\mathbb{Z}", "NN": "\\mathbb{N}", "QQ": "\\mathbb{Q}", "CC": "\\mathbb{C}"},
    **{"setminus": "\\setminus ", "emptyset": "\\emptyset ", "int": "\\int ", "degree": "^\\circ "},
    **{"le": "\\le ", "ge": "\\ge ", "ne": "\\ne ", "lt": "<", "gt": ">", "in": "\\in "},
}
_SIGNS = {"-:": "\\div ", "O/": "\\emptyset ", "^@": "^\\circ ", "^circ": "^\\circ ", "!in": "\\notin "}
_NOTATION = re.compile(r'"(?P<text>[^"]{1,200})"|(?P<sign>-:|(?<![A-Za-z])O/|\^@|\^circ\b|!in\b)|(?P<word>[A-Za-z]+)')
_CALL = re.compile(r"(?<![A-Za-z\\])(?P<name>root|bar|overline)\s?(?=\()")
_OPENING, _CLOSING = "([{", ")]}"


def from_asciimath(text: str) -> str | None:
    """A clean answer in ASCII-Math as one that the parser reads; None where nothing in it is ASCII-Math's own.

    A text with a backslash is LaTeX, and stays so. The work is linear in the length, which is bounded.
    """
    if "\\" in text or len(text) > _LONGEST:
        return None
    plain = _without_accents(text)
    made = _matrix(plain) or _NOTATION.sub(_translated, _with_calls(plain))
    return None if made == text else made


def _translated(match: re.Match[str]) -> str:
    if match["text"]:
        return f"\\text{{{match['text']}}}"
    if match["sign"]:
        return _SIGNS[match["sign"]]
    return _WORDS.get(match["word"], match["word"])


def _with_calls(text: str) -> str:
    """`root(n)(x)`, `bar(x)` and `overline(x)` in LaTeX, from the last to the first, so that inner ones come first."""
    for match in reversed(list(_CALL.finditer(text))[:_MOST_CALLS]):
        parts, at = [], match.end()
        for _ in range(2 if match["name"] == "root" else 1):
            end = _partner(text, at)
            if end is None:
                break
            parts.append(text[at + 1 : end])
            at = end + 1
        else:
            made = f"\\sqrt[{parts[0]}]{{{parts[1]}}}" if match["name"] == "root" else f"\\overline{{{parts[0]}}}"
            text = text[: match.start()] + made + text[at:]
    return text


def _matrix(text: str) -> str | None:
    """`[[1,2],[3,4]]` and `((1,2),(3,4))` as a matrix: two or more rows of the same length, and nothing around them."""
    text = text.strip()
    if len(text) < 5 or text[:2] not in ("[[", "((") or _partner(text, 0) != len(text) - 1:
        return None
    rows = [row.strip() for row in _split(text[1:-1])]
    if any(row[:1] != text[0] or _partner(row, 0) != len(row) - 1 for row in rows):
        return None
    cells = [_split(row[1:-1]) for row in rows]
    if len(cells) < 2 or len({len(row) for row in cells}) != 1:
        return None
    return "\\begin{pmatrix}" + " \\\\ ".join(" & ".join(row) for row in cells) + "\\end{pmatrix}"


def _partner(text: str, at: int) -> int | None:
    """Where the bracket that opens at `at` closes."""
    if text[at : at + 1] not in tuple(_OPENING):
        return None
    depth = 0
    for place in range(at, len(text)):
        depth += (text[place] in _OPENING) - (text[place] in _CLOSING)
        if depth == 0:
            return place
    return None


def _split(text: str) -> list[str]:
    """The parts between commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for place, character in enumerate(text):
        depth += (character in _OPENING) - (character in _CLOSING)
        if character == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [*parts, text[start:]]


def _without_accents(text: str) -> str:
    """`dólares` as `dolares`: the parser takes letters outside of ASCII for signs."""
    if text.isascii():
        return text
    return "".join(letter for letter in unicodedata.normalize("NFD", text) if unicodedata.category(letter) != "Mn")
