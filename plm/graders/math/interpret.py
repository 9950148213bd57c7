"""From what is written to what is meant: assignments give their value, ± gives two answers, chains their last value."""

from __future__ import annotations

from plm.graders.math.matrices import compute
from plm.graders.math.numeric import fingerprint, same_fingerprints
from plm.graders.math.tree import (
    Const,
    Group,
    Matrix,
    Named,
    Node,
    Op,
    Rel,
    Seq,
    Sym,
    Text,
    Unit,
    has_op,
    rebuild,
    symbols,
    walk,
)

_PLUS = {"pm": "add", "mp": "subtract"}
_MINUS = {"pm": "subtract", "mp": "add"}


def interpret(node: Node) -> Node:
    """A tree in which assignments are `Named`, sequences are flat, and no ± is left.

    Raises:
        TooLargeError: If comparing the sides of an equation is too costly.
    """
    match node:
        case Seq(items, joiner):
            return _sequence([interpret(item) for item in items], joiner)
        case Rel():
            return _relation(node)
        case Group("{", items, close):
            inner = _sequence([interpret(item) for item in items], ",")
            return Group("{", inner.items if isinstance(inner, Seq) else (inner,), close)
        case Group(open, items, close) if open != "{|":
            node = Group(open, tuple(interpret(item) for item in items), close)
        case Matrix(rows):
            node = Matrix(tuple(tuple(interpret(cell) for cell in row) for row in rows))
        case Op("add" | "mul" | "neg" | "div", _) if any(isinstance(n, Matrix) for n in walk(node)):
            return compute(node)
        case Unit(value, text) if isinstance(value, Rel):
            named = interpret(value)
            return Named(named.name, Unit(named.value, text)) if isinstance(named, Named) else named
    return _both_signs(node)


def is_equation(node: Node) -> bool:
    """Whether a tree is one equation between two sides."""
    return isinstance(node, Rel) and node.ops == ("=",)


def same_name(left: Node, right: Node) -> bool:
    """Whether two assignments may be to the same thing: only two different letters are not."""
    return not (isinstance(left, Sym) and isinstance(right, Sym) and left != right)


def _sequence(items: list[Node], joiner: str) -> Node:
    flat: list[Node] = []
    for item in items:
        if isinstance(item, Seq):
            flat.extend(item.items)
        elif isinstance(item, Named) and isinstance(item.value, Seq):
            flat.extend(item.value.items)
        else:
            flat.append(item)
    if len(flat) > 1 and isinstance(flat[0], Named) and not any(isinstance(item, Named) for item in flat[1:]):
        flat[0] = flat[0].value  # n = 1, 2, 3
    return flat[0] if len(flat) == 1 else Seq(tuple(flat), joiner)


def _relation(node: Rel) -> Node:
    terms, ops = node.terms, node.ops
    if ops == ("in",):
        return Named(terms[0], interpret(terms[1]))
    if "~" in ops:  # x = 1/3 ≈ 0.33, x ≈ 11
        exact = ops.index("~")
        if exact or not is_name(terms[0]):
            terms, ops = terms[: exact + 1], ops[:exact]
            return interpret(Rel(terms, ops)) if ops else interpret(terms[0])
        terms, ops = terms[:2], ("=",)
    if any(op != "=" for op in ops):
        return node
    if is_name(terms[0]):
        return Named(terms[0], interpret(terms[-1]))
    if len(terms) == 2 and is_name(terms[1]) and not symbols(terms[0]):
        return Named(terms[1], interpret(terms[0]))
    if not any(symbols(term) for term in terms) or _is_identity(terms):
        return interpret(terms[-1])
    return Rel((terms[0], terms[-1]), ("=",))


def _is_identity(terms: tuple[Node, ...]) -> bool:
    first = fingerprint(terms[0])
    return all(same_fingerprints(first, fingerprint(term)) for term in terms[1:])


def is_name(node: Node) -> bool:
    """Whether something can be assigned to: a letter, f(x), a point (x, y), a segment AB, words."""
    match node:
        case Sym() | Text() | Const("e" | "O"):
            return True
        case Op(name, args) if name.startswith("apply:"):
            return True
        case Group("(", items, ")"):
            return all(isinstance(item, Sym) for item in items)
        case Op("mul", args) if len(args) <= 3:
            return all(isinstance(arg, Sym) and arg.name.isupper() for arg in args)
    return False


def _both_signs(node: Node) -> Node:
    if not has_op(node, "pm", "mp"):
        return node
    plus, minus = (_signed(rebuild(node, signs)) for signs in (_PLUS, _MINUS))
    return _sequence([interpret(plus), interpret(minus)], ",")


def _signed(node: Node) -> Node:
    match node:
        case Op("subtract", (left, right)):
            return Op("add", (_signed(left), Op("neg", (_signed(right),))))
        case Op(name, args):
            return Op(name, tuple(_signed(arg) for arg in args))
        case Group(open, items, close):
            return Group(open, tuple(_signed(item) for item in items), close)
        case Unit(value, text):
            return Unit(_signed(value), text)
    return node
