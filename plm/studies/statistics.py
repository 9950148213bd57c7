"""Means, intervals and tests over problems and seeds.

Shape letters: S seeds, N problems, K domains, B bootstrap draws. Scores are in [0, 1]; row s is a run of its own, and
column n is the same problem in every run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from plm.errors import PlmError
from plm.seeds import derive_seed

Scores = NDArray[np.float64]
Over = Literal["problems", "problems and seeds"]
LEVEL = 0.95
DRAWS = 2000
QUANTILES = 200
FEW = 10  # problems' worth of answers; near 0 and 1 usual intervals are too narrow


class Interval(NamedTuple):
    """An estimate and where it may lie.

    Attributes:
        value: The estimate; nan where it is undefined.
        low: Lower end; nan where there is none.
        high: Upper end; nan where there is none.
        over: What is generalised over: other problems, given these seeds, or other seeds too.
    """

    value: float
    low: float
    high: float
    over: Over

    @property
    def defined(self) -> bool:
        """Whether there is an estimate."""
        return not math.isnan(self.value)


UNDEFINED = (math.nan, math.nan, math.nan)


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard error of the mean over seeds, as all plots of the paper show it (§4.2); nan for one seed."""
    error = float(np.std(values, ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
    return float(np.mean(values)), error


def combined_error(errors: Sequence[float]) -> float:
    """Standard error of an average over K domains: sqrt(sum_k s_k^2) / K (App. B.1.4 of Greenblatt et al. 2024)."""
    return math.sqrt(sum(error**2 for error in errors)) / len(errors)


def correctness_interval(scores: Scores, over: Over = "problems and seeds", level: float = LEVEL) -> Interval:
    """An interval for mean correctness.

    Over problems alone it is the percentile bootstrap over problems, given the seeds, where at least 10 problems' worth
    of answers are right and 10 wrong. Nearer to 0 or 1, where it covers down to 84 %, it is Wilson's for as many
    independent answers as have the variance between problems, which is itself uncertain there: that of answers that
    all seeds share is mixed in, with the weight 1 / (2 + 2 problems' worth) (our choice).

    Over both, problems and seeds are crossed random effects: the variance of the grand mean comes from their mean
    squares, the degrees of freedom from Satterthwaite's approximation; with fewer than 10 problems' worth of right or
    of wrong answers these come three quarters of the way down to S − 1 (our choice). The interval is Wilson's for as
    many independent answers as have that variance, with the quantile of t: near 0 and 1, where locked models are, a
    symmetric one covers too little. `plm bench coverage` simulates what is covered. A percentile bootstrap over 3
    seeds would cover about 72 %.

    Args:
        scores: Shape (S, N).
        over: What to generalise over; with one seed only problems are possible.
        level: Of confidence.
    """
    scores = _checked(scores)
    if over == "problems" or len(scores) == 1:
        return Interval(float(scores.mean()), *_given_seeds(scores, level), "problems")
    return domains_interval([scores], level)


def domains_interval(domains: Sequence[Scores], level: float = LEVEL) -> Interval:
    """`correctness_interval` over problems and seeds for the mean of K domains, each of which counts the same.

    Problems are drawn domain by domain (stratified); what a seed moves may differ between domains.

    Args:
        domains: Each of shape (S, N_k), with at least two seeds, the same in all domains.
        level: Of confidence.
    """
    domains = [_checked(each) for each in domains]
    seeds = len(domains[0])
    if seeds < 2 or any(len(each) != seeds for each in domains):
        raise PlmError(f"domains need the same two or more seeds, not {[len(each) for each in domains]}")
    value, problems = float(np.mean([each.mean() for each in domains])), sum(each.shape[1] for each in domains)
    over: Over = "problems and seeds"
    variance, freedom = _variance(*domains)
    if variance == 0:
        return Interval(value, *_wilson(value, problems, _normal(level)), over)
    if problems * min(value, 1 - value) < FEW:
        freedom = max(1.0, seeds - 1 + (freedom - seeds + 1) / 4)
    quantile = float(stats.t.ppf(0.5 + level / 2, freedom))
    return Interval(value, *_wilson(value, value * (1 - value) / variance, quantile), over)


def between_and_within(between: float, seeds: int, within: float, problems: int, level: float = LEVEL) -> float:
    """Half of an interval over problems and seeds where only means of seeds are known.

    Args:
        between: Squared standard error of the mean over seeds.
        seeds: How many.
        within: Squared standard error over problems, which the seeds share.
        problems: How many.
        level: Of confidence.
    """
    total = between + within
    if total == 0:
        return 0.0
    freedom = total**2 / (between**2 / (seeds - 1) + within**2 / max(problems - 1, 1))
    return float(stats.t.ppf(0.5 + level / 2, max(1.0, freedom))) * math.sqrt(total)


def difference_interval(
    left: Scores, right: Scores, over: Over = "problems and seeds", level: float = LEVEL
) -> tuple[Interval, float]:
    """How much more often `left` is right than `right`, paired by problem and seed.

    Args:
        left: Shape (S, N).
        right: The same problems and seeds, shape (S, N).
        over: What to generalise over.
        level: Of confidence.

    Returns:
        The interval of the mean difference, and the two-sided p-value of no difference: from the t distribution over
        problems and seeds; by McNemar's exact test over problems, where each of them counts once, whatever the seeds.
    """
    left, right = _checked(left), _checked(right)
    if left.shape != right.shape:
        raise PlmError(f"a paired test needs the same problems and seeds, not {left.shape} and {right.shape}")
    gaps = left - right
    value = float(gaps.mean())
    if over == "problems" or len(gaps) == 1:
        ends = _bootstrap([gaps], lambda means: means[0].mean(0), level)
        return Interval(value, *_with_width(ends, gaps, 1.0, level), "problems"), _mcnemar(gaps)
    variance, freedom = _variance(gaps)
    half = _half_width(gaps, level)
    p = float(2 * stats.t.sf(abs(value) / math.sqrt(variance), freedom)) if variance else float(value == 0)
    return Interval(value, value - half, value + half, over), p


def recovered_interval(
    elicited: Scores, locked: Scores, ceiling: Scores, over: Over = "problems and seeds", level: float = LEVEL
) -> Interval:
    """What share of the gap a method brought back: (elicited − locked) / (ceiling − locked).

    Undefined (nan) where the gap itself is not resolved: where the interval of ceiling − locked reaches 0. Over
    problems the bootstrap draws problems, the same for all three. Over both it is the delta method: the interval of the
    mean of (e − l − r (c − l)) / gap, which is 0 at the estimate r.

    Args:
        elicited: Without the password, after elicitation, shape (S, N).
        locked: Without the password, before, the same problems and seeds.
        ceiling: With the password, before, the same problems and seeds.
        over: What to generalise over.
        level: Of confidence.
    """
    arrays = [_checked(each) for each in (elicited, locked, ceiling)]
    if len({each.shape for each in arrays}) != 1:
        raise PlmError(f"recovered needs the same problems and seeds, not {[each.shape for each in arrays]}")
    over = "problems" if len(arrays[0]) == 1 else over
    if difference_interval(arrays[2], arrays[1], over, level)[0].low <= 0:
        return Interval(*UNDEFINED, over)
    risen, gap = arrays[0] - arrays[1], arrays[2] - arrays[1]
    value = float(risen.mean() / gap.mean())
    if over == "problems":
        ends = _bootstrap([risen, gap], lambda means: means[0].mean(0) / means[1].mean(0), level)
        return Interval(value, *_with_width(ends, risen, float(gap.mean()), level), over)
    half = _half_width(risen - value * gap, level) / float(gap.mean())
    return Interval(value, value - half, value + half, over)


def detectable_gap(
    seeds: int, problems: int, correct: float, seed_sd: float, power: float = 0.8, measured_once: bool = False
) -> float:
    """The smallest true difference of two runs' correctness that a paired comparison would find.

    Args:
        seeds: Of each.
        problems: Measured in each run.
        correct: Correctness around which the difference lies, in [0, 1].
        seed_sd: Standard deviation of correctness between seeds, in [0, 1].
        power: Probability of finding it, at a two-sided level of 5 %.
        measured_once: Whether one of the two has no seeds, and its only run stands beside each seed of the other: what
            its answers happen to be does not average out.

    Returns:
        A share, for answers that are independent between the two (the worst case).
    """
    noise, moving = max(correct * (1 - correct), 1e-9), 1 if measured_once else 2
    if seeds == 1:
        needed = float(stats.t.ppf(0.5 + LEVEL / 2, problems - 1) + stats.t.ppf(power, problems - 1))
        return needed * math.sqrt(moving * seed_sd**2 + 2 * noise / problems)
    ms_rest = moving * noise
    ms_problems = ms_rest + (seeds * noise if measured_once else 0.0)
    ms_seeds = ms_rest + moving * problems * seed_sd**2
    error = math.sqrt((ms_seeds + ms_problems - ms_rest) / (seeds * problems))
    # what few seeds show of their own spread varies most: the chance of a finding is the mean over what they may show
    shown = ms_seeds * stats.chi2.ppf((np.arange(QUANTILES) + 0.5) / QUANTILES, seeds - 1) / (seeds - 1)
    total = np.maximum(shown + ms_problems - ms_rest, ms_problems)
    freedom = total**2 / (shown**2 / (seeds - 1) + ms_problems**2 / (problems - 1))  # as in _variance
    quantile = stats.t.ppf(0.5 + LEVEL / 2, np.maximum(1.0, freedom))
    least = quantile * np.sqrt(total / (seeds * problems))

    def missing(gap: float) -> float:
        found = stats.norm.sf((least - gap) / error) + stats.norm.cdf((-least - gap) / error)
        return float(np.mean(found)) - power

    return float(optimize.brentq(missing, 0.0, 2 * float(least.max()) + 10 * error))


def seed_spread(scores: Scores) -> float:
    """Standard deviation of correctness between seeds, beyond what the sample of problems makes; 0 for one seed.

    Args:
        scores: Shape (S, N).
    """
    if len(scores) == 1:
        return 0.0
    by_seed = scores.mean(1)
    sampled = float((by_seed * (1 - by_seed)).mean()) / scores.shape[1]
    return math.sqrt(max(0.0, float(by_seed.var(ddof=1)) - sampled))


def holm(values: Sequence[float]) -> list[float]:
    """p-values corrected for their number: the chance of any false finding stays below the level (Holm 1979)."""
    result, highest = [0.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=lambda i: values[i])):
        highest = max(highest, min(1.0, values[index] * (len(values) - rank)))
        result[index] = highest
    return result


def select_and_report(problem_ids: Sequence[str]) -> tuple[list[int], list[int]]:
    """Halves val: places of the problems to choose epochs on, and of those to report on.

    The paper chooses the number of epochs on the problems it reports (App. G.3); with halves both stand side by side. A
    problem's half depends on its id alone.
    """
    halves: tuple[list[int], list[int]] = ([], [])
    for place, name in enumerate(problem_ids):
        halves[derive_seed("half", name) % 2].append(place)
    return halves


def _checked(scores: Scores) -> Scores:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or scores.shape[0] < 1 or scores.shape[1] < 2:
        raise PlmError(f"scores have the shape {scores.shape}; there must be at least one seed and two problems")
    if not np.isfinite(scores).all():
        raise PlmError("scores are not all numbers: every problem needs a verdict in every run")
    return scores


def _given_seeds(scores: Scores, level: float) -> tuple[float, float]:
    value, problems = float(scores.mean()), scores.shape[1]
    few = problems * min(value, 1 - value)
    if few >= FEW:
        return _bootstrap([scores], lambda means: means[0].mean(0), level)
    independent, shared = float(scores.mean(0).var(ddof=1)) / problems, value * (1 - value) / problems
    variance = independent + (shared - independent) / (2 * few + 2)
    return _wilson(value, value * (1 - value) / variance if variance else problems, _normal(level))


def _half_width(values: Scores, level: float) -> float:
    """Half of the interval of a mean of differences; that of none of N, by Wilson, where they are all equal."""
    variance, freedom = _variance(values)
    if variance == 0:
        return _wilson(0.0, values.shape[1], _normal(level))[1]
    return float(stats.t.ppf(0.5 + level / 2, freedom)) * math.sqrt(variance)


def _with_width(ends: tuple[float, float], values: Scores, scale: float, level: float) -> tuple[float, float]:
    """Ends of a bootstrap, or, where every draw came out the same, those of `_half_width`."""
    if ends[1] - ends[0] > 1e-12:
        return ends
    half = _wilson(0.0, values.shape[1], _normal(level))[1] / scale
    return ends[0] - half, ends[1] + half


def _wilson(share: float, n: float, quantile: float) -> tuple[float, float]:
    """The score interval of a share of n independent answers (Wilson 1927)."""
    square = quantile**2
    middle = (share + square / (2 * n)) / (1 + square / n)
    half = quantile / (1 + square / n) * math.sqrt(share * (1 - share) / n + square / (4 * n**2))
    return max(0.0, middle - half) if share > 0 else 0.0, min(1.0, middle + half) if share < 1 else 1.0


def _normal(level: float) -> float:
    return float(stats.norm.ppf(0.5 + level / 2))


def _variance(*domains: Scores) -> tuple[float, float]:
    """Variance of the grand mean of crossed random effects, and its degrees of freedom (Satterthwaite 1946).

    Of one domain it is (MS_seeds + MS_problems − MS_rest) / (S N), but never below MS_problems / (S N). Of the mean of
    several, seeds are those of the mean, problems and rest are added up domain by domain.

    Args:
        domains: Each of shape (S, N_k).
    """
    seeds, by_domain, of_problems, of_rest = len(domains[0]), [], [], 0.0
    for values in domains:
        problems = values.shape[1]
        scale = seeds * problems * len(domains) ** 2
        mean, by_seed, by_problem = values.mean(), values.mean(1), values.mean(0)
        ms_problems = seeds * ((by_problem - mean) ** 2).sum() / (problems - 1)
        rest = values - by_seed[:, None] - by_problem[None, :] + mean
        of_rest += (rest**2).sum() / ((seeds - 1) * (problems - 1)) / scale
        of_problems.append((ms_problems / scale, problems - 1))
        by_domain.append(by_seed)
    of_seeds = float(np.var(np.mean(by_domain, axis=0), ddof=1)) / seeds
    within = sum(each for each, _ in of_problems)
    total = float(max(of_seeds + within - of_rest, within))
    if total == 0:
        return 0.0, float(seeds - 1)
    squares = of_seeds**2 / (seeds - 1) + sum(each**2 / freedom for each, freedom in of_problems)
    return total, max(1.0, total**2 / squares)


def _bootstrap(
    arrays: Sequence[Scores], statistic: Callable[[list[Scores]], Scores], level: float
) -> tuple[float, float]:
    """Percentiles of a statistic over draws of problems, the same for all arrays; it gets means of shape (S, B)."""
    problems = arrays[0].shape[1]
    drawn = statistic([array @ _shares(problems).T for array in arrays])
    low, high = np.quantile(drawn, [0.5 - level / 2, 0.5 + level / 2])
    return float(low), float(high)


@lru_cache(maxsize=8)
def _shares(problems: int) -> Scores:
    """How often each problem is drawn, as shares, shape (B, N): the same in every call, so that results repeat."""
    return np.random.default_rng(0).multinomial(problems, np.full(problems, 1 / problems), size=DRAWS) / problems


def _mcnemar(gaps: Scores) -> float:
    """Exact two-sided test that as many problems are above as below 0 (a sign test where there are several seeds)."""
    by_problem = gaps.mean(0)
    above, below = int((by_problem > 0).sum()), int((by_problem < 0).sum())
    return float(stats.binomtest(above, above + below).pvalue) if above + below else 1.0
