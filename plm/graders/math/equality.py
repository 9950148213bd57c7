"""Whether two answers mean the same; docs/math_grading.md lists the conventions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

from plm.graders.math.asciimath import from_asciimath
from plm.graders.math.interpret import interpret, is_equation, same_name
from plm.graders.math.lexer import UnreadableError
from plm.graders.math.notation import MAX_ANSWER, canonical, clean, readings, with_point, words_of
from plm.graders.math.numeric import TooLargeError
from plm.graders.math.parser import parse
from plm.graders.math.realsets import INEQUALITIES, real_set, same_sets
from plm.graders.math.scalars import proportional, same_scalars
from plm.graders.math.tree import Const, Group, Matrix, Named, Node, Op, Rel, Seq, Sym, Text, Unit, substitute

Reason = Literal["correct", "wrong", "parse", "timeout"]

_LETTER = re.compile(r"(?:\\text(?:bf)?\{)?\(?([A-J])\)?\}?")
_OPTION = re.compile(r"(?:[Oo]ption |[Cc]hoice )?(?:\\text(?:bf)?\{)?(?:\(([A-J])\)|([A-J])[.:)])")
_MAX_ITEMS = 100
_DECIMAL = re.compile(r"[-+]?\d*\.\d+")
_INTEGER = re.compile(r"[-+]?\d{1,300}")


def judge(prediction: str, reference: str) -> Reason:
    """The verdict on one answer; never raises.

    Args:
        prediction: An answer as it was written, LaTeX or plain.
        reference: The right one.

    Returns:
        `correct`, `wrong`, `parse` if the prediction is no mathematics that we can read, or `timeout` if the comparison
        would exceed its bounds on work.
    """
    if len(prediction) > MAX_ANSWER or len(reference) > MAX_ANSWER:
        return "correct" if prediction.strip() == reference.strip() else "parse"
    left, right = clean(prediction), clean(reference)
    if not left:
        return "parse"
    if _INTEGER.fullmatch(left) and _INTEGER.fullmatch(right):
        return "correct" if int(left) == int(right) else "wrong"
    if canonical(left) == canonical(right) or _same_words(left, right):
        return "correct"
    if _is_choice(left, right):
        return "correct"
    try:
        predictions, references = _read_both(left, right)
        if not predictions:
            return "wrong" if is_wordy(left) else "parse"
        right_one = any(same_answers(p, r) for r in references for p in predictions)
        return "correct" if right_one else "wrong"
    except TooLargeError:
        return "timeout"


def _read_both(left: str, right: str) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
    """The readings of both; a decimal comma is one where the other side has no comma, or a point in its place."""
    predictions, references = _read(left), _read(right)
    if "," not in right and (decimal := with_point(left)):
        predictions += _read(decimal)
    if _DECIMAL.fullmatch(left) and (decimal := with_point(right)):
        references += _read(decimal)
    return predictions, references


@lru_cache(maxsize=4_096)
def _read(text: str) -> tuple[Node, ...]:
    trees = []
    ascii_math = from_asciimath(text)
    for reading in readings(text) + (readings(ascii_math) if ascii_math else []):
        try:
            trees.append(interpret(parse(reading)))
        except UnreadableError:
            continue
    return tuple(trees)


def _same_words(left: str, right: str) -> bool:
    if any(c.isdigit() for c in left + right):
        return False
    a, b = words_of(left), words_of(right)
    return a == b and len(a) > 2


def _is_choice(left: str, right: str) -> bool:
    """Whether the reference is the letter of an option, and the prediction that letter with the option's text."""
    letter, option = _LETTER.fullmatch(right), _OPTION.match(left)
    return letter is not None and option is not None and letter[1] in option.groups()


def is_wordy(text: str) -> bool:
    """Whether a text is words rather than mathematics."""
    return not any(c.isdigit() for c in text) and re.search(r"[A-Za-z]{3}", text) is not None


def same_answers(left: Node, right: Node) -> bool:
    """Whether two interpreted answers mean the same.

    Raises:
        TooLargeError: If the comparison would exceed its bounds on work.
    """
    if left == right:
        return True
    if isinstance(left, Named) and isinstance(right, Named):
        if not same_name(left.name, right.name):
            return False
        left, right = _same_argument(left, right)
    if (is_equation(left) and isinstance(right, Named)) or (isinstance(left, Named) and is_equation(right)):
        return _same_relations(_equation(left), _equation(right))
    left, right = _value(left), _value(right)
    if left == right:
        return True
    if (_is_set(left) or _is_set(right)) and (a := real_set(left)) is not None and (b := real_set(right)) is not None:
        return same_sets(a, b)
    if isinstance(left, Rel) or isinstance(right, Rel):
        return isinstance(left, Rel) and isinstance(right, Rel) and _same_relations(left, right)
    if isinstance(left, Op) and isinstance(right, Op) and left.name == right.name and left.name in ("cup", "cap"):
        return _same_items(left.args, right.args, ordered=False)
    if isinstance(left, Matrix) and isinstance(right, Matrix):
        return _same_matrices(left, right)
    if _is_list(left) or _is_list(right):
        return _same_lists(left, right)
    return same_scalars(left, right)


def _equation(node: Node) -> Rel:
    if isinstance(node, Named):
        return Rel((node.name, node.value), ("=",))
    assert isinstance(node, Rel)
    return node


