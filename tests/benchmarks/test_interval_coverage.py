"""benchmarks/interval_coverage.py: the truth that it simulates against; that every kind of interval is simulated."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from interval_coverage import CASES, Kind, answers, covered, difficulties, expected, power, shown  # noqa: E402


@pytest.mark.parametrize(("correct", "spread"), [(0.01, 1), (0.2, 1), (0.5, 0.3), (0.9, 2)])
def test_the_truth_is_the_mean_of_what_is_drawn(correct, spread):
    """Exactly where seeds do not differ; with what is cut off at 0 and 1 where they do."""
    kind, rng = Kind(correct, spread), np.random.default_rng(0)
    assert expected(kind, 0.0) == pytest.approx(correct, abs=1e-3)
    drawn = answers(rng, difficulties(rng, kind, 2000), rng.normal(0, 0.05, 500))
    assert drawn.mean() == pytest.approx(expected(kind, 0.05), abs=0.03)


@pytest.mark.parametrize("case", CASES, ids=" ".join)
def test_every_kind_of_interval_holds_the_truth_mostly(case):
    assert covered(case, 0.02, 10) >= 0.6


def test_what_covers_too_little_or_too_much_is_bold():
    assert [shown(share, 2000) for share in (0.95, 0.975)] == ["95.0 ± 0.5 %", "**97.5 ± 0.3 %**"]
    gap, found = power(3, 0.02, 20)
    assert 0.1 < gap < 0.3 and 0.4 <= found <= 1
