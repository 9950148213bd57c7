"""Runs that differ in their seed alone are an arm; what an arm measured, with intervals.

Shape letters: S seeds, N problems.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from plm.studies.counts import share_interval
from plm.studies.report.collect import Collection, Row, Run
from plm.studies.report.facts import REWARDED, Facts, arm_keys, facts_of
from plm.studies.statistics import (
    LEVEL,
    Interval,
    Scores,
    combined_error,
    correctness_interval,
    mean_and_error,
    recovered_interval,
    select_and_report,
)

SAME = {"strong_setting": "right", "weak_setting": "none"}  # where the setting is the password
SPLIT = "val"


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


@dataclass
class Arm:
    """Runs of one configuration.

    Attributes:
        key: What they have in common.
        runs: One a seed, in the order of the seeds.
        facts: What they did.
        lock: The arm of the lock that they descend from; None where it is not among the runs.
        lock_ids: Run ids of their locks, in the order of `runs`; None where there is none.
        parent: The arm that they start from.
    """

    key: str
    runs: list[Run]
    facts: Facts
    lock: Arm | None = None
    lock_ids: list[str | None] = field(default_factory=list)
    parent: Arm | None = None

    @property
    def name(self) -> str:
        """The configuration's name, or the study's cell."""
        return str(self.runs[0].planned.get("cell") or self.runs[0].name)

    @property
    def role(self) -> str:
        """`base`, `weak`, `strong`, `lock`, `elicit`, `control`, …."""
        return self.runs[0].role

    @property
    def chooses_rounds(self) -> bool:
        """Whether its number of passes is chosen by correctness on val, as the paper does for SFT (App. G.3)."""
        return self.role != "lock" and self.facts.method not in REWARDED

    def epochs(self, password: str = "none", domain: str = "all") -> list[int]:
        """Rounds after which every run was measured."""
        measured = [{int(row["epoch"]) for row in _rows(run, password, domain)} for run in self.runs]
        return sorted(set.intersection(*measured)) if measured else []


def make_arms(collection: Collection) -> list[Arm]:
    """Groups runs into arms and links each to its lock; two runs of one seed are told to the reader."""
    keys = arm_keys(collection)
    descendants = _descendants(collection)
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in collection.runs.values():
        if run.rows:
            groups[keys[run.id]].append(run)
    arms = {key: _arm(key, runs, collection, descendants) for key, runs in groups.items()}
    for arm in arms.values():
        arm.lock_ids = [collection.lock_of(run) for run in arm.runs]
        lock = next((each for each in arm.lock_ids if each in collection.runs), None)
        arm.lock = arms.get(keys[lock]) if lock else None
        parent = arm.runs[0].manifest.get("parent")
        arm.parent = arms.get(keys[parent]) if parent in collection.runs else None
    return sorted(arms.values(), key=lambda arm: (arm.facts.task, arm.name, arm.facts.k or 0))


def _arm(key: str, runs: list[Run], collection: Collection, descendants: dict[str, int]) -> Arm:
    """One run a seed: of several, the one that others start from, then the newest."""
    best: dict[int, Run] = {}
    for run in sorted(runs, key=lambda run: (run.finished, descendants[run.id], _time(run))):
        if run.seed in best:
            collection.notices.append(
                f"{best[run.seed].id}: left out, {run.id} has the same configuration and seed (made by other code)"
            )
        best[run.seed] = run
    kept = [best[seed] for seed in sorted(best)]
    return Arm(key, kept, facts_of(kept[0]))


def _descendants(collection: Collection) -> defaultdict[str, int]:
    counts: defaultdict[str, int] = defaultdict(int)
    for run in collection.runs.values():
        for reference in set(map(str, (run.manifest.get("references") or {}).values())):
            counts[reference] += 1
    return counts


def _time(run: Run) -> float:
    path = run.folder.path / "manifest.json"
    return path.stat().st_mtime if path.exists() else 0.0


def _rows(run: Run, password: str, domain: str, phase: str | None = None, shots: int | None = None) -> list[Row]:
    """Greedy evaluations on val of a run's own policy, or of the policy or probe that `phase` names."""
    found = []
    for row in run.rows:
        if row["split"] != SPLIT or row["domain"] != domain or row.get("temperature"):
            continue
        is_own = row["method"] != "policy" and row["phase"] != "probe"
        if (phase is None) != is_own or (phase is not None and row["phase"] != phase):
            continue
        if SAME.get(row["password"], row["password"]) != SAME.get(password, password):
            continue
        if shots is None or int(row.get("shots") or 0) == shots:
            found.append(row)
    return found


