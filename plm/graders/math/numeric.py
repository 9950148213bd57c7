"""Values of expressions: exact fractions while they stay small, else numbers of 60 digits; every step is bounded.

Two expressions are the same if they have the same values at a few points whose coordinates depend on the names of the
variables only. Equal expressions always agree; different ones agree by accident with a probability of about 1e-50 for
each point. That replaces symbolic simplification, which has no bound on its time and misses identities.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import mpmath

from plm.graders.math.tree import Const, Named, Node, Num, Op, Rel, Sym, Unit, substitute, symbols

Value = Any
"""A `Fraction`, or a real or complex number of `_context()`."""

POINTS = (1, 2, 3, -4, -5)
"""Points at which expressions with variables are compared; the coordinates are negative where the number is."""

_DIGITS = 60
_NOISE = (-250, -150)
"""Powers of two between which a number lies that should be 0, when others cancelled; more digits tell."""

_MAX_BITS = 60_000
_MAX_LOG = 2.0**40
_MAX_TURN = 1e12
_local = threading.local()


class UndefinedError(Exception):
    """The expression has no value there, or none that we can compute."""


class TooLargeError(Exception):
    """Computing the value would take too long or too much memory."""


def _context(digits: int = _DIGITS) -> Any:
    """This thread's arithmetic; mpmath's own is global, and its precision is everybody's to change."""
    if not hasattr(_local, "contexts"):
        _local.contexts = {}
    if digits not in _local.contexts:
        _local.contexts[digits] = mpmath.mp.clone()
        _local.contexts[digits].dps = digits
    return _local.contexts[digits]


def value_at(node: Node, point: int = 1, *, degree: bool = True, percent: bool = True) -> Value:
    """The value of an expression.

    Args:
        node: The expression.
        point: Where, if it has variables.
        degree: Whether a degree is π/180, else 1.
        percent: Whether a percent is 1/100, else 1.

    Raises:
        UndefinedError: If there is none.
        TooLargeError: If it is too costly.
    """
    try:
        value = _Evaluator(point, degree, percent, _context()).value(node)
        if not isinstance(value, Fraction) and _NOISE[0] < _context().mag(value) < _NOISE[1]:
            again = _Evaluator(point, degree, percent, _context(3 * _DIGITS)).value(node)
            value = Fraction(0) if _context().mag(to_float(again)) < 2 * _NOISE[0] else value
    except (ZeroDivisionError, OverflowError, ValueError, ArithmeticError, mpmath.libmp.NoConvergence) as error:
        raise UndefinedError(str(error)) from error
    if not isinstance(value, Fraction) and _context().isnan(value):
        raise UndefinedError("not a number")
    return value


def fingerprint(node: Node, *, degree: bool = True, percent: bool = True) -> list[Value | None]:
    """The values of an expression at the points (one point if it has no variables); None where it has none.

    Raises:
        TooLargeError: If one is too costly.
    """
    result: list[Value | None] = []
    for point in POINTS if symbols(node) else POINTS[:1]:
        try:
            result.append(value_at(node, point, degree=degree, percent=percent))
        except UndefinedError:
            result.append(None)
    return result


def same_fingerprints(left: list[Value | None], right: list[Value | None]) -> bool:
    """Whether two expressions are equal by their values.

    Both must have values at the same points, at least one. At the negative ones, complex values are not compared:
    there, branches of logarithms and roots are a matter of taste.
    """
    if len(left) != len(right):
        left, right = (side * len(POINTS) if len(side) == 1 else side for side in (left, right))
    compared = 0
    for point, a, b in zip(POINTS, left, right, strict=False):
        if a is None or b is None:
            if (a is None) != (b is None) and point > 0:
                return False
            continue
        if point < 0 and not (is_real(a) and is_real(b)):
            continue
        if not same(a, b):
            return False
        compared += 1
    return compared > 0


def same(a: Value, b: Value) -> bool:
    """Whether two values are equal: exactly if both are fractions, else to 35 digits."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    ctx = _context()
    a, b = to_float(a), to_float(b)
    if ctx.isinf(a) or ctx.isinf(b):
        return bool(a == b)
    size = max(abs(a), abs(b))
    return bool(abs(a - b) <= size * ctx.mpf(10) ** -35)


def is_real(value: Value) -> bool:
    """Whether a value has no imaginary part, rounding aside."""
    return isinstance(value, Fraction) or bool(abs(value.imag) <= abs(value) * _context().mpf(10) ** -40)


def real(value: Value) -> Value:
    """The real part."""
    return value if isinstance(value, Fraction) else value.real


def to_float(value: Value, ctx: Any = None) -> Value:
    """A value as a number of 60 digits, or of another context's."""
    ctx = ctx or _context()
    return ctx.mpf(value.numerator) / value.denominator if isinstance(value, Fraction) else value


