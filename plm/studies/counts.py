"""Intervals from counts alone, for one model's line of results: so many of so many problems were right.

`plm.studies.statistics` pairs verdicts by problem and seed and is sharper; a line of results holds no verdicts.
"""

from __future__ import annotations

import math

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
