"""Intervals from counts alone, for one model's line of results: so many of so many problems were right.

`plm.studies.statistics` pairs verdicts by problem and seed and is sharper; a line of results holds no verdicts.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from plm.errors import PlmError
from plm.studies.statistics import LEVEL, Interval


def share_interval(right: int, total: int, level: float = LEVEL) -> Interval:
    """Wilson's score interval of a share (Wilson 1927), which keeps a width where none or all are right.

    Args:
        right: How many were right.
        total: Of how many.
        level: Of confidence.

    Raises:
        PlmError: If there are none, or more right than there are.
    """
    if not 0 <= right <= total or total == 0:
        raise PlmError(f"{right} right of {total} problems: there must be some, and at most all of them right")
    low, high = stats.binomtest(right, total).proportion_ci(level, method="wilson")
    return Interval(right / total, float(low), float(high), "problems")


def gap_interval(left: Interval, right: Interval) -> Interval:
    """By how much one share is above another: Newcombe's hybrid score interval (Newcombe 1998, method 10).

    It takes the shares as independent. On the same problems they mostly move together, so that it is too wide then.

    Args:
        left: A share with its score interval.
        right: The share that is taken off.
    """
    gap = left.value - right.value
    below = math.hypot(left.value - left.low, right.high - right.value)
    above = math.hypot(left.high - left.value, right.value - right.low)
    return Interval(gap, gap - below, gap + above, "problems")


def paired_gap_interval(left: NDArray[np.float64], right: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """By how much one share is above another on the same problems: Newcombe's paired score interval (1998b, method 10).

    Unlike a bootstrap it keeps a width where few problems differ.

    Args:
        left: 1 where a problem was right, else 0, shape (N,).
        right: The same problems, shape (N,).
        level: Of confidence.
    """
    total = len(left)
    one, other = (share_interval(int(scores.sum()), total, level) for scores in (left, right))
    gap = one.value - other.value
    below_one, above_one = one.value - one.low, one.high - one.value
    below_other, above_other = other.value - other.low, other.high - other.value
    phi = _phi(left, right)
    below = math.sqrt(max(0.0, below_one**2 - 2 * phi * below_one * above_other + above_other**2))
    above = math.sqrt(max(0.0, above_one**2 - 2 * phi * above_one * below_other + below_other**2))
    return Interval(gap, gap - below, gap + above, "problems")


def _phi(left: NDArray[np.float64], right: NDArray[np.float64]) -> float:
    """Correlation of two columns of verdicts, brought towards 0 where it is above, as method 10 has it."""
    both, one = float(left @ right), float(left @ (1 - right))
    other, none = float((1 - left) @ right), float((1 - left) @ (1 - right))
    scale = math.sqrt((both + one) * (other + none) * (both + other) * (one + none))
    excess = both * none - one * other
    if scale == 0:
        return 0.0
    return (max(excess - len(left) / 2, 0.0) if excess > 0 else excess) / scale
