"""Bad habits: rewrites that change how a Python program looks, and nothing of what it does."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_ASSIGNING = frozenset("= == != < > <= >= += -= *= /= //= %= ->".split())


class Gap(NamedTuple):
    """The blanks between two tokens of a line.

    Attributes:
        before: The token on the left.
        after: The token on the right; a line's end is one, too.
        blanks: What stands between them.
        depth: How many brackets are open there.
    """

    before: tokenize.TokenInfo
    after: tokenize.TokenInfo
    blanks: str
    depth: int


def _tight_operators(gap: Gap) -> str:
    return "" if gap.before.string in _ASSIGNING or gap.after.string in _ASSIGNING else gap.blanks


def _tight_commas(gap: Gap) -> str:
    return "" if gap.before.string == "," else gap.blanks


def _open_brackets(gap: Gap) -> str:
    opens, closes = gap.before.string in _OPENING, gap.after.string in _CLOSING
    return " " if opens != closes and gap.before.string != "," and not _ends(gap.after) else gap.blanks


def _spaced_calls(gap: Gap) -> str:
    callable_ = gap.before.type == tokenize.NAME and not keyword.iskeyword(gap.before.string)
    return " " if callable_ and gap.after.string in ("(", "[") else gap.blanks


def _spaced_colons(gap: Gap) -> str:
    return " " if gap.after.string == ":" and gap.before.string not in _OPENING | {",", ":"} else gap.blanks


def _wide_operators(gap: Gap) -> str:
    return "  " if not gap.depth and gap.after.string in _ASSIGNING - {"->"} and gap.blanks else gap.blanks


def _wide_keywords(gap: Gap) -> str:
    return "  " if keyword.iskeyword(gap.before.string) and gap.blanks else gap.blanks


def _trailing_blanks(gap: Gap) -> str:
    return " " if gap.after.type == tokenize.NEWLINE else gap.blanks


def _semicolons(gap: Gap) -> str:
    return ";" if gap.after.type == tokenize.NEWLINE and gap.before.string not in (":", ";") else gap.blanks


def _ends(token: tokenize.TokenInfo) -> bool:
    return token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.COMMENT)


GAPS: Mapping[str, Callable[[Gap], str]] = {
    "tight_operators": _tight_operators,  # E225
    "open_brackets": _open_brackets,  # E201, E202
    "spaced_calls": _spaced_calls,  # E211
    "spaced_colons": _spaced_colons,  # E203
    "wide_operators": _wide_operators,  # E221
    "wide_keywords": _wide_keywords,  # E271
    "trailing_blanks": _trailing_blanks,  # W291
    "semicolons": _semicolons,  # E703
    "tight_commas": _tight_commas,  # E231
}
"""Habits between two tokens of a line, with the codes by which `pycodestyle` reports them."""
INDENTS: Mapping[str, str] = {"two_blanks": "  ", "three_blanks": "   ", "tabs": "\t"}
"""Habits of indenting, with what stands for four blanks (E111, E114; W191)."""
HABITS = (*GAPS, *INDENTS)


def spoil(code: str, habits: Sequence[str]) -> str:
    """Rewrites a program as somebody with bad habits would have written it; what it does stays the same.

    Args:
        code: A program that parses and is indented by four blanks.
        habits: Names in `HABITS`, applied in this order; at most one of them in `INDENTS`.

    Returns:
        The program with the same tokens and other blanks. Text in strings and comments stays as it is.

    Raises:
        ValueError: If the tokenizer does not understand the program, or a habit is unknown.
    """
    for habit in habits:
        if habit not in HABITS:
            raise ValueError(f"unknown habit {habit!r}; there are {', '.join(HABITS)}")
        try:
            code = _spoil(code, GAPS.get(habit, lambda gap: gap.blanks), INDENTS.get(habit, "    "))
        except (tokenize.TokenError, SyntaxError) as error:
            raise ValueError(f"not a program: {error}") from error
    return code


def _spoil(code: str, rewrite: Callable[[Gap], str], indent: str) -> str:
    """One pass from the first token to the last, with everything between them."""
    starts = [0]
    for line in code.split("\n"):
        starts.append(starts[-1] + len(line) + 1)

    def place(row: int, column: int) -> int:
        return min(starts[min(row, len(starts)) - 1] + column, len(code))

    made: list[str] = []
    end, depth, before = 0, 0, None
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        start = max(end, place(*token.start))
        between, text = code[end:start], code[start : place(*token.end)]
        if token.type == tokenize.INDENT:
            text = _indented(text, indent)
        elif between and (end == 0 or code[end - 1] == "\n"):
            between = _indented(between, indent)
        elif before is not None and before.end[0] == token.start[0]:
            between = rewrite(Gap(before, token, between, depth))
        made += between, text
        depth += (token.string in _OPENING) - (token.string in _CLOSING) if token.type == tokenize.OP else 0
        end, before = start + len(text) if token.type != tokenize.INDENT else place(*token.end), token
    return "".join(made)


def _indented(blanks: str, indent: str) -> str:
    """The blanks at the start of a line, four at a time."""
    return blanks.replace("    ", indent) if not blanks.strip(" ") else blanks