def last_row(
    run: Run, password: str, domain: str = "all", epoch: int | None = None, phase: str | None = None
) -> Row | None:
    """The last evaluation of a kind, or the one after a round."""
    rows = [row for row in _rows(run, password, domain, phase) if epoch is None or row["epoch"] == epoch]
    return rows[-1] if rows else None


def estimate(
    arm: Arm, password: str = "none", *, domain: str = "all", epoch: int | None = None, phase: str | None = None,
    places: Sequence[int] | None = None,
) -> Estimate | None:  # fmt: skip
    """Correctness of an arm under a condition; None where no run measured it.

    Args:
        arm: The runs.
        password: The condition.
        domain: `all`, or a domain of the task.
        epoch: After which round; the last that was measured where None.
        phase: `probe`, `weak` or `strong` for what is not the run's own policy.
        places: Only these problems, by their place in the file of completions.
    """
    pairs = [(run, row) for run in arm.runs if (row := last_row(run, password, domain, epoch, phase)) is not None]
    if not pairs:
        return None
    scores = scores_of(pairs) if domain == "all" else None
    if scores is not None:
        return _from_scores(scores if places is None else scores[:, list(places)])
    return _from_rows([row for _, row in pairs]) if places is None else None


def _from_scores(scores: Scores) -> Estimate | None:
    if scores.shape[1] < 2:
        return None
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
    half = float(stats.t.ppf(0.5 + LEVEL / 2, len(rows) - 1)) * math.sqrt(error**2 + within)
    return Estimate(value, error, max(0.0, value - half), min(1.0, value + half), "problems and seeds", len(rows), n)


def average(estimates: Sequence[Estimate]) -> Estimate | None:
    """Mean over domains, with the combined error of App. B.1.4 of the paper; the interval is 1.96 of these."""
    if not estimates:
        return None
    value = float(np.mean([each.value for each in estimates]))
    error = combined_error([each.error for each in estimates])
    half = 1.96 * error
    over = "problems and seeds" if estimates[0].seeds > 1 else "problems"
    seeds, n = min(each.seeds for each in estimates), sum(each.n for each in estimates)
    return Estimate(value, error, max(0.0, value - half), min(1.0, value + half), over, seeds, n)


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


