"""Which method is better? Paired tests between the methods that were tried on a lock.

A method is represented by the arm and the round that are best on one half of the problems; it is compared on the other
half, so that having more arms to choose from is no advantage.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import NamedTuple

from plm.studies.counts import paired_gap_interval
from plm.studies.report.arms import Arm, last_row
from plm.studies.report.estimates import estimate, halves_of, stacked
from plm.studies.report.markup import file_name
from plm.studies.report.overview import arm_label
from plm.studies.report.rewarded import method_group
from plm.studies.report.tables import Table
from plm.studies.report.view import Lock
from plm.studies.statistics import Interval, detectable_gap, difference_interval, holm, seed_spread

ABOUT = (
    "Each method by the arm and the round that are best on one half of the problems, compared on the other half, "
    "problem by problem and seed by seed. p is that of no difference, also corrected (Holm) for the number of "
    "comparisons here. Detectable: a true difference of that size is found with a probability of 80 % by as many seeds "
    "and problems, if seeds differ as much as these do and the answers of the two are independent."
)


class Candidate(NamedTuple):
    """What represents a method.

    Attributes:
        method: Its name.
        arm: The arm.
        epoch: After which round.
        correct: On the half of the problems that chose it.
    """

    method: str
    arm: Arm
    epoch: int
    correct: float


class Comparison(NamedTuple):
    """Two methods on the same problems and seeds.

    Attributes:
        left: The one that was better on the half that chose.
        right: The other.
        difference: By how much `left` is better on the other half.
        p: Of no difference, two-sided.
        left_correct: Of `left`, on the problems and seeds that both were measured on.
        right_correct: Of `right`.
        seeds: In common.
        n: Problems in common.
        detectable: The smallest true difference that would be found (power 80 %).
    """

    left: Candidate
    right: Candidate
    difference: Interval
    p: float
    left_correct: float
    right_correct: float
    seeds: int
    n: int
    detectable: float


def comparison_table(lock: Lock) -> Table:
    """Every pair of methods that were tried on a lock; empty where there is only one."""
    table = Table(f"comparison_{file_name(lock.name)}", f"{lock.title}, method against method", about=ABOUT)
    pairs = itertools.combinations(representatives(lock), 2)
    found = [result for pair in pairs if (result := compare(*pair)) is not None]
    for each, p_holm in zip(found, holm([each.p for each in found]), strict=True):
        table.records.append({
            "lock": lock.name, "task": lock.task, "stamp": lock.stamp,
            "method": each.left.method, "arm": _where(each.left, lock), "correct": each.left_correct,
            "than": each.right.method, "than_arm": _where(each.right, lock), "than_correct": each.right_correct,
            "difference": each.difference.value, "difference_low": each.difference.low,
            "difference_high": each.difference.high, "interval_over": each.difference.over,
            "p": each.p, "p_holm": p_holm, "detectable": each.detectable, "seeds": each.seeds, "n": each.n,
        })  # fmt: skip
    table.shown = {
        "method": "method", "arm": "its best", "correct": "correct", "than": "against", "than_arm": "its best",
        "than_correct": "correct", "difference [difference_low, difference_high]": "difference", "p": "p",
        "p_holm": "p (Holm)", "detectable": "detectable", "seeds": "seeds", "n": "problems",
    }  # fmt: skip
    return table


def representatives(lock: Lock) -> list[Candidate]:
    """The best arm and round of each method on the half of the problems that chooses, the best method first."""
    best: dict[str, Candidate] = {}
    for arm in lock.elicitations:
        for each in _candidates(method_group(arm, lock), arm):
            if each.method not in best or each.correct > best[each.method].correct:
                best[each.method] = each
    return sorted(best.values(), key=lambda each: (-each.correct, each.method))


def _candidates(method: str, arm: Arm) -> Iterable[Candidate]:
    """The rounds that may be reported; none where completions are missing."""
    epochs = [epoch for epoch in arm.epochs() if epoch > 0] or arm.epochs()
    for epoch in epochs if arm.chooses_rounds else epochs[-1:]:
        halves = halves_of(arm, "none", epoch)
        found = estimate(arm, epoch=epoch, only=halves[0]) if halves else None
        if found is not None:
            yield Candidate(method, arm, epoch, found.value)


def compare(left: Candidate, right: Candidate) -> Comparison | None:
    """Two methods on the seeds and problems that both were measured on; None where these are too few."""
    halves = halves_of(left.arm, "none", left.epoch)
    seeds = sorted({run.seed for run in left.arm.runs} & {run.seed for run in right.arm.runs})
    if halves is None or not seeds:
        return None
    groups = [
        [(run, last_row(run, "none", epoch=each.epoch)) for run in each.arm.runs if run.seed in seeds]
        for each in (left, right)
    ]
    stacks = stacked(groups, halves[1])
    if stacks is None:
        return None
    first, second = stacks
    difference, p = difference_interval(first, second)
    if len(first) == 1:  # keeps a width where few problems differ, unlike the bootstrap
        difference = paired_gap_interval(first[0], second[0])
    means = (float(first.mean()), float(second.mean()))
    seed_sd = math.hypot(seed_spread(first), seed_spread(second)) / math.sqrt(2)
    correct = (float(first.sum() + second.sum()) + 1) / (first.size + second.size + 2)  # above 0 where none is right
    detectable = detectable_gap(len(first), first.shape[1], correct, seed_sd)
    return Comparison(left, right, difference, p, *means, len(first), first.shape[1], detectable)


def _where(candidate: Candidate, lock: Lock) -> str:
    """The arm, and the round where there was a choice."""
    several = candidate.arm.chooses_rounds and len([epoch for epoch in candidate.arm.epochs() if epoch > 0]) > 1
    name = arm_label(candidate.arm, lock)
    return f"{name}, round {candidate.epoch}" if several else name
