"""What an answer is once it has been read: a tree of these nodes, compared by `plm.graders.math.equality`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Num:
    """A number as written.

    Attributes:
        value: Its exact value; a decimal is the fraction that it writes.
        decimals: Digits after the point, or None for an integer.
    """

    value: Fraction
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Sym:
    """A variable, with its subscript if that is a plain label."""

    name: str


@dataclass(frozen=True, slots=True)
class Const:
    """A constant or a known set: `pi`, `e`, `i`, `inf`, `reals`, `integers`, `empty`."""

    name: str


@dataclass(frozen=True, slots=True)
class Op:
    """An operation or function on expressions.

    Attributes:
        name: `add`, `mul`, `div`, `neg`, `pow`, `root`, `pm`, `mp`, `abs`, `deg`, `pct`, `sin`, … ; a name that starts
            with `apply:` is a function that is only known by name, one with `big:` a sum or product over an index.
        args: The operands.
    """

    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Items in brackets: a point, a vector, an interval, a set (`{`), or a set given by a condition (`{|`)."""

    open: str
    items: tuple[Node, ...]
    close: str


@dataclass(frozen=True, slots=True)
class Seq:
    """Several answers without brackets; `joiner` is `,`, `;`, `and` or `or`, the strongest word that joins them."""

    items: tuple[Node, ...]
    joiner: str = ","


@dataclass(frozen=True, slots=True)
class Rel:
    """A chain of relations: `terms[0] ops[0] terms[1] ops[1] …`; ops are `=`, `<`, `<=`, `>`, `>=`, `!=`, `~`, `in`."""

    terms: tuple[Node, ...]
    ops: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """The value of an assignment, and what it is assigned to."""

    name: Node
    value: Node


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of cells; a vector that is written as a column is a matrix of one column."""

    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """A quantity and the words behind it."""

    value: Node
    text: str


@dataclass(frozen=True, slots=True)
class Based:
    """Digits in a stated base."""

    digits: str
    base: str


@dataclass(frozen=True, slots=True)
class Text:
    """Words, in lower case and without blanks."""

    text: str


Node = Num | Sym | Const | Op | Group | Seq | Rel | Named | Matrix | Unit | Based | Text


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right under a node."""
    match node:
        case Op(_, args):
            return args
        case Group(_, items, _) | Seq(items, _):
            return items
        case Rel(terms, _):
            return terms
        case Named(_, value) | Unit(value, _):
            return (value,)
        case Matrix(rows):
            return tuple(cell for row in rows for cell in row)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """The node and everything under it."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(children(top))


def depth(node: Node) -> int:
    """The number of nodes on the longest way down, found without recursion."""
    deepest, level = 0, [node]
    while level:
        deepest += 1
        level = [child for parent in level for child in children(parent)]
    return deepest


def symbols(node: Node) -> set[str]:
    """Names of the variables in a tree, those of functions included."""
    return {n.name for n in walk(node) if isinstance(n, Sym)} | {
        n.name for n in walk(node) if isinstance(n, Op) and n.name.startswith(("apply:", "big:"))
    }


def has_op(node: Node, *names: str) -> bool:
    """Whether an operation of one of these names occurs in a tree."""
    return any(isinstance(n, Op) and n.name in names for n in walk(node))


def rebuild(node: Node, names: dict[str, str]) -> Node:
    """The tree with operations renamed by `names`; only operations and brackets are entered."""
    match node:
        case Op(name, args):
            return Op(names.get(name, name), tuple(rebuild(arg, names) for arg in args))
        case Group(open, items, close):
            return Group(open, tuple(rebuild(item, names) for item in items), close)
        case Unit(value, text):
            return Unit(rebuild(value, names), text)
        case Named(name_, value):
            return Named(name_, rebuild(value, names))
    return node


def substitute(node: Node, name: str, value: Node) -> Node:
    """The tree with a variable replaced; only operations, brackets and relations are entered."""
    match node:
        case Sym(other):
            return value if other == name else node
        case Op(operation, args):
            return Op(operation, tuple(substitute(arg, name, value) for arg in args))
        case Group(open, items, close):
            return Group(open, tuple(substitute(item, name, value) for item in items), close)
        case Rel(terms, ops):
            return Rel(tuple(substitute(term, name, value) for term in terms), ops)
    return node
