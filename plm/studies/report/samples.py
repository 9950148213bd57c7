"""Completions to read: right and wrong, with and without the password, and after elicitation."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from plm.studies.report.arms import Arm, completions_name, last_row
from plm.studies.report.collect import Row, Run
from plm.studies.report.estimates import choose
from plm.studies.report.overview import arm_label
from plm.studies.report.view import Lock, View

LONGEST = 3000  # characters of a text on the page
EACH = 2  # samples of each kind
SIDE_BY_SIDE = 3


class Sample(NamedTuple):
    """An answer to read.

    Attributes:
        condition: Who answered, and under which prompt.
        problem_id: Which problem.
        prompt: What was shown.
        completion: What came back; hostile text.
        reason: The verdict.
        tokens: Length of the completion.
    """

    condition: str
    problem_id: str
    prompt: str
    completion: str
    reason: str
    tokens: int

    @property
    def correct(self) -> bool:
        """Whether it was right."""
        return self.reason == "correct"


class Reading(NamedTuple):
    """What to read of one lock.

    Attributes:
        lock: Whose.
        run: Run id that the samples are of.
        together: The same problem, answered under each condition.
        kinds: By condition and verdict, a few of each.
    """

    lock: Lock
    run: str
    together: list[list[Sample]]
    kinds: dict[str, list[Sample]]


def readings(view: View) -> list[Reading]:
    """Samples of each lock that is among the runs."""
    found = [_reading(lock) for lock in view.locks if lock.arm is not None]
    return [reading for reading in found if reading is not None]


def _reading(lock: Lock) -> Reading | None:
    assert lock.arm is not None
    run = lock.arm.runs[0]
    sets = {
        name: _samples(run, last_row(run, password), name)
        for password, name in (("right", "with the password"), ("none", "without"))
    }
    best = max(lock.elicitations, key=_value, default=None)
    if best is not None and (choice := choose(best)):
        name = f"after {arm_label(best, lock)}"
        sets[name] = _samples(best.runs[0], last_row(best.runs[0], "none", epoch=choice.epoch), name)
    sets = {name: samples for name, samples in sets.items() if samples}
    if not sets:
        return None
    kinds = {
        f"{name}, {'right' if right else 'wrong'}": [each for each in samples.values() if each.correct == right][:EACH]
        for name, samples in sets.items()
        for right in (True, False)
    }
    return Reading(lock, run.id, _together(list(sets.values())), kinds)


def _together(sets: list[dict[str, Sample]]) -> list[list[Sample]]:
    """Problems that every set has, those first that are right with the password and wrong without."""
    common = [name for name in sets[0] if all(name in samples for samples in sets)]
    telling = sorted(
        common, key=lambda name: [samples[name].correct == bool(place % 2) for place, samples in enumerate(sets)]
    )
    return [[samples[name] for samples in sets] for name in telling[:SIDE_BY_SIDE]] if len(sets) > 1 else []


def _samples(run: Run, row: Row | None, condition: str) -> dict[str, Sample]:
    if row is None:
        return {}
    path = run.folder.path / "completions" / f"{completions_name(row)}.parquet"
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException):
        return {}
    samples = [
        Sample(
            condition, str(each["problem_id"]), str(each["prompt"]), str(each["completion"]),
            str(each.get("reason", "not graded")), int(each.get("tokens") or 0),
        )
        for each in rows
    ]  # fmt: skip
    return {sample.problem_id: sample for sample in samples}


def _value(arm: Arm) -> float:
    choice = choose(arm)
    return choice.best.value if choice else 0.0