def choose(arm: Arm, password: str = "none", domain: str = "all") -> Choice | None:
    """The paper's choice of the number of passes and an honest one, side by side; the last round for other methods."""
    epochs = arm.epochs(password, domain) or sorted(
        {int(row["epoch"]) for run in arm.runs for row in _rows(run, password, domain)}
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
    if len(measured) == 1 or domain != "all":
        return Choice(epoch, measured[epoch], epoch, measured[epoch] if len(measured) == 1 else None)
    honest_epoch, honest = _honest(arm, password, list(measured))
    return Choice(epoch, measured[epoch], honest_epoch, honest)


def _honest(arm: Arm, password: str, epochs: Sequence[int]) -> tuple[int, Estimate | None]:
    halves = halves_of(arm, password, epochs[0])
    if halves is None:
        return epochs[0], None
    on_half = {epoch: estimate(arm, password, epoch=epoch, places=halves[0]) for epoch in epochs}
    values = {epoch: each.value for epoch, each in on_half.items() if each is not None}
    if not values:
        return epochs[0], None
    best = max(values, key=lambda each: (values[each], -each))
    return best, estimate(arm, password, epoch=best, places=halves[1])


def halves_of(arm: Arm, password: str, epoch: int | None) -> tuple[list[int], list[int]] | None:
    """Places of the problems to choose on and to report on; None where completions are missing."""
    row = last_row(arm.runs[0], password, epoch=epoch)
    ids = _verdicts(_file(arm.runs[0], row))[0] if row else ()
    return select_and_report(ids) if ids else None


def recovered(arm: Arm, epoch: int | None = None, places: Sequence[int] | None = None) -> tuple[Interval | None, str]:
    """Share of the gap that an arm brought back, each run against its own lock; or why there is none.

    Args:
        arm: The elicitation.
        epoch: After which round; the last where None.
        places: Only these problems.
    """
    locks = locks_of(arm)
    if not locks:
        return None, "the lock is not among the runs"
    triples = []
    for run, lock in zip(arm.runs, locks, strict=True):
        rows = (last_row(run, "none", epoch=epoch), last_row(lock, "none"), last_row(lock, "right"))
        if rows[2] is None:
            return None, "no ceiling: never measured with a password"
        triples.append([(run, rows[0]), (lock, rows[1]), (lock, rows[2])])
    stacks = [scores_of([triple[part] for triple in triples]) for part in range(3)]
    if any(stack is None for stack in stacks):
        return None, "completions are missing"
    arrays = [stack if places is None else stack[:, list(places)] for stack in stacks if stack is not None]
    if len({array.shape for array in arrays}) > 1:
        return None, "other problems than the lock was measured on"
    elicited, locked, ceiling = arrays
    interval = recovered_interval(elicited, locked, ceiling)
    return (interval, "") if interval.defined else (None, "undefined: the gap is not resolved from 0")


def locks_of(arm: Arm) -> list[Run]:
    """The lock of each run; empty where one of them is not among the runs."""
    known = {run.id: run for run in arm.lock.runs} if arm.lock else {}
    found = [known[each] for each in arm.lock_ids if each in known]
    return found if len(found) == len(arm.lock_ids) else []


def scores_of(pairs: Iterable[tuple[Run, Row | None]]) -> Scores | None:
    """Verdicts of several evaluations, shape (S, N); None where completions are missing or not on the same problems."""
    read = [_verdicts(_file(run, row)) if row is not None else ((), ()) for run, row in pairs]
    if not read or not read[0][0] or any(ids != read[0][0] for ids, _ in read):
        return None
    return np.array([verdicts for _, verdicts in read], dtype=np.float64)


def _file(run: Run, row: Row) -> Path:
    return run.folder.path / "completions" / f"{completions_name(row)}.parquet"


def completions_name(row: Row) -> str:
    """Name of the file with an evaluation's completions, as `plm.callbacks.reporting` gives it."""
    shots = int(row.get("shots") or 0)
    if row["phase"] == "probe":
        label = "probe"
    elif row["method"] == "policy":
        label = row["phase"]
    else:
        label = f"{row['password']}-{shots}-shot" if shots else row["password"]
    return f"{row['phase']}-epoch{int(row['epoch']):04d}-step{int(row['step']):07d}-{row['split']}-{label}"


@lru_cache(maxsize=4096)
def _verdicts(path: Path) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Problem ids and verdicts (1 right, 0 wrong) of a file of completions; nothing where it cannot be used."""
    try:
        table = pq.read_table(path, columns=["problem_id", "reason"])
    except (OSError, KeyError, pa.ArrowException):
        return (), ()
    reasons = table["reason"].to_pylist()
    return tuple(table["problem_id"].to_pylist()), tuple(float(reason == "correct") for reason in reasons)


def find(arms: Iterable[Arm], test: Callable[[Facts], bool], *, role: str = "elicit") -> list[Arm]:
    """Arms of a role whose facts pass a test."""
    return [arm for arm in arms if arm.role == role and test(arm.facts)]
