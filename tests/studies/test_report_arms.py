"""Numbers of a report, by hand: means over seeds, intervals, the two choices of rounds, and what was recovered."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from plm.studies.report.collect import collect
from plm.studies.report.domains import over_domains
from plm.studies.report.estimates import average, choose, estimate, halves_of, recovered, rise
from plm.studies.report.tables import elicitation_table
from plm.studies.report.view import View
from plm.studies.statistics import correctness_interval, difference_interval, domains_interval, recovered_interval
from tests.studies.report_runs import WEAK, N, Planted, name_domains, verdicts


@pytest.fixture
def planted(tmp_path):
    return Planted(tmp_path / "runs")


def arms(planted, role="elicit"):
    return [arm for arm in View(collect([planted.root])).arms if arm.role == role]


def test_runs_that_differ_in_seeds_alone_are_an_arm(planted):
    for seed in (0, 1, 2):
        lock = planted.lock(seed=seed)
        planted.elicit(lock, {0: 0.1, 1: 0.5}, k=16)
        planted.elicit(lock, {0: 0.1, 1: 0.5}, k=64)
    found = arms(planted)
    assert [(arm.facts.k, [run.seed for run in arm.runs]) for arm in found] == [(16, [0, 1, 2]), (64, [0, 1, 2])]
    assert [arm.lock_ids[0].split("/")[0] for arm in found] == ["lock_code"] * 2
    assert found[0].lock is found[1].lock is not None


def test_mean_and_error_over_seeds(planted):
    for seed, share in ((0, 0.5), (1, 0.6), (2, 0.7)):
        planted.elicit(planted.lock(seed=seed), {1: share})
    (arm,) = arms(planted)
    found = estimate(arm)
    assert found.value == pytest.approx(0.6)
    assert found.error == pytest.approx(0.1 / math.sqrt(3))  # s.d. 0.1 over three seeds
    interval = correctness_interval(np.array([verdicts(s, i) for i, s in enumerate((0.5, 0.6, 0.7))], dtype=float))
    assert (found.low, found.high) == pytest.approx((interval.low, min(1, interval.high)))
    assert (found.seeds, found.n, found.over) == (3, N, "problems and seeds")


def test_one_seed_has_wilsons_interval_also_where_nothing_is_right(planted):
    planted.elicit(planted.lock(), {1: 0.0})
    (arm,) = arms(planted)
    found = estimate(arm)
    assert (found.value, found.error, found.over) == (0.0, 0.0, "problems")
    assert found.low == pytest.approx(0, abs=1e-9)
    assert found.high == pytest.approx(1.96**2 / (N + 1.96**2), abs=1e-3)


def test_missing_completions_leave_the_means_and_a_wider_interval(planted):
    for seed in (0, 1, 2):
        run = planted.elicit(planted.lock(seed=seed), {1: 0.5})
        for file in (run.path / "completions").iterdir():
            file.unlink()
    (arm,) = arms(planted)
    found = estimate(arm)
    assert found.value == pytest.approx(0.5)
    within = math.sqrt(0.25 / (N - 1))  # the seeds agree, so that only problems are uncertain
    t = stats.t.ppf(0.975, N - 1)
    assert found.high - found.value == pytest.approx(t * within)
    assert recovered(arm) == (None, "completions are missing")


def test_the_papers_choice_of_rounds_and_an_honest_one(planted):
    lock = planted.lock()
    sft = planted.elicit(lock, {0: 0.1})
    (probe,) = arms(planted)
    select, report = halves_of(probe, "none", 0)
    assert len(select | report) == N and not select & report and min(len(select), len(report)) > 10
    # Round 1 is best on the selecting half alone, round 2 on all: it is right on every problem of the other half.
    names = [f"p{place:03d}" for place in range(N)]
    first = [name in select for name in names]
    second = [name in report or name in sorted(select)[:2] for name in names]
    assert sum(second) > sum(first)
    planted.measure(sft, first, epoch=1)
    planted.measure(sft, second, epoch=2)
    (arm,) = arms(planted)
    choice = choose(arm)
    assert (choice.epoch, choice.honest_epoch) == (2, 1)
    assert choice.best.value == pytest.approx(sum(second) / N)
    assert (choice.honest.value, choice.honest.n) == (0.0, len(report))


def test_methods_with_graded_answers_report_their_last_round(planted):
    planted.elicit(planted.lock(), {0: 0.1, 4: 0.7, 8: 0.5}, k=None, method="grpo", module="GRPOModule", graded=320)
    (arm,) = arms(planted)
    choice = choose(arm)
    assert (choice.epoch, choice.best.value, choice.honest.value) == (8, 0.5, 0.5)


def test_recovered_is_of_each_runs_own_lock(planted):
    for seed, best in ((0, 0.5), (1, 0.3)):
        lock = planted.lock(seed=seed, none=0.1 + 0.1 * seed, right=0.9)
        planted.elicit(lock, {1: best})
    (arm,) = arms(planted)
    interval, why = recovered(arm)
    shares = ((0.5, 0.3), (0.1, 0.2), (0.9, 0.9))
    stack = [np.array([verdicts(share, seed) for seed, share in enumerate(pair)], dtype=float) for pair in shares]
    assert interval.value == pytest.approx((0.4 + 0.1) / (0.8 + 0.7))
    assert interval == recovered_interval(*stack)
    assert why == ""


def test_recovered_is_undefined_where_the_gap_is_not_resolved_or_there_is_no_ceiling(planted):
    planted.elicit(planted.lock(right=0.15, none=0.1), {1: 0.5})
    (arm,) = arms(planted)
    assert recovered(arm) == (None, "undefined: the gap is not resolved from 0")
    (row,) = elicitation_table(View(collect([planted.root])), View(collect([planted.root])).locks[0]).records
    assert row["recovered"] is None and row["recovered_why_not"].startswith("undefined")
    assert row["stamp"] == "unverified"  # and its lock fails the gate
    (alone,) = View(collect([arm.runs[0].folder.path])).arms
    assert recovered(alone) == (None, "the lock is not among the runs")


def test_an_average_over_domains_has_the_papers_combined_error(planted):
    planted.elicit(planted.lock(), {1: 0.5}, domains={"arrays": 0.5, "strings": 0.7}, only="arrays")
    (arm,) = arms(planted)
    parts = [estimate(arm, domain=name) for name in ("arrays", "strings")]
    found = average(parts)
    assert found.value == pytest.approx(0.6)
    assert found.error == pytest.approx(math.hypot(parts[0].error, parts[1].error) / 2)  # App. B.1.4
    assert found.high - found.value == pytest.approx(1.96 * found.error) and found.over == "problems"


def test_a_seed_moves_all_domains_together(planted):
    """Each domain's error over seeds is 0.025; of independent ones, the average's would be 0.025 / √2."""
    for seed, share in ((0, 0.475), (1, 0.525)):
        planted.elicit(planted.lock(seed=seed), {1: share}, domains={"arrays": share, "strings": share}, only="arrays")
    (arm,) = arms(planted)
    found = over_domains(arm, ["arrays", "strings"])
    assert (found.value, found.over, found.seeds) == (pytest.approx(0.5), "problems and seeds", 2)
    assert found.error == pytest.approx(0.025 / math.sqrt(2))  # the paper's
    between, within = 0.025**2, 2 * 0.25 / (N - 1) / 4
    satterthwaite = (between + within) ** 2 / (between**2 + within**2 / (2 * N - 1))
    half = stats.t.ppf(0.975, satterthwaite) * math.sqrt(between + within)
    assert (found.low, found.high) == pytest.approx((0.5 - half, 0.5 + half))


def test_an_average_over_domains_is_of_problems_where_their_domains_are_known(planted):
    """The fallback knows the seeds' averages alone; with verdicts by domain problems vary within domains only."""
    for seed, share in ((0, 0.4), (1, 0.6)):
        planted.elicit(planted.lock(seed=seed), {1: share}, domains={"arrays": share, "strings": share}, only="arrays")
    (arm,) = arms(planted)
    before = over_domains(arm, ["arrays", "strings"])
    name_domains(planted, {f"p{place:03d}": ("arrays", "strings")[place % 2] for place in range(N)})
    (arm,) = arms(planted)
    found = over_domains(arm, ["arrays", "strings"])
    stacks = [
        np.array([verdicts(share, seed)[start::2] for seed, share in ((0, 0.4), (1, 0.6))], float) for start in (0, 1)
    ]
    assert (found.low, found.high) == domains_interval(stacks)[1:3] != (before.low, before.high)
    assert (found.seeds, found.n, found.over) == (2, N, "problems and seeds")


