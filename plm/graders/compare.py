"""Decides whether what a program printed is what it should have printed."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(rb"[+-]?(?:\d+\.\d*|\.\d+|\d+)(?:[eE][+-]?\d{1,4})?")
_INTEGER = re.compile(rb"[+-]?\d+")
_MAX_DIGITS = 400
DECIMALS = 3


def is_same_output(expected: str, actual: bytes) -> bool:
    """Compares outputs token by token.

    Tokens are split at ASCII blanks, so CR LF, trailing blanks and runs of blanks do not matter; their order, their
    number and their case do. A NUL is part of its token. The bytes need not be UTF-8. An expected output without tokens
    wants an output without tokens. For tokens see `is_same_token`.

    Args:
        expected: The reference.
        actual: What the program wrote.

    Returns:
        Whether they are the same.
    """
    left, right = expected.encode("utf-8", "surrogatepass").split(), actual.split()
    return len(left) == len(right) and all(map(is_same_token, left, right))


def is_same_token(expected: bytes, actual: bytes) -> bool:
    """Compares two tokens: equal, or numbers of which at least one is a float and which round to the same.

    Rounding is to 3 decimals (both numbers are rounded; the method is our choice). Where an integer
    is expected, a float is accepted only if its fraction is zeros: `3.0` for `3`, but not `3.0001` and not `3e0`. Two
    integers must be written alike (`+3`, `03` are not `3`). `nan` and `inf` equal only themselves.

    Args:
        expected: The reference's token.
        actual: The program's token.

    Returns:
        Whether they are the same.
    """
    if expected == actual:
        return True
    if max(len(expected), len(actual)) > _MAX_DIGITS or not (_NUMBER.fullmatch(expected) and _NUMBER.fullmatch(actual)):
        return False
    if _INTEGER.fullmatch(expected):
        whole, point, fraction = actual.partition(b".")
        return point == b"." and whole == expected and not fraction.strip(b"0")
    left, right = float(expected), float(actual)
    return math.isfinite(left) and math.isfinite(right) and round(left, DECIMALS) == round(right, DECIMALS)
