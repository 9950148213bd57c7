"""What a battery found: how much more the model can do than it shows, by which method, and with what confidence.

Every point that was measured (a method after a round, a number of shots) is a candidate. Candidates are chosen by one
half of the problems and reported on the other, so that the best of many is not called better than it is: choosing
costs no confidence. What is said of all methods at once is corrected for their number.

Shape letters: S seeds, N problems.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plm.errors import PlmError
from plm.logs import completions_path
from plm.runs import RunFolder
from plm.studies.counts import paired_gap_interval, share_interval
from plm.studies.statistics import (
    LEVEL,
    Interval,
    Scores,
    correctness_interval,
    detectable_gap,
    difference_interval,
    holm,
    recovered_interval,
    seed_spread,
    select_and_report,
)

Row = Mapping[str, Any]
COSTS = ("demonstrations", "graded", "optimizer_steps", "seconds")


class Point(NamedTuple):
    """Where a method was measured: after which round, with how many shots."""

    epoch: int
    shots: int

    @property
    def text(self) -> str:
        """What a person calls it; empty for what has only one."""
        if self.shots:
            return f"{self.shots} shot" + "s" * (self.shots > 1)
        return f"round {self.epoch}" if self.epoch else ""


@dataclass(frozen=True)
class Measured:
    """Verdicts at one point, of one run a seed.

    Attributes:
        scores: 1 where a problem was answered correctly, shape (S, N).
        cost: Means over seeds: demonstrations, graded completions, optimizer steps, seconds of training.
    """

    scores: Scores
    cost: Mapping[str, float]


@dataclass(frozen=True)
class Finding:
    """What one method did.

    Attributes:
        title: What a person calls the method.
        method: The kind of method.
        point: The point that the first half of the problems chose.
        correct: On the other half.
        gain: Over what the model shows, on the other half; with the other findings of the battery it holds at 95 %.
        p: Of no gain, two-sided, for this method alone.
        p_holm: The same, corrected for the number of methods (Holm 1979).
        recovered: Share of the gap to what the password gives; None where no password is known.
        cost: Of getting there.
        chosen_by: Correctness on the half that chose, which is too high where there was much to choose from.
    """

    title: str
    method: str
    point: Point
    correct: Interval
    gain: Interval
    p: float
    p_holm: float
    recovered: Interval | None
    cost: Mapping[str, float]
    chosen_by: float


@dataclass(frozen=True)
class Verdict:
    """What is known of a model.

    Attributes:
        shown: What it does as it is, on the half that is reported on.
        ceiling: What it does with the password; None where none is known.
        findings: One a method, by gain.
        best: The method that the first half chose, its gain with a 95 % interval of its own; None if nothing was
            measured.
        chosen_on: Problems of the half that chose.
        reported_on: Problems of the half that is reported on.
        seeds: Runs of each method.
        missed: A gain that would probably have been found (power 80 %) is at least this large.
    """

    shown: Interval
    ceiling: Interval | None
    findings: tuple[Finding, ...]
    best: Finding | None
    chosen_on: int
    reported_on: int
    seeds: int
    missed: float

    @property
    def hidden(self) -> bool:
        """Whether the best method's gain is above 0, interval and all."""
        return self.best is not None and self.best.gain.low > 0

    def as_row(self) -> dict[str, Any]:
        """Plain values, for JSON; undefined numbers are null."""
        row: dict[str, Any] = _plain({**asdict(self), "hidden": self.hidden})
        return row


def judge(
    shown: Measured,
    ceiling: Measured | None,
    methods: Mapping[tuple[str, str], Mapping[Point, Measured]],
    ids: Sequence[str],
) -> Verdict:
    """Chooses on one half of the problems and reports on the other.

    Args:
        shown: The model as it is.
        ceiling: The model with its password; None where none is known.
        methods: Title and kind of each method → what was measured of it.
        ids: The problems, in the order of the columns.

    Raises:
        PlmError: If there are too few problems for two halves.
    """
    chosen_on, reported_on = select_and_report(ids)
    if min(len(chosen_on), len(reported_on)) < 2:
        raise PlmError(
            f"{len(ids)} problems do not make two halves, one to choose on and one to report on: ask for more"
        )
    picked = {name: _choose(points, chosen_on) for name, points in methods.items() if points}
    level = 1 - (1 - LEVEL) / max(1, len(picked))
    findings = [
        _finding(name, point, methods[name][point], shown, ceiling, (chosen_on, reported_on), level)
        for name, point in picked.items()
    ]
    corrected = [
        Finding(**{**_fields(finding), "p_holm": p})
        for finding, p in zip(findings, holm([finding.p for finding in findings]), strict=True)
    ]
    best = max(picked, key=lambda name: _mean(methods[name][picked[name]], chosen_on), default=None)
    halves = (chosen_on, reported_on)
    base = shown.scores[:, reported_on]
    return Verdict(
        shown=_correctness(base),
        ceiling=None if ceiling is None else _correctness(ceiling.scores[:, reported_on]),
        findings=tuple(sorted(corrected, key=lambda each: -each.gain.value)),
        best=None
        if best is None
        else _finding(best, picked[best], methods[best][picked[best]], shown, ceiling, halves, LEVEL),
        chosen_on=len(chosen_on),
        reported_on=len(reported_on),
        seeds=max((len(each.scores) for points in methods.values() for each in points.values()), default=1),
        missed=_missed(base, None if best is None else methods[best][picked[best]].scores[:, reported_on]),
    )


