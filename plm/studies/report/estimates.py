"""What an arm measured: correctness with intervals, which round is reported, and how much of the gap came back.

Shape letters: S seeds, N problems.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from plm.studies.counts import share_interval
from plm.studies.report.arms import Arm, completions_file, last_row, rows_of
from plm.studies.report.collect import Row, Run
from plm.studies.statistics import (
    Interval,
    Scores,
    between_and_within,
    combined_error,
    correctness_interval,
    difference_interval,
    domains_interval,
    mean_and_error,
    recovered_interval,
    select_and_report,
)


class Estimate(NamedTuple):
    """Correctness of an arm at one point.

    Attributes:
        value: Mean over seeds and problems, in [0, 1].
        error: Standard error of the mean over seeds; over problems where there is one seed.
        low: Lower end of the 95 % interval.
        high: Upper end.
        over: What the interval generalises over.
        seeds: How many runs.
        n: Problems in each.
    """

    value: float
    error: float
    low: float
    high: float
    over: str
    seeds: int
    n: int


def estimate(
    arm: Arm, password: str = "none", *, domain: str = "all", epoch: int | None = None, phase: str | None = None,
    only: frozenset[str] | None = None,
) -> Estimate | None:  # fmt: skip
    """Correctness of an arm under a condition; None where no run measured it.

    Args:
        arm: The runs.
        password: The condition.
        domain: `all`, or a domain of the task.
        epoch: After which round; the last that was measured where None.
        phase: `probe`, `weak` or `strong` for what is not the run's own policy.
        only: Only these problems, by id.
    """
    scores = verdicts(arm, password, domain=domain, epoch=epoch, phase=phase, only=only)
    if scores is not None:
        return _from_scores(scores)
    rows = [row for _, row in _measured(arm, password, domain, epoch, phase)]
    return _from_rows(rows) if rows and only is None else None


def verdicts(
    arm: Arm, password: str = "none", *, domain: str = "all", epoch: int | None = None, phase: str | None = None,
    only: frozenset[str] | None = None,
) -> Scores | None:  # fmt: skip
    """Verdicts of an arm, of shape (S, N), with the arguments of `estimate`; None where completions do not tell them.

    They do not where they are missing, differ in their problems, or do not say of which domain these are.
    """
    pairs = _measured(arm, password, domain, epoch, phase)
    if not pairs or not _same_problems(pairs):
        return None
    if domain != "all":
        known = _domains(completions_file(*pairs[0]))
        only = frozenset(name for name, its in known.items() if its == domain and (only is None or name in only))
    stacks = stacked([pairs], only)
    return stacks[0] if stacks else None


def _measured(arm: Arm, password: str, domain: str, epoch: int | None, phase: str | None) -> list[tuple[Run, Row]]:
    rows = [(run, last_row(run, password, domain, epoch, phase)) for run in arm.runs]
    return [(run, row) for run, row in rows if row is not None]


def _from_scores(scores: Scores) -> Estimate:
    right, total = int(scores.sum()), scores.size
    value, error = mean_and_error(scores.mean(1).tolist())
    if len(scores) == 1:
        error = math.sqrt(value * (1 - value) / (total - 1))
        interval = share_interval(right, total)  # keeps a width where all or none are right, unlike the bootstrap
    else:
        interval = correctness_interval(scores)
    low, high = max(0.0, interval.low), min(1.0, interval.high)
    return Estimate(value, error, low, high, interval.over, len(scores), scores.shape[1])


def _from_rows(rows: Sequence[Row]) -> Estimate:
    """From means alone: the variance over seeds and that over problems, which the seeds share, are added."""
    n = int(rows[0]["n"])
    shares = [float(row["correct"]) for row in rows]
    value, error = mean_and_error(shares)
    within = value * (1 - value) / max(n - 1, 1)
    if len(rows) == 1:
        interval = share_interval(round(value * n), n)
        return Estimate(value, math.sqrt(within), interval.low, interval.high, "problems", 1, n)
    half = between_and_within(error**2, len(rows), within, n)
    return Estimate(value, error, max(0.0, value - half), min(1.0, value + half), "problems and seeds", len(rows), n)


def average(estimates: Sequence[Estimate], stacks: Sequence[Scores] = (), by_seed: Sequence[float] = ()) -> Estimate:
    """Mean over domains, with the combined error of App. B.1.4 of the paper.

    Over several seeds the interval is of problems, domain by domain, and of the averages seed by seed, since a seed
    moves all domains together (`domains_interval`); where only those averages are known it is wider.

    Args:
        estimates: One a domain.
        stacks: Verdicts, one a domain, each of shape (S, N_k); none where they are not known.
        by_seed: The average of each seed; fewer than two where it is not known.
    """
    value = float(np.mean([each.value for each in estimates]))
    error = combined_error([each.error for each in estimates])
    seeds, n = min(each.seeds for each in estimates), sum(each.n for each in estimates)
    if stacks and len(stacks[0]) > 1:
        _, low, high, _ = domains_interval(stacks)
    else:
        half = 1.96 * error
        if len(by_seed) > 1:
            within = sum(each.value * (1 - each.value) / max(each.n - 1, 1) for each in estimates) / len(estimates) ** 2
            half = between_and_within(mean_and_error(by_seed)[1] ** 2, len(by_seed), within, n)
        low, high = max(0.0, value - half), min(1.0, value + half)
    return Estimate(value, error, low, high, "problems and seeds" if seeds > 1 else "problems", seeds, n)


class Choice(NamedTuple):
    """Which round is reported.

    Attributes:
        epoch: The round with the best mean on all of val, as the paper chooses (App. G.3).
        best: Correctness there, on the same problems.
        honest_epoch: The round with the best mean on one half of val.
        honest: Correctness there on the other half; equal to `best` where there was nothing to choose.
    """

    epoch: int
    best: Estimate
    honest_epoch: int
    honest: Estimate | None


@cache
def choose(arm: Arm, password: str = "none", domain: str = "all") -> Choice | None:
    """The paper's choice of the number of passes and an honest one, side by side; the last round for other methods."""
    epochs = arm.epochs(password, domain) or sorted(
        {int(row["epoch"]) for run in arm.runs for row in rows_of(run, password, domain)}
    )
    trained = [epoch for epoch in epochs if epoch > 0] or epochs
    if not trained:
        return None
    if not arm.chooses_rounds:
        trained = trained[-1:]
    found = {epoch: estimate(arm, password, domain=domain, epoch=epoch) for epoch in trained}
    measured = {epoch: each for epoch, each in found.items() if each is not None}
    if not measured:
        return None
    epoch = max(measured, key=lambda each: (measured[each].value, -each))
    if len(measured) == 1:
        return Choice(epoch, measured[epoch], epoch, measured[epoch])
    honest_epoch, honest = _honest(arm, password, list(measured), domain)
    return Choice(epoch, measured[epoch], honest_epoch, honest)


