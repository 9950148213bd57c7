"""Statistics: by hand, at their limits, and by simulating how often an interval covers the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from plm.errors import PlmError
from plm.studies.statistics import (
    combined_error,
    correctness_interval,
    detectable_gap,
    difference_interval,
    domains_interval,
    mean_and_error,
    recovered_interval,
    seed_spread,
    select_and_report,
)


def draw(rng, correct, seed_sd, spread, seeds=3, problems=200):
    """Problems of different difficulty (beta, mean `correct`; 0 for equal ones), seeds that shift all of them."""
    shape = (correct * spread, (1 - correct) * spread)
    difficulty = rng.beta(*shape, size=problems) if spread else np.full(problems, correct)
    chances = np.clip(difficulty[None, :] + rng.normal(0, seed_sd, size=(seeds, 1)), 0, 1)
    return (rng.random((seeds, problems)) < chances).astype(float)


@pytest.mark.parametrize("seed_sd", [0.0, 0.02, 0.05])
def test_95_percent_intervals_cover_93_to_97_percent(seed_sd):
    """3 seeds × 200 problems, averaged over kinds of tasks, and each of them nearly so.

    Correctness near 0 and 1 is simulated without differences between seeds: these would be cut off at 0 and 1.
    """
    rng, shares = np.random.default_rng(1), []
    extreme = [] if seed_sd else [(0.01, 1.0), (0.03, 1.0), (0.97, 1.0)]
    for correct, spread in [(0.2, 1.0), (0.5, 0.3), (0.5, 1.0), (0.5, 5.0), (0.8, 1.0), *extreme]:
        hits = [
            interval.low <= correct <= interval.high
            for interval in (correctness_interval(draw(rng, correct, seed_sd, spread)) for _ in range(1200))
        ]
        shares.append(float(np.mean(hits)))
    assert 0.93 <= np.mean(shares) <= 0.97
    assert 0.925 <= min(shares) and max(shares) <= 0.985


@pytest.mark.parametrize("seed_sd", [0.0, 0.02, 0.05])
def test_intervals_of_differences_cover_the_truth(seed_sd):
    rng, hits = np.random.default_rng(6), []
    for left, right in ((0.5, 0.5), (0.6, 0.4), (0.3, 0.1)):
        for _ in range(500):
            interval, _ = difference_interval(draw(rng, left, seed_sd, 1.0), draw(rng, right, seed_sd, 1.0))
            hits.append(interval.low <= left - right <= interval.high)
    assert 0.93 <= np.mean(hits) <= 0.98


@pytest.mark.parametrize("seed_sd", [0.0, 0.02, 0.05])
def test_intervals_of_what_was_recovered_cover_the_truth(seed_sd):
    rng, hits = np.random.default_rng(2), []
    for _ in range(800):
        ceiling, locked, elicited = (draw(rng, correct, seed_sd, 2.0) for correct in (0.9, 0.1, 0.5))
        interval = recovered_interval(elicited, locked, ceiling)
        assert interval.defined
        hits.append(interval.low <= 0.5 <= interval.high)
    assert 0.925 <= np.mean(hits) <= 0.98


def test_a_bootstrap_over_problems_covers_given_the_seeds():
    rng = np.random.default_rng(3)
    hits = []
    for _ in range(500):
        interval = correctness_interval(draw(rng, 0.4, 0.0, 0.0, seeds=1), "problems")
        hits.append(interval.low <= 0.4 <= interval.high)
    assert 0.92 <= np.mean(hits) <= 0.975


@pytest.mark.parametrize("correct", [0.01, 0.03, 0.97])
def test_few_right_or_wrong_answers_are_covered_given_the_seeds(correct):
    rng, hits = np.random.default_rng(7), []
    for _ in range(1000):
        interval = correctness_interval(draw(rng, correct, 0.0, 1.0), "problems")
        hits.append(interval.low <= correct <= interval.high)
    assert 0.925 <= np.mean(hits) <= 0.985


def test_by_hand():
    """Means 0.5 and 1.0 of two seeds: standard error |0.5| / 2 = 0.25; two domains with 3 and 4 give 5 / 2."""
    assert mean_and_error([0.5, 1.0]) == (0.75, pytest.approx(0.25))
    assert math.isnan(mean_and_error([0.5])[1])
    assert combined_error([3.0, 4.0]) == pytest.approx(2.5)


def test_the_variance_by_hand():
    """Scores [[1, 0], [1, 1]]: all three mean squares are 1/4, the variance 1/16, the freedom 1/2, so 1."""
    scores = np.array([[1.0, 0.0], [1.0, 1.0]])
    t = 12.7062  # 97.5 % of t with 1 degree of freedom
    difference, _ = difference_interval(scores, np.zeros((2, 2)))
    assert difference.value == 0.75 and difference.high - 0.75 == pytest.approx(t / 4, rel=1e-4)
    # 3 independent answers have that variance, 0.75 · 0.25 / 3; the ends solve (p − 0.75)² = t² p (1 − p) / 3
    interval = correctness_interval(scores)
    for end in interval[1:3]:
        assert (end - 0.75) ** 2 == pytest.approx(t**2 * end * (1 - end) / 3, rel=1e-4)


@pytest.mark.parametrize("seed_sd", [0.0, 0.02, 0.05])
def test_intervals_of_means_over_domains_cover_the_truth(seed_sd):
    """Domains of unequal size and difficulty, each of which counts the same; a seed moves all of them."""
    rng, hits = np.random.default_rng(9), []
    for _ in range(1500):
        moved = rng.normal(0, seed_sd, size=(3, 1))
        parts = []
        for correct, problems in ((0.3, 30), (0.5, 60), (0.7, 110)):
            chances = np.clip(rng.beta(correct, 1 - correct, size=problems)[None, :] + moved, 0, 1)
            parts.append((rng.random((3, problems)) < chances).astype(float))
        interval = domains_interval(parts)
        hits.append(interval.low <= 0.5 <= interval.high)
    assert 0.93 <= np.mean(hits) <= 0.97


def test_means_over_domains_by_hand():
    """Two domains of the same scores: the seeds' part stays, the problems' halves, the value is that of one."""
    scores = np.array([[1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0]] * 2 + [[0.0] * 8])
    one, both = domains_interval([scores]), domains_interval([scores, scores])
    assert one == correctness_interval(scores) and one.value == both.value == pytest.approx(1 / 3)
    # var(1/2, 1/2, 0) / 3 = 1/36 of seeds; var(2/3, 0, ...) / 8 = (8/63) / 8 of problems; ((4/3) / 14) / 24 of the rest
    seeds, problems, rest = 1 / 36, 8 / 63 / 8, 4 / 3 / 14 / 24
    for interval, domains in ((one, 1), (both, 2)):
        total = seeds + (problems - rest) / domains
        freedom = total**2 / (seeds**2 / 2 + domains * (problems / domains**2) ** 2 / 7)
        freedom = 2 + (freedom - 2) / 4  # fewer than 10 problems' worth of right answers
        t = float(stats.t.ppf(0.975, freedom))
        for end in interval[1:3]:
            if 0 < end < 1:
                assert (end - 1 / 3) ** 2 == pytest.approx(t**2 * total * end * (1 - end) / (2 / 9), rel=1e-6)
    with pytest.raises(PlmError, match="two or more seeds"):
        domains_interval([scores, scores[:2]])


def test_everything_equal_keeps_a_width_and_one_seed_speaks_of_problems_alone():
    """All of 10 problems: the end of Wilson's interval is 10 / (10 + z²)."""
    low = 10 / (10 + 1.959964**2)
    assert correctness_interval(np.ones((3, 10))) == (1.0, pytest.approx(low), 1.0, "problems and seeds")
    assert correctness_interval(np.zeros((1, 10))) == (0.0, pytest.approx(0), pytest.approx(1 - low), "problems")
    same, p = difference_interval(np.ones((3, 10)), np.ones((3, 10)))
    assert same == (0.0, pytest.approx(low - 1), pytest.approx(1 - low), "problems and seeds") and p == 1.0
    for seeds, over in ((3, "problems and seeds"), (1, "problems")):
        nothing = recovered_interval(np.zeros((seeds, 10)), np.zeros((seeds, 10)), np.ones((seeds, 10)))
        assert nothing == (0.0, pytest.approx(low - 1), pytest.approx(1 - low), over)
    assert correctness_interval(np.array([[1.0, 0.0, 1.0, 1.0]])).over == "problems"