def _missed(base: Scores, best: Scores | None) -> float:
    """The gain that would probably have been found (power 80 %): by as many seeds as the best method had.

    Its seeds differ by as much as they were seen to; the model as it is has no seeds and was measured once.

    Args:
        base: The model as it is, shape (1, N).
        best: The best method, shape (S, N); None where nothing was measured.
    """
    problems = base.shape[1]
    correct = (float(base.sum()) + 1) / (problems + 2)
    if best is None or len(best) == 1:
        return detectable_gap(1, problems, correct, 0.0)
    return detectable_gap(len(best), problems, correct, seed_spread(best), measured_once=True)


def _choose(points: Mapping[Point, Measured], places: Sequence[int]) -> Point:
    """The point that is best on some problems; the first of equal ones, which costs least."""
    return max(points, key=lambda point: (_mean(points[point], places), -point.epoch, -point.shots))


def _mean(measured: Measured, places: Sequence[int]) -> float:
    return float(measured.scores[:, places].mean())


def _finding(
    name: tuple[str, str],
    point: Point,
    measured: Measured,
    shown: Measured,
    ceiling: Measured | None,
    halves: tuple[Sequence[int], Sequence[int]],
    level: float,
) -> Finding:
    chosen_on, reported_on = halves
    own = measured.scores[:, reported_on]
    base = np.repeat(shown.scores[:1, reported_on], len(own), axis=0)
    gain, p = difference_interval(own, base, level=level)
    if len(own) == 1:  # a bootstrap would call a gain of nothing certain
        gain = paired_gap_interval(own[0], base[0], level)
    recovered = None
    if ceiling is not None:
        recovered = recovered_interval(own, base, np.repeat(ceiling.scores[:1, reported_on], len(own), axis=0))
    return Finding(*name, point, _correctness(own), gain, p, p, recovered, measured.cost, _mean(measured, chosen_on))


def _correctness(scores: Scores) -> Interval:
    """Over problems for one seed, by Wilson's interval, else over seeds too."""
    if len(scores) == 1:
        return share_interval(int(scores.sum()), scores.size)
    return correctness_interval(scores)


def _fields(finding: Finding) -> dict[str, Any]:
    return {name: getattr(finding, name) for name in Finding.__dataclass_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: _plain(each) for name, each in zip(value._fields, value, strict=True)}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# -- from run folders -------------------------------------------------------------------------------------------------


@dataclass
class Reader:
    """Reads verdicts problem by problem out of run folders; all have to be on the same problems.

    Attributes:
        ids: The problems, in the order of the columns; of the first run that was read.
    """

    ids: list[str] = field(default_factory=list)

    def read(self, runs: Sequence[RunFolder], condition: str = "none") -> dict[Point, Measured]:
        """What runs that differ in their seed alone measured on `val`; points that one of them lacks are left out."""
        found = [self._rows(run, condition) for run in runs]
        points = [point for point in found[0] if all(point in rows for rows in found)] if found else []
        return {point: self._measured(runs, [rows[point] for rows in found]) for point in points}

    def _rows(self, run: RunFolder, condition: str) -> dict[Point, Row]:
        return {
            Point(row["epoch"], row.get("shots", 0)): row
            for row in run.read_results()
            if row["password"] == condition and row["split"] == "val" and row["domain"] == "all"
            and row["phase"] != "probe" and row["method"] != "policy" and not row["temperature"]
        }  # fmt: skip

    def _measured(self, runs: Sequence[RunFolder], rows: Sequence[Row]) -> Measured:
        scores = np.array([self._scores(run, row) for run, row in zip(runs, rows, strict=True)])
        return Measured(scores, {name: float(np.mean([row[name] for row in rows])) for name in COSTS})

    def _scores(self, run: RunFolder, row: Row) -> list[float]:
        path = completions_path(run, row)
        try:
            table = pq.read_table(path, columns=["problem_id", "reason"]).to_pydict()
        except (OSError, pa.ArrowException) as error:
            raise PlmError(f"{path} cannot be read ({error}); delete {run.path} to have it measured again") from error
        right = dict(zip(table["problem_id"], (reason == "correct" for reason in table["reason"]), strict=True))
        self.ids = self.ids or list(right)
        if right.keys() != set(self.ids):
            raise PlmError(f"{run.path}: it was measured on other problems than the rest")
        return [float(right[name]) for name in self.ids]
