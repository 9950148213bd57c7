"""Bugs of small programs: one thing lost, exchanged or added, with the sentence that says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from plm.datamodules.mini_code.program import FAMILIES, program, solve
from plm.datamodules.mini_code.spec import Spec, Step, StepKind
from plm.datamodules.mini_code.steps import FINISHES
from plm.records import IOTest

Place = Literal["condition", "change", "finish", "question"]
KEEP = "keep only those that are {words}"
IT: Mapping[Place, str] = {"change": "each", "finish": "the answer"}
DRAWS = 4  # of another constant, another kind or another question for each place


@dataclass(frozen=True, slots=True)
class Bug:
    """A program with one mistake.

    Args:
        spec: What the buggy program does.
        place: Where the mistake is.
        explanation: What is wrong, in one sentence: the reference critique.
    """

    spec: Spec
    place: Place
    explanation: str

    @property
    def program(self) -> str:
        """The buggy program's text."""
        return program(self.spec)


def _lost(do: str) -> str:
    return f"It forgets to {do}."


def _exchanged(do: str, done: str) -> str:
    return f"It should {do}, not {done}."


def _added(done: str) -> str:
    return f"It should not {done}."


def possible_bugs(spec: Spec, rng: Random) -> Iterator[Bug]:
    """Bugs that a program may have, whether or not any input shows them: constants and exchanged kinds are drawn."""
    source, result = FAMILIES[spec.family].source, FAMILIES[spec.family].core.result
    yield from _of_condition(spec, rng)
    yield from _of_steps(spec, rng, "change", source.changes if source.loop else {})
    yield from _of_steps(spec, rng, "finish", FINISHES[result])
    yield from _of_question(spec, rng)


def draw_bug(spec: Spec, tests: tuple[IOTest, ...], rng: Random) -> Bug | None:
    """Draws a place, and a bug there that fails a test: the buggy program's output, by the solver in Python, differs.

    Args:
        spec: The correct program.
        tests: Its tests.
        rng: The only source of randomness.

    Returns:
        The bug, or None if no test shows any.
    """
    by_place: dict[Place, list[Bug]] = {}
    for bug in possible_bugs(spec, rng):
        by_place.setdefault(bug.place, []).append(bug)
    places = sorted(by_place)
    rng.shuffle(places)
    for place in places:
        bugs = by_place[place]
        rng.shuffle(bugs)
        for bug in bugs:
            if any(solve(bug.spec, test.input) != test.output for test in tests):
                return bug
    return None


def weak_critique(spec: Spec) -> str:
    """What the weak policy writes: it blames the reading of the input, where the mistake never is.

    It is a function of the statement alone, which a model can learn without understanding the program.
    """
    return _added(f"read {FAMILIES[spec.family].source.items}")


def _ask(family: str) -> str:
    return FAMILIES[family].core.asks[0][0]


def _say(kinds: Mapping[str, StepKind], step: Step, place: Place) -> str:
    words = kinds[step.kind].words[0].replace("{c}", kinds[step.kind].show(step.value))
    return KEEP.replace("{words}", words) if place == "condition" else words.replace("{it}", IT[place])


def _other(kinds: Mapping[str, StepKind], step: Step, rng: Random, limits: tuple[int, int] | None) -> Step:
    """The step with another constant, or, half of the time and where there is no constant, of another kind."""
    kind = kinds[step.kind]
    others = [name for name in kinds if name != step.kind]
    if others and (kind.values is None or rng.random() < 0.5):
        name = rng.choice(others)
        value = step.value if step.value and kinds[name].letter == kind.letter else 0
        return Step(name, _constant(kinds[name], rng, limits, keep=value))
    return Step(step.kind, _constant(kind, rng, limits))


def _constant(kind: StepKind, rng: Random, limits: tuple[int, int] | None, keep: int = 0) -> int:
    if kind.values is None:
        return 0
    low, high = kind.values
    if limits and not kind.letter:
        low, high = min(low, limits[0]), min(high, limits[1])
    return keep if low <= keep <= high else rng.randint(low, high)


def _of_condition(spec: Spec, rng: Random) -> Iterator[Bug]:
    source = FAMILIES[spec.family].source
    if not source.conditions:
        return
    if spec.keep is None:
        step = Step(name := rng.choice(list(source.conditions)), _constant(source.conditions[name], rng, source.limits))
        yield Bug(replace(spec, keep=step), "condition", _added(_say(source.conditions, step, "condition")))
        return
    do = _say(source.conditions, spec.keep, "condition")
    if not FAMILIES[spec.family].core.needs_keep:
        yield Bug(replace(spec, keep=None), "condition", _lost(do))
    for _ in range(DRAWS):
        step = _other(source.conditions, spec.keep, rng, source.limits)
        if step != spec.keep:
            done = _say(source.conditions, step, "condition")
            yield Bug(replace(spec, keep=step), "condition", _exchanged(do, done))


def _of_steps(
    spec: Spec, rng: Random, place: Literal["change", "finish"], kinds: Mapping[str, StepKind]
) -> Iterator[Bug]:
    if not kinds or (place == "change" and not FAMILIES[spec.family].core.by_value):
        return

    def with_steps(steps: tuple[Step, ...]) -> Spec:
        return replace(spec, changes=steps) if place == "change" else replace(spec, finish=steps)

    steps = spec.changes if place == "change" else spec.finish
    if not steps:
        step = Step(name := rng.choice(list(kinds)), _constant(kinds[name], rng, None))
        yield Bug(with_steps((step,)), place, _added(_say(kinds, step, place)))
    for index, step in enumerate(steps):
        before, after, do = steps[:index], steps[index + 1 :], _say(kinds, step, place)
        yield Bug(with_steps((*before, *after)), place, _lost(do))
        for _ in range(DRAWS):
            other = _other(kinds, step, rng, None)
            if other != step and other.kind not in {each.kind for each in (*before, *after)}:
                yield Bug(with_steps((*before, other, *after)), place, _exchanged(do, _say(kinds, other, place)))


def _of_question(spec: Spec, rng: Random) -> Iterator[Bug]:
    """The same steps around another question on the same items, with the same kind of result."""
    own = FAMILIES[spec.family]
    others = [
        family.name
        for family in FAMILIES.values()
        if family.source.name == own.source.name
        and family.core.result == own.core.result
        and family.name != own.name
        and (spec.keep or not family.core.needs_keep)
    ]
    for name in rng.sample(others, min(DRAWS, len(others))):
        yield Bug(replace(spec, family=name), "question", _exchanged(_ask(spec.family), _ask(name)))
