"""Runs that differ in their seed alone are an arm; where its measurements are."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from plm.studies.report.collect import Collection, Row, Run
from plm.studies.report.facts import REWARDED, Facts, arm_keys, facts_of

SAME = {"strong_setting": "right", "weak_setting": "none"}  # where the setting is the password
SPLIT = "val"


@dataclass(eq=False)  # told apart by identity, so that what they measured can be kept
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
    def run_ids(self) -> tuple[str, ...]:
        """Ids of its runs, in their order."""
        return tuple(run.id for run in self.runs)

    @property
    def chooses_rounds(self) -> bool:
        """Whether its number of passes is chosen by correctness on val, as the paper does for SFT (App. G.3)."""
        return self.role != "lock" and self.facts.method not in REWARDED

    def epochs(self, password: str = "none", domain: str = "all") -> list[int]:
        """Rounds after which every run was measured."""
        measured = [{int(row["epoch"]) for row in rows_of(run, password, domain)} for run in self.runs]
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


def rows_of(run: Run, password: str, domain: str, phase: str | None = None) -> list[Row]:
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
        found.append(row)
    return found


def last_row(
    run: Run, password: str, domain: str = "all", epoch: int | None = None, phase: str | None = None
) -> Row | None:
    """The last evaluation of a kind, or the one after a round."""
    rows = [row for row in rows_of(run, password, domain, phase) if epoch is None or row["epoch"] == epoch]
    return rows[-1] if rows else None


def completions_file(run: Run, row: Row) -> Path:
    """Where an evaluation's completions are."""
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