def test_recovered_by_hand_and_undefined_without_a_gap():
    locked, ceiling = np.zeros((2, 100)), np.ones((2, 100))
    elicited = np.tile([1.0, 0.0], (2, 50))
    for over in ("problems", "problems and seeds"):
        interval = recovered_interval(elicited, locked, ceiling, over)
        assert interval.value == pytest.approx(0.5) and interval.low < 0.5 < interval.high
        assert not recovered_interval(elicited, elicited, elicited, over).defined
    assert recovered_interval(ceiling, locked, ceiling).value == 1.0
    rng = np.random.default_rng(0)
    noise = [(rng.random((3, 50)) < 0.5).astype(float) for _ in range(3)]
    assert not recovered_interval(*noise).defined


def test_paired_differences_are_sharper_than_unpaired_ones_and_mcnemar_is_exact():
    rng = np.random.default_rng(0)
    right = draw(rng, 0.5, 0.0, 0.3)
    left = np.maximum(right, rng.random(right.shape) < 0.1)
    interval, p = difference_interval(left, right)
    assert interval.low > 0 and p < 0.01
    apart = correctness_interval(left).high - correctness_interval(left).low
    assert interval.high - interval.low < apart
    one = np.zeros((1, 20))
    two = one.copy()
    two[0, :5] = 1
    assert difference_interval(two, one)[1] == pytest.approx(2 * 0.5**5)
    assert difference_interval(one, one)[1] == 1.0
    again = [np.repeat(each, 3, axis=0) for each in (two, one)]  # the same answers in three seeds are no more evidence
    assert difference_interval(*again, "problems")[1] == pytest.approx(2 * 0.5**5)


