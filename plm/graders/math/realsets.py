"""Sets of real numbers: intervals, unions, inequalities in one variable."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

from plm.graders.math.numeric import UndefinedError, Value, is_real, real, same, to_float, value_at
from plm.graders.math.tree import Const, Group, Node, Num, Op, Rel, Seq, substitute, symbols

INEQUALITIES = frozenset(("<", "<=", ">", ">=", "!="))
_MIRROR = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "!=": "!=", "=": "="}
_INFINITY = Const("inf")


class Cut(NamedTuple):
    """A place between two real numbers: right before `value`, or right `after` it."""

    value: Value
    after: bool

    def same(self, other: Cut) -> bool:
        """Whether two cuts are the same place."""
        return self.after == other.after and same(self.value, other.value)

    def before(self, other: Cut) -> bool:
        """Whether this cut lies left of another."""
        if same(self.value, other.value):
            return self.after < other.after
        return bool(to_float(self.value) < to_float(other.value))


RealSet = tuple[Cut, ...]
"""Where a set begins, ends, begins again, …, from left to right; the set is in order and has no empty parts."""


def real_set(node: Node) -> RealSet | None:
    """The set that a tree writes; None if it is none that we know, or depends on a parameter.

    Raises:
        TooLargeError: If an end is too costly to compute.
    """
    try:
        return _read(node)
    except UndefinedError:
        return None


def same_sets(left: RealSet, right: RealSet) -> bool:
    """Whether two sets have the same elements."""
    return len(left) == len(right) and all(a.same(b) for a, b in zip(left, right, strict=True))


def _read(node: Node) -> RealSet | None:
    match node:
        case Const("reals"):
            return _interval(_end(Op("neg", (_INFINITY,))), True, _end(_INFINITY), False)
        case Const("empty"):
            return ()
        case Group("{", items, _):
            return _fold([_point(_end(item)) for item in items], _either)
        case Group("{|", (condition,), _):
            return _read(condition)
        case Group(open, (low, high), close) if open in "([" and close in ")]":
            ends = _end(low), _end(high)
            return _interval(ends[0], open == "(", ends[1], close == "]") or None
        case Op("cup" | "cap" | "setminus" as name, args):
            rule = {"cup": _either, "cap": _both, "setminus": _only_left}[name]
            return _fold([_read(arg) for arg in args], rule)
        case Rel(terms, ("in",)):
            return _read(terms[1])
        case Rel():
            return _solve(node)
        case Seq(items, joiner):
            return _several([_read(item) for item in items], joiner)
    return None


def _several(sets: list[RealSet | None], joiner: str) -> RealSet | None:
    """Conditions in a row: all of them hold, unless that is impossible or they are joined by `or`."""
    if joiner == "or":
        return _fold(sets, _either)
    return _fold(sets, _both) or _fold(sets, _either)


def _fold(sets: list[RealSet | None], rule: Callable[[bool, bool], bool]) -> RealSet | None:
    result = sets[0] if sets else ()
    for other in sets[1:]:
        if result is None or other is None:
            return None
        result = _combine(result, other, rule)
    return result


def _either(a: bool, b: bool) -> bool:
    return a or b


def _both(a: bool, b: bool) -> bool:
    return a and b


def _only_left(a: bool, b: bool) -> bool:
    return a and not b


def _combine(left: RealSet, right: RealSet, rule: Callable[[bool, bool], bool]) -> RealSet:
    result: list[Cut] = []
    i = j = 0
    inside = False
    while i < len(left) or j < len(right):
        takes_left = i < len(left) and (j == len(right) or not right[j].before(left[i]))
        takes_right = j < len(right) and (i == len(left) or not left[i].before(right[j]))
        cut = left[i] if takes_left else right[j]
        i, j = i + takes_left, j + takes_right
        if (now := rule(i % 2 == 1, j % 2 == 1)) != inside:
            result.append(cut)
            inside = now
    return tuple(result)


def _end(node: Node) -> Value:
    if symbols(node):
        raise UndefinedError("an end with a parameter")
    value = value_at(node)
    if not is_real(value):
        raise UndefinedError("an end that is not real")
    return real(value)


def _interval(low: Value, low_open: bool, high: Value, high_closed: bool) -> RealSet:
    start, end = Cut(low, low_open), Cut(high, high_closed)
    if abs(to_float(low)) == _end(_INFINITY):
        start = Cut(low, False)
    if abs(to_float(high)) == _end(_INFINITY):
        end = Cut(high, False)
    return (start, end) if start.before(end) else ()


def _point(value: Value) -> RealSet:
    return _interval(value, False, value, True)


def _solve(relation: Rel) -> RealSet | None:
    """The numbers for which a chain of linear inequalities in one variable, or in its absolute value, holds."""
    names = symbols(relation)
    if len(names) != 1 or not all(op in INEQUALITIES or op == "=" for op in relation.ops):
        return None
    name = names.pop()
    pairs = zip(relation.terms, relation.ops, relation.terms[1:], strict=False)
    return _fold([_solve_pair(left, op, right, name) for left, op, right in pairs], _both)


def _solve_pair(left: Node, op: str, right: Node, name: str) -> RealSet | None:
    if isinstance(right, Op) and right.name == "abs" and not symbols(left):
        left, op, right = right, _MIRROR[op], left
    if isinstance(left, Op) and left.name == "abs" and not symbols(right):
        inner, negative = left.args[0], Op("neg", (right,))
        above, below = _solve_pair(inner, op, right, name), _solve_pair(inner, _MIRROR[op], negative, name)
        return _fold([above, below], _both if op in ("<", "<=", "!=") else _either)
    difference = Op("add", (left, Op("neg", (right,))))
    at = [_end(substitute(difference, name, Num(Fraction(x)))) for x in (0, 1, 2)]
    slope = to_float(at[1]) - to_float(at[0])
    if slope == 0 or not same(to_float(at[2]) - to_float(at[1]), slope):
        return None
    exact = all(isinstance(value, Fraction) for value in at)
    root = -at[0] / (at[1] - at[0]) if exact else -to_float(at[0]) / slope
    op = op if slope > 0 else _MIRROR[op]
    infinity = _end(_INFINITY)
    below, point, above = (
        _interval(-infinity, True, root, False),
        _point(root),
        _interval(root, True, infinity, False),
    )
    chosen = {
        "<": [below],
        "<=": [below, point],
        ">": [above],
        ">=": [point, above],
        "!=": [below, above],
        "=": [point],
    }
    return _fold(list(chosen[op]), _either)