def _value(node: Node) -> Node:
    while isinstance(node, Named):
        node = node.value
    if isinstance(node, Unit) and not _is_scalar(node.value):
        return _value(node.value)
    if isinstance(node, Group) and len(node.items) == 1 and node.open != "{|":
        return _value(node.items[0])
    if isinstance(node, Matrix) and 1 in (len(node.rows), *(len(row) for row in node.rows)):
        cells = tuple(cell for row in node.rows for cell in row)
        if len(cells) in (len(node.rows), len(node.rows[0])) and len(cells) > 1:
            return Group("(", cells, ")")
    return node


def _same_argument(left: Named, right: Named) -> tuple[Node, Node]:
    """The values of f(x) = … and f(t) = …, with the same argument."""
    match left.name, right.name:
        case Op(_, (Sym(a),)), Op(_, (Sym(b),)) if a != b:
            return substitute(left.value, a, Sym(b)), right.value
    return left.value, right.value


def _is_scalar(node: Node) -> bool:
    return not isinstance(node, (Rel, Seq, Group, Matrix, Named))


def _is_list(node: Node) -> bool:
    return isinstance(node, (Seq, Group))


def _is_set(node: Node) -> bool:
    """Whether a tree can only be a set of reals."""
    match node:
        case Const("reals" | "empty") | Group("{|"):
            return True
        case Op(name):
            return name in ("cup", "cap", "setminus")
        case Rel(_, ops):
            return any(op in INEQUALITIES for op in ops)
        case Seq(items):
            return all(_is_set(item) for item in items)
    return False


def _same_relations(left: Rel, right: Rel) -> bool:
    if is_equation(left) and is_equation(right):
        return proportional(_difference(left), _difference(right), sign=False)
    left, right = _rising(left), _rising(right)
    if left.ops == right.ops and all(same_answers(a, b) for a, b in zip(left.terms, right.terms, strict=True)):
        return True
    if len(left.ops) == 1 and left.ops == right.ops:
        return proportional(_difference(left), _difference(right), sign=left.ops != ("!=",))
    return False


def _difference(relation: Rel) -> Node:
    return Op("add", (relation.terms[0], Op("neg", (relation.terms[-1],))))


def _rising(relation: Rel) -> Rel:
    """The chain turned so that it reads from small to large."""
    if all(op in (">", ">=", "=") for op in relation.ops):
        turn = {">": "<", ">=": "<=", "=": "="}
        return Rel(relation.terms[::-1], tuple(turn[op] for op in reversed(relation.ops)))
    return relation


def _same_matrices(left: Matrix, right: Matrix) -> bool:
    return [len(row) for row in left.rows] == [len(row) for row in right.rows] and all(
        same_answers(a, b) for x, y in zip(left.rows, right.rows, strict=True) for a, b in zip(x, y, strict=True)
    )


def _items(node: Node) -> tuple[Node, ...]:
    return node.items if isinstance(node, (Seq, Group)) else (node,)


def _same_lists(left: Node, right: Node) -> bool:
    a, b = _items(left), _items(right)
    tuples = [isinstance(node, Group) and node.open in "([" for node in (left, right)]
    if all(tuples):
        assert isinstance(left, Group) and isinstance(right, Group)
        alike = (left.open, left.close) == (right.open, right.close)
        return (alike or (len(a) > 2 and len(b) > 2)) and _same_items(a, b, ordered=True)
    if any(tuples):
        other = right if tuples[0] else left
        return isinstance(other, Seq) and _same_items(_values(a), _values(b), ordered=True)
    if all(isinstance(item, Named) for item in (*a, *b)) and (named := _same_assignments(a, b)) is not None:
        return named
    words = all(isinstance(item, (Sym, Text)) for item in (*a, *b))
    in_a_row = all(isinstance(node, Seq) and node.joiner in ",;" for node in (left, right))
    return _same_items(_values(a), _values(b), ordered=words and in_a_row)


def _values(items: Sequence[Node]) -> list[Node]:
    return [item.value if isinstance(item, Named) else item for item in items]


def _same_assignments(left: Sequence[Node], right: Sequence[Node]) -> bool | None:
    """Compares x = 1, y = 2 by names; None unless both sides assign to the same names, each once."""
    a = {item.name: item.value for item in left if isinstance(item, Named)}
    b = {item.name: item.value for item in right if isinstance(item, Named)}
    if len(a) != len(left) or len(b) != len(right) or a.keys() != b.keys():
        return None
    return all(same_answers(a[name], b[name]) for name in a)


def _same_items(left: Sequence[Node], right: Sequence[Node], *, ordered: bool) -> bool:
    if len(left) > _MAX_ITEMS or len(right) > _MAX_ITEMS:
        raise TooLargeError("a list")
    if ordered:
        return len(left) == len(right) and all(same_answers(a, b) for a, b in zip(left, right, strict=True))
    left, right = _distinct(left), _distinct(right)
    if len(left) != len(right):
        return False
    rest = list(right)
    for item in left:
        partner = next((i for i, other in enumerate(rest) if same_answers(item, other)), None)
        if partner is None:
            return False
        rest.pop(partner)
    return True


def _distinct(items: Sequence[Node]) -> list[Node]:
    result: list[Node] = []
    for item in items:
        if not any(same_answers(item, other) for other in result):
            result.append(item)
    return result