def test_p_values_are_uniform_without_a_difference():
    rng = np.random.default_rng(4)
    found = [difference_interval(draw(rng, 0.5, 0.03, 1.0), draw(rng, 0.5, 0.03, 1.0))[1] for _ in range(500)]
    assert np.mean(np.array(found) < 0.05) <= 0.08


def test_the_smallest_gap_is_found_about_as_often_as_promised():
    rng, gap = np.random.default_rng(5), detectable_gap(3, 200, 0.5, 0.02)
    found = [
        difference_interval(draw(rng, 0.5 + gap / 2, 0.02, 0.0), draw(rng, 0.5 - gap / 2, 0.02, 0.0))[1] < 0.05
        for _ in range(300)
    ]
    assert 0.6 <= np.mean(found) <= 0.95
    assert detectable_gap(3, 800, 0.5, 0.02) < gap < detectable_gap(3, 200, 0.5, 0.05)


def test_the_smallest_gap_to_what_was_measured_once_is_found_about_as_often_as_promised():
    rng, gap = np.random.default_rng(8), detectable_gap(3, 200, 0.5, 0.02, measured_once=True)
    found = []
    for _ in range(400):
        once = np.repeat(draw(rng, 0.5 - gap / 2, 0.0, 0.0, seeds=1), 3, axis=0)
        found.append(difference_interval(draw(rng, 0.5 + gap / 2, 0.02, 0.0), once)[1] < 0.05)
    assert 0.72 <= np.mean(found) <= 0.88
    assert gap > detectable_gap(3, 200, 0.5, 0.0, measured_once=True)


def test_the_spread_of_seeds_is_what_the_problems_do_not_explain():
    """Shares 0.2 and 0.8 of 10 problems: variance 0.18 less 0.16 / 10."""
    apart = np.array([[1.0] * 2 + [0.0] * 8, [1.0] * 8 + [0.0] * 2])
    assert seed_spread(apart) == pytest.approx(math.sqrt(0.18 - 0.016))
    assert seed_spread(apart[:1]) == seed_spread(np.stack([apart[0], apart[0]])) == 0.0


def test_halves_are_disjoint_whole_and_depend_on_the_id_alone():
    names = [f"problem-{index}" for index in range(400)]
    select, report = select_and_report(names)
    assert sorted([*select, *report]) == list(range(400)) and 150 < len(select) < 250
    again, _ = select_and_report(names[::-1])
    assert {names[place] for place in select} == {names[::-1][place] for place in again}


@pytest.mark.parametrize("scores", [np.ones(3), np.ones((2, 1)), np.array([[1.0, math.nan]])])
def test_what_is_no_table_of_scores_is_one_line(scores):
    with pytest.raises(PlmError):
        correctness_interval(scores)
    with pytest.raises(PlmError, match="same problems"):
        difference_interval(np.ones((2, 3)), np.ones((2, 4)))
