"""Methods against methods: who represents a method, what is compared, and what is not."""

from __future__ import annotations

import numpy as np
import pytest

from plm.cli import run
from plm.studies.counts import paired_gap_interval
from plm.studies.report.collect import collect
from plm.studies.report.comparisons import comparison_table, representatives
from plm.studies.report.view import View
from plm.studies.statistics import difference_interval, holm, select_and_report
from tests.studies.report_runs import WEAK, N, Planted, verdicts

SELECT, REPORT = select_and_report([f"p{place:03d}" for place in range(N)])
GRPO = {"k": None, "method": "grpo", "module": "GRPOModule", "graded": 320}


@pytest.fixture
def planted(tmp_path):
    return Planted(tmp_path / "runs")


def only_lock(planted):
    (lock,) = View(collect([planted.root])).locks
    return lock


def scores(share, seeds):
    return np.array([verdicts(share, seed) for seed in seeds], dtype=float)[:, REPORT]


def test_methods_are_paired_by_problem_and_seed_on_the_half_that_did_not_choose(planted):
    seeds = (0, 1, 2)
    for seed in seeds:
        lock = planted.lock(seed=seed)
        planted.elicit(lock, {0: 0.1, 1: 0.3, 2: 0.6}, k=16)
        planted.elicit(lock, {0: 0.1, 1: 0.2, 2: 0.1}, k=1)
        planted.elicit(lock, {0: 0.1, 4: 0.9, 8: 0.4}, "elicit_grpo_code", **GRPO)
        planted.elicit(lock, {0: 0.1, 1: 0.1}, "elicit_weak_unlock_code", k=2, teacher=WEAK)
    lock = only_lock(planted)
    found = {each.method: (each.arm.facts.k, each.epoch) for each in representatives(lock)}
    assert found == {"SFT": (16, 2), "GRPO": (None, 8), "SFT, weak": (2, 1)}  # GRPO's last round, chosen beforehand
    table = comparison_table(lock)
    assert [(row["method"], row["than"]) for row in table.records] == [
        ("SFT", "GRPO"), ("SFT", "SFT, weak"), ("GRPO", "SFT, weak"),
    ]  # fmt: skip
    shares = ((0.6, 0.4), (0.6, 0.1), (0.4, 0.1))
    expected = [difference_interval(scores(one, seeds), scores(other, seeds)) for one, other in shares]
    for row, (interval, p) in zip(table.records, expected, strict=True):
        assert (row["difference"], row["difference_low"], row["difference_high"]) == pytest.approx(interval[:3])
        assert (row["p"], row["seeds"], row["n"]) == (pytest.approx(p), 3, len(REPORT))
        assert row["difference"] == pytest.approx(row["correct"] - row["than_correct"])
        assert 0 < row["detectable"] < 1
    assert [row["p_holm"] for row in table.records] == pytest.approx(holm([p for _, p in expected]))
    assert table.records[0]["arm"] == "SFT, k = 16, round 2" and table.records[0]["than_arm"] == "GRPO"


def test_one_seed_is_compared_over_problems(planted):
    lock = planted.lock()
    planted.elicit(lock, {1: 0.8})
    planted.elicit(lock, {4: 0.3}, "elicit_grpo_code", **GRPO)
    (row,) = comparison_table(only_lock(planted)).records
    interval = paired_gap_interval(scores(0.8, [0])[0], scores(0.3, [0])[0])
    assert (row["difference"], row["difference_low"], row["difference_high"]) == pytest.approx(interval[:3])
    differ = int((scores(0.8, [0]) != scores(0.3, [0])).sum())
    assert row["p"] == pytest.approx(min(1.0, 2 * 0.5**differ)) and row["interval_over"] == "problems"


def test_seeds_that_only_one_method_has_do_not_count(planted):
    for seed in (0, 1):
        lock = planted.lock(seed=seed)
        planted.elicit(lock, {1: 0.8})
    planted.elicit(lock, {4: 0.3}, "elicit_grpo_code", **GRPO)
    (row,) = comparison_table(only_lock(planted)).records
    assert row["seeds"] == 1 and row["correct"] == pytest.approx(scores(0.8, [1]).mean())


def test_without_completions_or_a_second_method_there_is_nothing_to_compare(planted):
    lock = planted.lock()
    planted.elicit(lock, {1: 0.6})
    assert comparison_table(only_lock(planted)).records == []
    other = planted.elicit(lock, {4: 0.5}, "elicit_grpo_code", **GRPO)
    for file in (other.path / "completions").iterdir():
        file.unlink()
    assert [each.method for each in representatives(only_lock(planted))] == ["SFT"]


def test_the_page_and_the_tables_have_it(planted, tmp_path):
    lock = planted.lock(right=0.1)  # fails its gate
    planted.elicit(lock, {1: 0.6})
    planted.elicit(lock, {4: 0.5}, "elicit_grpo_code", **GRPO)
    assert run(["report", str(planted.root), "--output", str(tmp_path / "report")]) == 0
    assert "which method is better, in paired tests" in (tmp_path / "report" / "index.html").read_text()
    file = tmp_path / "report" / "tables" / "comparison_lock_code.csv"
    assert "unverified" in file.read_text() and "p_holm" in file.read_text()
