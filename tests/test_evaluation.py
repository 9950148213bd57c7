"""What is reported about a set of grades."""

import math

import pytest

from plm.evaluation import summarize
from plm.records import Grade


def test_partial_credit_counts_in_the_score_and_not_in_correct():
    grades = [
        Grade(True, 1.0, "1234", "correct", 0.0),
        Grade(False, 0.75, "1235", "wrong", 0.0),
        Grade(False, 0.0, "", "parse", 0.0),
        Grade(False, 0.25, "9994", "wrong", 0.0),
    ]
    metrics = summarize(grades)
    assert (metrics["n"], metrics["correct"], metrics["score"], metrics["parse_failures"]) == (4, 0.25, 0.5, 1)
    assert metrics["stderr"] == pytest.approx(math.sqrt(0.25 * 0.75 / 3))


def test_no_grades_have_no_score():
    metrics = summarize([])
    assert metrics["n"] == 0 and math.isnan(metrics["score"]) and math.isnan(metrics["correct"])
