"""Whether two expressions have the same value, exactly or by a rounding decimal; percent, degrees, units, bases."""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache
from itertools import product

from plm.graders.math.numeric import (
    UndefinedError,
    Value,
    fingerprint,
    is_real,
    real,
    same,
    same_fingerprints,
    to_float,
    value_at,
)
from plm.graders.math.tree import Based, Matrix, Node, Num, Op, Text, Unit, has_op, symbols
from plm.graders.math.words import UNITS

MIN_DIGITS = 4
"""Significant digits that a decimal must show to stand for a number that has no finite decimal."""

_FLOAT_DIGITS = 15


def same_scalars(left: Node, right: Node) -> bool:
    """Whether a prediction (left) and a reference (right) have the same value.

    Raises:
        TooLargeError: If one is too costly to compute.
    """
    left, left_unit = _strip_unit(left)
    right, right_unit = _strip_unit(right)
    if left_unit and right_unit and left_unit != right_unit:
        return False
    if left == right:
        return True
    if isinstance(left, Text) or isinstance(right, Text):
        return False
    if isinstance(left, Based) or isinstance(right, Based):
        return _same_digits(left, right)
    if isinstance(left, Matrix) or isinstance(right, Matrix):
        return False
    ways = [_ways(left, right), _ways(right, left)]
    return any(_same_values(left, right, *a, *b) for a, b in product(*ways))


def proportional(left: Node, right: Node, *, sign: bool) -> bool:
    """Whether one expression is a constant multiple of another: equations and inequalities with the same solutions.

    Args:
        left: An expression.
        right: Another.
        sign: Whether the factor must be positive.
    """
    ratios = []
    for a, b in zip(_fingerprint(left, True, True), _fingerprint(right, True, True), strict=False):
        if a is None or b is None or a == 0 or b == 0:
            continue
        ratios.append(to_float(a) / to_float(b))
    if len(ratios) < 2 or symbols(left) != symbols(right):
        return False
    alike = all(same(ratio, ratios[0]) for ratio in ratios[1:])
    return alike and (not sign or (is_real(ratios[0]) and real(ratios[0]) > 0))


def _strip_unit(node: Node) -> tuple[Node, str]:
    """The quantity, and its unit if that is a known one."""
    unit = ""
    while isinstance(node, Unit):
        known = [UNITS[word] for word in node.text.casefold().replace(".", "").split() if word in UNITS]
        unit = unit or (known[0] if known else "")
        node = node.value
    return node, unit


def _ways(node: Node, other: Node) -> list[tuple[bool, bool]]:
    """How to read degrees and percent signs that only one side has: as factors, or as decoration."""
    degree = [True] if not has_op(node, "deg") or has_op(other, "deg") else [True, False]
    percent = [True] if not has_op(node, "pct") or has_op(other, "pct") else [True, False]
    return list(product(degree, percent))


@lru_cache(maxsize=4_096)
def _fingerprint(node: Node, degree: bool, percent: bool) -> list[Value | None]:
    return fingerprint(node, degree=degree, percent=percent)


def _same_values(left: Node, right: Node, ld: bool, lp: bool, rd: bool, rp: bool) -> bool:
    if same_fingerprints(_fingerprint(left, ld, lp), _fingerprint(right, rd, rp)):
        return True
    for decimal, exact, degree, percent in ((left, right, rd, rp), (right, left, ld, lp)):
        shown = _decimal(decimal)
        if shown is not None and _decimal(exact) is None and not symbols(exact):
            return _rounds(*shown, exact, degree, percent)
    return False


def _decimal(node: Node) -> tuple[Fraction, int] | None:
    """The value of a decimal that is written out, and its digits after the point."""
    match node:
        case Num(value, int(decimals)):
            return value, decimals
        case Op("neg", (Num(value, int(decimals)),)):
            return -value, decimals
    return None


def _rounds(value: Fraction, decimals: int, exact: Node, degree: bool, percent: bool) -> bool:
    """Whether a decimal is an exact value rounded or cut off, and shows enough of it."""
    digits = len(str(abs(value.numerator) * 10**decimals // value.denominator)) if value else 0
    if digits < MIN_DIGITS:
        return False
    try:
        target = value_at(exact, degree=degree, percent=percent)
    except UndefinedError:
        return False
    if not is_real(target):
        return False
    target = real(target)
    if isinstance(target, Fraction) and _is_finite(target):
        return digits >= _FLOAT_DIGITS and abs(value - target) <= abs(target) / 10**13
    error = abs(to_float(value) - to_float(target))
    step = to_float(Fraction(1, 10**decimals))
    cut_off = abs(to_float(value)) < abs(to_float(target)) or digits >= _FLOAT_DIGITS
    return bool(error <= step / 2 or (cut_off and error < step))


def _is_finite(value: Fraction) -> bool:
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _same_digits(left: Node, right: Node) -> bool:
    """A base may be left out, but not be another one."""
    digits, bases = [], set()
    for node in (left, right):
        match node:
            case Based(text, base):
                digits.append(text)
                bases.add(base)
            case Num(value, None):
                digits.append(str(value))
    return len(digits) == 2 and digits[0] == digits[1] and len(bases) == 1
