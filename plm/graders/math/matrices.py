"""Sums, differences, products and multiples of matrices, written out as one matrix of expressions."""

from __future__ import annotations

from collections.abc import Callable

from plm.graders.math.tree import Matrix, Node, Op

_MAX_CELLS = 64


def compute(node: Node) -> Node:
    """The matrix that an expression of matrices amounts to; the expression itself if the shapes do not fit."""
    if not isinstance(node, Op):
        return node
    args = [compute(arg) for arg in node.args]
    match node.name:
        case "neg" if isinstance(args[0], Matrix):
            return _map(args[0], lambda cell: Op("neg", (cell,)))
        case "div" if isinstance(args[0], Matrix):
            return _map(args[0], lambda cell: Op("div", (cell, args[1])))
        case "add" | "mul":
            rule = _add if node.name == "add" else _multiply
            result: Node | None = args[0]
            for arg in args[1:]:
                result = rule(result, arg) if result is not None else None
            return result or node
    return node


def _map(matrix: Matrix, change: Callable[[Node], Node]) -> Matrix:
    return Matrix(tuple(tuple(change(cell) for cell in row) for row in matrix.rows))


def _shape(matrix: Matrix) -> tuple[int, int] | None:
    widths = {len(row) for row in matrix.rows}
    cells = len(matrix.rows) * max(widths, default=0)
    return (len(matrix.rows), widths.pop()) if len(widths) == 1 and cells <= _MAX_CELLS else None


def _add(left: Node, right: Node) -> Node | None:
    if not isinstance(left, Matrix) or not isinstance(right, Matrix) or _shape(left) is None:
        return None
    if _shape(left) != _shape(right):
        return None
    pairs = (zip(a, b, strict=True) for a, b in zip(left.rows, right.rows, strict=True))
    return Matrix(tuple(tuple(Op("add", pair) for pair in row) for row in pairs))


def _multiply(left: Node, right: Node) -> Node | None:
    if isinstance(left, Matrix) and isinstance(right, Matrix):
        a, b = _shape(left), _shape(right)
        if a is None or b is None or a[1] != b[0]:
            return None
        columns = tuple(zip(*right.rows, strict=True))
        return Matrix(tuple(tuple(_dot(row, column) for column in columns) for row in left.rows))
    if isinstance(left, Matrix):
        return _map(left, lambda cell: Op("mul", (cell, right)))
    if isinstance(right, Matrix):
        return _map(right, lambda cell: Op("mul", (left, cell)))
    return Op("mul", (left, right))


def _dot(row: tuple[Node, ...], column: tuple[Node, ...]) -> Node:
    return Op("add", tuple(Op("mul", pair) for pair in zip(row, column, strict=True)))
