"""What one small problem is made of: a story, a number to start from, and what happens to it step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

Operation: TypeAlias = Literal["+", "-", "*"]
Setting: TypeAlias = Literal["english_latex", "spanish_ascii"]

APPLY: Mapping[Operation, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}


class Step(NamedTuple):
    """One step of a computation, such as `("+", 7)`."""

    operation: Operation
    value: int


@dataclass(frozen=True, slots=True)
class Spec:
    """One problem, told apart from its text.

    Args:
        story: Name of the story that it is told in.
        start: The first number.
        steps: What is done to it, in order; two to four.
    """

    story: str
    start: int
    steps: tuple[Step, ...]

    @property
    def level(self) -> int:
        """How hard it is: 1 for two steps, 2 for three, 3 for four."""
        return len(self.steps) - 1

    @property
    def computation(self) -> str:
        """The steps alone, which all tellings of it share: `12+7*3`, worked from left to right."""
        return str(self.start) + "".join(f"{operation}{value}" for operation, value in self.steps)


def work(spec: Spec) -> Iterator[tuple[int, Operation, int, int]]:
    """Each step worked out: number before, operation, number, result."""
    before = spec.start
    for operation, value in spec.steps:
        result = APPLY[operation](before, value)
        yield before, operation, value, result
        before = result


def solve(spec: Spec) -> int:
    """The answer."""
    *_, (_, _, _, result) = work(spec)
    return result