def test_the_control_stands_beside_the_same_elicitation_alone(planted):
    lock = planted.lock()
    control = planted.lock("control_code", phase="control", kind="none", right=0.1, strong=WEAK)
    planted.elicit(lock, {0: 0.1, 1: 0.5}, k=16)
    planted.elicit(lock, {0: 0.1, 1: 0.5}, k=64)
    planted.elicit(control, {0: 0.1, 1: 0.25}, k=16, phase="control")
    view = View(collect([planted.root]))
    few, many = (arm for arm in view.arms if arm.role == "elicit")
    assert view.control_of(few) is view.controls[0] and view.control_of(many) is None
    rows = elicitation_table(view, view.locks[0]).records
    assert {row["method"]: row["control_rise"] for row in rows} == {
        "SFT, k = 16": pytest.approx(0.15),
        "SFT, k = 64": None,
    }
    beside = next(row for row in rows if row["method"] == "SFT, k = 16")
    scores = [np.array([verdicts(share)], dtype=float) for share in (0.25, 0.1)]
    expected = difference_interval(*scores)[0]
    assert (beside["control_rise_low"], beside["control_rise_high"]) == pytest.approx(expected[1:3])
    assert [each.name for each in view.locks] == ["lock_code"]


def test_elicitation_on_other_problems_is_compared_on_the_common_ones(planted):
    lock = planted.lock(right=0.9, none=0.1)
    sft = planted.elicit(lock, {0: 0.1})
    few = [index < 10 for index in range(20)]  # 20 of the lock's 40 problems
    planted.measure(sft, few, epoch=1)
    (arm,) = arms(planted)
    locked, ceiling = (verdicts(share)[:20] for share in (0.1, 0.9))
    interval, _ = recovered(arm, 1)
    assert interval.value == pytest.approx((sum(few) - sum(locked)) / (sum(ceiling) - sum(locked)))
    assert rise(arm, 1)[0].value == pytest.approx((sum(few) - sum(locked)) / 20)