def _number_for(name: str, sign: int = 1) -> Fraction:
    """A fraction between 1/3 and 3, by name."""
    digest = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest())
    return sign * (Fraction(1, 3) + Fraction(digest % 2_663, 999))


class _Evaluator:
    def __init__(self, point: int, degree: bool, percent: bool, ctx: Any) -> None:
        self._point, self._degree, self._percent, self._ctx = point, degree, percent, ctx

    def value(self, node: Node) -> Value:
        match node:
            case Num(value):
                return value
            case Sym(name):
                return _number_for(f"{abs(self._point)} {name}", 1 if self._point > 0 else -1)
            case Const(name):
                return self._constant(name)
            case Op(name, args):
                return self._operation(name, args)
            case Unit(value) | Named(_, value):
                return self.value(value)
        raise UndefinedError(f"a {type(node).__name__} has no value")

    def _constant(self, name: str) -> Value:
        ctx = self._ctx
        known = {"pi": +ctx.pi, "e": +ctx.e, "i": ctx.mpc(0, 1), "inf": ctx.inf}
        if name in known:
            return known[name]
        if name == "O":
            return _number_for(f"{self._point} O")
        raise UndefinedError(f"{name} has no value")

    def _operation(self, name: str, args: tuple[Node, ...]) -> Value:
        if name.startswith("big:"):
            return self._opaque(name, [self._index_free(arg, args[0]) for arg in args])
        values = [self.value(arg) for arg in args]
        if name.startswith("apply:"):
            return self._opaque(name, values)
        if name in _ARITHMETIC:
            return _ARITHMETIC[name](self, values)
        if name in ("deg", "pct"):
            factor = self._ctx.pi / 180 if name == "deg" else Fraction(1, 100)
            return (
                self._product([values[0], factor]) if (self._degree if name == "deg" else self._percent) else values[0]
            )
        if name not in _NAMES:
            raise UndefinedError(f"{name} is not known")
        if len(values) != 1:
            raise UndefinedError(f"{name} of {len(values)} arguments")
        return self._function(name, values[0])

    def _index_free(self, node: Node, start: Node) -> Value:
        """The value of a part of a sum; the index has the same name in every sum."""
        index = start.terms[0] if isinstance(start, Rel) else start
        node = node.terms[-1] if isinstance(node, Rel) else node
        return self.value(substitute(node, index.name, Sym("index")) if isinstance(index, Sym) else node)

    def _opaque(self, name: str, values: list[Value]) -> Value:
        """A function that is known by name only: equal arguments give equal values."""
        text = " ".join(self._ctx.nstr(to_float(value), 30) for value in values)
        return _number_for(f"{name} {text}")

    def _float(self, value: Value) -> Value:
        return to_float(value, self._ctx)

    def _sum(self, values: list[Value]) -> Value:
        if all(isinstance(value, Fraction) for value in values):
            return self._bounded(sum(values, Fraction(0)))
        return self._ctx.fsum([self._float(value) for value in values])

    def _product(self, values: list[Value]) -> Value:
        result: Value = Fraction(1)
        for value in values:
            if isinstance(result, Fraction) and isinstance(value, Fraction):
                result = self._bounded(result * value)
            else:
                result = self._float(result) * self._float(value)
        return result

    def _quotient(self, values: list[Value]) -> Value:
        top, bottom = values
        if bottom == 0:
            raise ZeroDivisionError
        if isinstance(top, Fraction) and isinstance(bottom, Fraction):
            return self._bounded(top / bottom)
        return self._float(top) / self._float(bottom)

    def _bounded(self, value: Fraction) -> Value:
        if value.numerator.bit_length() + value.denominator.bit_length() > _MAX_BITS:
            return self._float(value)
        return value

    def _power(self, values: list[Value]) -> Value:
        base, exponent = values
        if isinstance(exponent, Fraction) and isinstance(base, Fraction):
            if exponent.denominator == 1:
                return self._whole_power(base, exponent.numerator)
            if base < 0 and exponent.denominator % 2 == 1 and exponent.denominator < 1_000:
                size = self._power([-base, exponent])
                return size if exponent.numerator % 2 == 0 else -size
        return self._real_power(self._float(base), self._float(exponent))

    def _whole_power(self, base: Fraction, exponent: int) -> Value:
        if exponent < 0 and base == 0:
            raise ZeroDivisionError
        bits = (base.numerator.bit_length() + base.denominator.bit_length()) * abs(exponent)
        if base in (0, 1, -1) or bits <= _MAX_BITS:
            return base ** (exponent if abs(exponent) < 1e9 or base == 0 else exponent % 2)
        return self._real_power(self._float(base), self._ctx.mpf(exponent))

    def _real_power(self, base: Value, exponent: Value) -> Value:
        ctx = self._ctx
        if base == 0:
            if real(exponent) <= 0:
                raise ZeroDivisionError
            return Fraction(0)
        if ctx.isinf(base) or ctx.isinf(exponent):
            raise UndefinedError("a power with infinity")
        logarithm = exponent * ctx.log(base)
        if abs(logarithm) > _MAX_LOG:
            raise TooLargeError("a power")
        return ctx.power(base, exponent)

    def _root(self, values: list[Value]) -> Value:
        radicand, degree = values
        if degree == 2:
            return self._square_root(radicand)
        if (
            isinstance(radicand, Fraction)
            and radicand < 0
            and isinstance(degree, Fraction)
            and degree.numerator % 2 == 1
        ):
            return -self._power([-radicand, 1 / degree])
        if not isinstance(radicand, Fraction) and is_real(radicand) and radicand.real < 0 and degree in (3, 5, 7):
            return -self._power([-radicand.real, 1 / Fraction(degree)])
        return self._power([radicand, self._quotient([Fraction(1), degree])])

    def _square_root(self, value: Value) -> Value:
        if isinstance(value, Fraction) and value >= 0:
            top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
            if top * top == value.numerator and bottom * bottom == value.denominator:
                return Fraction(top, bottom)
        return self._ctx.sqrt(self._float(value))

    def _factorial(self, values: list[Value]) -> Value:
        value = values[0]
        if isinstance(value, Fraction) and value.denominator == 1 and 0 <= value <= 2_000:
            return Fraction(math.factorial(int(value)))
        if abs(value) > 1e9:
            raise TooLargeError("a factorial")
        return self._ctx.factorial(self._float(value))

    def _binomial(self, values: list[Value]) -> Value:
        n, k = values
        whole = all(isinstance(value, Fraction) and value.denominator == 1 for value in values)
        if whole and 0 <= k and 0 <= n <= 2_000:
            return Fraction(math.comb(int(n), int(k)))
        if abs(n) > 1e6 or abs(k) > 1e6:
            raise TooLargeError("a binomial coefficient")
        return self._ctx.binomial(self._float(n), self._float(k))

    def _logarithm(self, values: list[Value]) -> Value:
        base = values[1] if len(values) == 2 else Fraction(10)
        if values[0] == 0:
            raise ZeroDivisionError
        return self._ctx.log(self._float(values[0])) / self._ctx.log(self._float(base))

    def _function(self, name: str, value: Value) -> Value:
        if name in _EXACT and isinstance(value, Fraction):
            return _EXACT[name](value)
        value = self._float(value)
        if abs(value) > _MAX_TURN and name != "abs" and name not in ("ln", "lg"):
            raise TooLargeError(name)
        if name == "exp":
            return self._real_power(+self._ctx.e, value)
        if value == 0 and name in ("ln", "lg", "cot", "csc"):
            raise ZeroDivisionError
        return getattr(self._ctx, _NAMES[name])(value)


_EXACT: dict[str, Callable[[Fraction], Fraction]] = {
    "abs": abs,
    "floor": lambda value: Fraction(math.floor(value)),
    "ceil": lambda value: Fraction(math.ceil(value)),
    "re": lambda value: value,
    "im": lambda value: Fraction(0),
    "sign": lambda value: Fraction((value > 0) - (value < 0)),
}
_ARITHMETIC: dict[str, Callable[[_Evaluator, list[Value]], Value]] = {
    "add": _Evaluator._sum,
    "mul": _Evaluator._product,
    "div": _Evaluator._quotient,
    "ratio": _Evaluator._quotient,
    "neg": lambda evaluator, values: -values[0],
    "pow": _Evaluator._power,
    "root": _Evaluator._root,
    "factorial": _Evaluator._factorial,
    "binom": _Evaluator._binomial,
    "log": _Evaluator._logarithm,
}
_NAMES = {
    **{name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "exp", "ln")},
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
    **{
        "lg": "log10",
        "floor": "floor",
        "ceil": "ceil",
        "sign": "sign",
        "arg": "arg",
        "abs": "fabs",
        "re": "re",
        "im": "im",
    },
}
"""What mpmath calls our functions."""
