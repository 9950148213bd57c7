"""Five tests a program: edge, small, two typical, largest; redrawn until every likely mistake fails one of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from plm.datamodules.mini_code.program import FAMILIES, solve
from plm.datamodules.mini_code.spec import Spec, Step
from plm.datamodules.mini_code.weak import weak_spec
from plm.records import IOTest

REDRAWS = 12


def _nudged(step: Step) -> Iterator[Step]:
    if step.value:
        yield step._replace(value=step.value + 1)
        yield step._replace(value=step.value - 1)


def _without(steps: tuple[Step, ...], index: int) -> tuple[Step, ...]:
    return steps[:index] + steps[index + 1 :]


def _with(steps: tuple[Step, ...], index: int, step: Step) -> tuple[Step, ...]:
    return (*steps[:index], step, *steps[index + 1 :])


def mutants(spec: Spec) -> Iterator[Spec]:
    """The likely mistakes: what the weak policy writes, one step left out, one constant off by one."""
    yield weak_spec(spec)
    if spec.keep:
        yield replace(spec, keep=None)
        yield from (replace(spec, keep=step) for step in _nudged(spec.keep))
    for i, step in enumerate(spec.changes):
        yield replace(spec, changes=_without(spec.changes, i))
        yield from (replace(spec, changes=_with(spec.changes, i, other)) for other in _nudged(step))
    for i, step in enumerate(spec.finish):
        yield replace(spec, finish=_without(spec.finish, i))
        yield from (replace(spec, finish=_with(spec.finish, i, other)) for other in _nudged(step))


def _constants(spec: Spec) -> list[int]:
    """The values to draw items near to: the condition's constant and some multiples of a divisor."""
    if spec.keep is None or not spec.keep.value:
        return []
    value = spec.keep.value
    return [value, 2 * value, 3 * value] if "divisible" in spec.keep.kind else [value]


def _passes(spec: Spec, tests: list[IOTest]) -> bool:
    return all(solve(spec, test.input) == test.output for test in tests)


def _test(spec: Spec, rng: Random, size: int) -> IOTest:
    given = FAMILIES[spec.family].source.make(rng, _constants(spec), size)
    return IOTest(given, solve(spec, given))


def make_tests(spec: Spec, rng: Random) -> tuple[IOTest, ...]:
    """Draws the tests; a typical one is replaced by one that tells a mistake apart, where one is found.

    Some mistakes are none: leaving out "not 41" where every item is above 50 changes nothing.
    """
    tests = [_test(spec, rng, size) for size in range(5)]
    spare = [2, 3]
    for mutant in dict.fromkeys(mutants(spec)):
        if mutant == spec or not spare or not _passes(mutant, tests):
            continue
        for _ in range(REDRAWS):
            fresh = _test(spec, rng, rng.randint(2, 4))
            if solve(mutant, fresh.input) != fresh.output:
                tests[spare.pop()] = fresh
                break
    return tuple(tests)
