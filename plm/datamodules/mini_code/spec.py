"""What one small program is made of: a family (source of items and core) and the steps around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple, TypeAlias

# an integer or a letter, whichever the source gives; sources and cores are paired by hand
Item: TypeAlias = Any
Answer: TypeAlias = int | str | list[int]


class Step(NamedTuple):
    """One step with its constant, such as `("greater", 17)`; steps without a constant hold 0.

    Attributes:
        kind: A name in one of the tables of `steps`.
        value: The constant; for steps on letters the code point of a letter, or a number.
    """

    kind: str
    value: int


@dataclass(frozen=True, slots=True)
class StepKind:
    """A kind of step: its words, its C++ and what it means.

    Args:
        words: The same thing said in several ways; `{c}` is the constant, `{it}` what the step is applied to.
        code: The C++ line, with `{c}`. A condition's line skips the items that fail it.
        apply: The meaning, in Python: of a condition whether the item stays, of the others the new value.
        values: Smallest and largest constant, or None if the step has none.
        letter: Whether the constant is the code point of a letter.
    """

    words: tuple[str, ...]
    code: str
    apply: Callable[[Item, int], Item]
    values: tuple[int, int] | None = None
    letter: bool = False

    def show(self, value: int) -> str:
        """The constant as statement and program write it."""
        return chr(value) if self.letter else str(value)


@dataclass(frozen=True, slots=True)
class Source:
    """Where the items of a program come from.

    Args:
        name: First half of the family's name.
        domain: `arrays`, `numbers` or `strings`.
        given: The input in words.
        items: The items in words.
        names: The integers that it declares; like all variables they are global, hence 0 at first, which saves tokens.
        code: The C++ that reads the input and opens the loop.
        parse: Items of an input, in Python.
        make: Draws an input: called with a generator, constants worth meeting, and a size from 0 (edge) to 4 (largest).
        conditions: The kinds of condition that suit the items.
        changes: The kinds of change that suit the items.
        limits: Range of a condition's constant, where narrower than the kind's own.
        more: Further C++ declarations.
        loop: Whether the source opens a loop; else it has one item.
    """

    name: str
    domain: str
    given: str
    items: str
    names: str
    code: str
    parse: Callable[[str], Sequence[Item]]
    make: Callable[[Random, Sequence[int], int], str]
    conditions: Mapping[str, StepKind]
    changes: Mapping[str, StepKind]
    limits: tuple[int, int] = (10, 99)
    more: str = ""
    loop: bool = True


@dataclass(frozen=True, slots=True)
class Core:
    """What a program does with its items.

    Args:
        name: Second half of the family's name.
        asks: Pairs of the same question: after the items were named, and with `{items}` to name them.
        body: The C++ lines inside the loop; the item is `x`, its position `i`, the answer `s` or `t`.
        fold: The answer, in Python, from the positions (from 1) and values of the items that are left.
        result: `number` (in `s`), `text` (in `t`) or `list` (written by the body, one item a line).
        names: Further integers, one letter each.
        setup: Further C++ declarations.
        end: C++ lines after the loop.
        by_value: Whether changing the items matters; a count, for example, stays the same.
        needs_keep: Whether the question is idle without a condition, as the first position is.
    """

    name: str
    asks: tuple[tuple[str, str], ...]
    body: str
    fold: Callable[[Sequence[int], Sequence[Item]], Answer]
    result: str = "number"
    names: str = ""
    setup: str = ""
    end: str = ""
    by_value: bool = True
    needs_keep: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """A source and a core."""

    source: Source
    core: Core

    @property
    def name(self) -> str:
        """Its unique name."""
        return f"{self.source.name}_{self.core.name}"


@dataclass(frozen=True, slots=True)
class Spec:
    """One program, told apart from its text: the family's name and the steps.

    Args:
        family: Name of the family.
        keep: The condition on the items, if any.
        changes: What happens to each item, in order.
        finish: What happens to the answer, in order.
    """

    family: str
    keep: Step | None = None
    changes: tuple[Step, ...] = ()
    finish: tuple[Step, ...] = ()