def _honest(arm: Arm, password: str, epochs: Sequence[int], domain: str) -> tuple[int, Estimate | None]:
    halves = halves_of(arm, password, epochs[0])
    if halves is None:
        return epochs[0], None
    on_half = {epoch: estimate(arm, password, domain=domain, epoch=epoch, only=halves[0]) for epoch in epochs}
    values = {epoch: each.value for epoch, each in on_half.items() if each is not None}
    if not values:
        return epochs[0], None
    best = max(values, key=lambda each: (values[each], -each))
    return best, estimate(arm, password, domain=domain, epoch=best, only=halves[1])


def halves_of(arm: Arm, password: str, epoch: int | None) -> tuple[frozenset[str], frozenset[str]] | None:
    """Ids of the problems to choose on and to report on; None where completions are missing."""
    row = last_row(arm.runs[0], password, epoch=epoch)
    ids = _verdicts(completions_file(arm.runs[0], row))[0] if row else ()
    select, report = select_and_report(ids)
    return (frozenset(ids[place] for place in select), frozenset(ids[place] for place in report)) if ids else None


def recovered(arm: Arm, epoch: int | None = None, only: frozenset[str] | None = None) -> tuple[Interval | None, str]:
    """Share of the gap that an arm brought back, each run against its own lock; or why there is none.

    Args:
        arm: The elicitation.
        epoch: After which round; the last where None.
        only: Only these problems, by id; else those that elicitation and lock were both measured on.
    """
    locks = locks_of(arm)
    if not locks:
        return None, "the lock is not among the runs"
    after = [(run, last_row(run, "none", epoch=epoch)) for run in arm.runs]
    before, ceiling = ([(lock, last_row(lock, password)) for lock in locks] for password in ("none", "right"))
    if any(row is None for _, row in ceiling):
        return None, "no ceiling: never measured with a password"
    stacks = stacked([after, before, ceiling], only)
    if stacks is None:
        is_there = all(_by_problem(run, row) for run, row in (*after, *before, *ceiling))
        return None, "too few problems in common with the lock" if is_there else "completions are missing"
    elicited, locked, strong = stacks
    interval = recovered_interval(elicited, locked, strong)
    return (interval, "") if interval.defined else (None, "undefined: the gap is not resolved from 0")


def rise(arm: Arm, epoch: int | None = None) -> tuple[Interval, float] | None:
    """By how much an arm is above its lock, paired by problem and seed, and the p-value of no difference."""
    locks = locks_of(arm)
    after = [(run, last_row(run, "none", epoch=epoch)) for run in arm.runs]
    stacks = stacked([after, [(lock, last_row(lock, "none")) for lock in locks]]) if locks else None
    return difference_interval(stacks[0], stacks[1]) if stacks else None


def rise_from_start(arm: Arm, epoch: int) -> Interval | None:
    """By how much an arm is above what it was before its first step, paired by problem and seed."""
    after, before = ([(run, last_row(run, "none", epoch=each)) for run in arm.runs] for each in (epoch, 0))
    stacks = stacked([after, before])
    return difference_interval(stacks[0], stacks[1])[0] if stacks else None


def locks_of(arm: Arm) -> list[Run]:
    """The lock of each run; empty where one of them is not among the runs."""
    known = {run.id: run for run in arm.lock.runs} if arm.lock else {}
    found = [known[each] for each in arm.lock_ids if each in known]
    return found if len(found) == len(arm.lock_ids) else []


Pairs = Sequence[tuple[Run, Row | None]]


def stacked(groups: Sequence[Pairs], only: frozenset[str] | None = None) -> list[Scores] | None:
    """Verdicts of groups of evaluations on the problems that all of them hold, each of shape (S, N).

    None where completions are missing, or where fewer than two problems are common.
    """
    read = [[_by_problem(run, row) for run, row in each] for each in groups]
    every = [each for group in read for each in group]
    if not every:
        return None
    common = [name for name in every[0] if all(name in each for each in every) and (only is None or name in only)]
    if len(common) < 2:
        return None
    return [np.array([[each[name] for name in common] for each in group], dtype=np.float64) for group in read]


def _by_problem(run: Run, row: Row | None) -> dict[str, float]:
    return dict(zip(*_verdicts(completions_file(run, row)), strict=True)) if row else {}


def _same_problems(pairs: Pairs) -> bool:
    """Whether runs were measured on the same problems, so that nothing is left out where they are put together."""
    return len({_verdicts(completions_file(run, row))[0] for run, row in pairs if row}) == 1


@lru_cache(maxsize=4096)
def _verdicts(path: Path) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Problem ids and verdicts (1 right, 0 wrong) of a file of completions; nothing where it cannot be used."""
    try:
        table = pq.read_table(path, columns=["problem_id", "reason"])
    except (OSError, KeyError, pa.ArrowException):
        return (), ()
    reasons = table["reason"].to_pylist()
    return tuple(table["problem_id"].to_pylist()), tuple(float(reason == "correct") for reason in reasons)


@lru_cache(maxsize=256)
def _domains(path: Path) -> dict[str, str]:
    """Problem id → domain of a file of completions; nothing where it does not say."""
    try:
        table = pq.read_table(path, columns=["problem_id", "domain"])
    except (OSError, KeyError, pa.ArrowException):
        return {}
    if "domain" not in table.column_names:
        return {}
    return dict(zip(table["problem_id"].to_pylist(), table["domain"].to_pylist(), strict=True))
