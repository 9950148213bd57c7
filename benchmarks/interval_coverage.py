"""How often the 95 % intervals of `plm.studies` hold the truth: simulated, 3 seeds × 200 problems each.

    python benchmarks/interval_coverage.py                   # the tables, as Markdown
    python benchmarks/interval_coverage.py --draws 200       # a look

Problems differ in difficulty (a beta distribution: the larger its *spread*, the more alike they are); a seed moves all
problems of a run by the same amount, normal with a standard deviation (s.d.), cut off at 0 and 1. The truth is the mean
over that distribution, computed on a grid and not drawn. Given the seeds means: over other problems alone.
"""

from __future__ import annotations

import argparse
import functools
import math
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy: the processes share the cores

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from plm.seeds import derive_seed
from plm.studies.counts import gap_interval, paired_gap_interval, share_interval
from plm.studies.statistics import (
    Scores,
    correctness_interval,
    detectable_gap,
    difference_interval,
    domains_interval,
    recovered_interval,
)

SEEDS, PROBLEMS, DOMAINS = 3, 200, 4
SDS = (0.0, 0.02, 0.05)
GRID = 5000
DRAWS = 2000
LEAST, MOST = 0.93, 0.97  # what is printed bold lies outside
Vector = NDArray[np.float64]


class Kind(NamedTuple):
    """A kind of problems: mean correctness, and how alike they are."""

    correct: float
    spread: float

    @property
    def text(self) -> str:
        """What a row says of it."""
        return f"{self.correct:g}, spread {self.spread:g}"


class Outcome(NamedTuple):
    """An interval and the truth."""

    low: float
    high: float
    truth: float


Draw = Callable[[np.random.Generator, float], Outcome]


def chances(difficulty: Vector, moved: Vector) -> Vector:
    """Chance of each problem in each run, shape (S, N)."""
    found: Vector = np.clip(difficulty[None, :] + moved[:, None], 0, 1)
    return found


@functools.lru_cache
def grid(kind: Kind) -> Vector:
    """Difficulties at equal steps of probability."""
    places = (np.arange(GRID) + 0.5) / GRID
    found: Vector = stats.beta.ppf(places, kind.correct * kind.spread, (1 - kind.correct) * kind.spread)
    return found


@functools.lru_cache
def expected(kind: Kind, sd: float, gain: float = 0.0) -> float:
    """Mean correctness over problems and seeds of a model that is better by `gain`."""
    moved = gain + sd * stats.norm.ppf((np.arange(201) + 0.5) / 201)
    return float(chances(grid(kind), moved).mean())


def given(kind: Kind, moved: Vector) -> float:
    """Mean correctness over problems, for these seeds."""
    return float(chances(grid(kind), moved).mean())


def difficulties(rng: np.random.Generator, kind: Kind, problems: int = PROBLEMS) -> Vector:
    """Problems at random."""
    return rng.beta(kind.correct * kind.spread, (1 - kind.correct) * kind.spread, size=problems)


def answers(rng: np.random.Generator, difficulty: Vector, moved: Vector) -> Scores:
    """Verdicts, shape (S, N)."""
    return (rng.random((len(moved), len(difficulty))) < chances(difficulty, moved)).astype(np.float64)


def correctness(rng: np.random.Generator, sd: float, kind: Kind) -> Outcome:
    """Over problems and seeds."""
    scores = answers(rng, difficulties(rng, kind), rng.normal(0, sd, SEEDS))
    return Outcome(*correctness_interval(scores)[1:3], expected(kind, sd))


def correctness_given(rng: np.random.Generator, sd: float, kind: Kind) -> Outcome:
    """By the bootstrap over problems."""
    moved = rng.normal(0, sd, SEEDS)
    scores = answers(rng, difficulties(rng, kind), moved)
    return Outcome(*correctness_interval(scores, "problems")[1:3], given(kind, moved))


def one_seed(rng: np.random.Generator, sd: float, kind: Kind) -> Outcome:
    """Wilson's, of one run."""
    moved = rng.normal(0, sd, 1)
    right = int(answers(rng, difficulties(rng, kind), moved).sum())
    return Outcome(*share_interval(right, PROBLEMS)[1:3], given(kind, moved))


def pair(rng: np.random.Generator, sd: float, kind: Kind, gain: float, seeds: int) -> tuple[Scores, Scores, Vector]:
    """Two models on the same problems, the first better by `gain`, and what their seeds move, shape (2, S)."""
    difficulty, moved = difficulties(rng, kind), rng.normal(0, sd, (2, seeds))
    moved[0] += gain
    return answers(rng, difficulty, moved[0]), answers(rng, difficulty, moved[1]), moved


def paired(rng: np.random.Generator, sd: float, kind: Kind, gain: float) -> Outcome:
    """Over problems and seeds."""
    left, right, _ = pair(rng, sd, kind, gain, SEEDS)
    return Outcome(*difference_interval(left, right)[0][1:3], expected(kind, sd, gain) - expected(kind, sd))


def paired_given(rng: np.random.Generator, sd: float, kind: Kind, gain: float) -> Outcome:
    """By the bootstrap over problems."""
    left, right, moved = pair(rng, sd, kind, gain, SEEDS)
    interval, _ = difference_interval(left, right, "problems")
    return Outcome(*interval[1:3], given(kind, moved[0]) - given(kind, moved[1]))


def paired_one_seed(rng: np.random.Generator, sd: float, kind: Kind, gain: float) -> Outcome:
    """Newcombe's paired interval, of one run each."""
    left, right, moved = pair(rng, sd, kind, gain, 1)
    interval = paired_gap_interval(left[0], right[0])
    return Outcome(*interval[1:3], given(kind, moved[0]) - given(kind, moved[1]))


def unpaired(rng: np.random.Generator, sd: float, left: Kind, right: Kind) -> Outcome:
    """Put together from the intervals of two models that were measured on other problems and seeds."""
    ends = [
        correctness_interval(answers(rng, difficulties(rng, kind), rng.normal(0, sd, SEEDS))) for kind in (left, right)
    ]
    return Outcome(*gap_interval(*ends)[1:3], expected(left, sd) - expected(right, sd))


def recovered(rng: np.random.Generator, sd: float, over_seeds: bool, kinds: tuple[Kind, Kind, Kind]) -> Outcome:
    """Elicited, locked and with the password; what is difficult to one of them says nothing of the others."""
    moved = rng.normal(0, sd, (3, SEEDS))
    arrays = [answers(rng, difficulties(rng, kind), each) for kind, each in zip(kinds, moved, strict=True)]
    interval = recovered_interval(*arrays, "problems and seeds" if over_seeds else "problems")
    means = [expected(kind, sd) if over_seeds else given(kind, each) for kind, each in zip(kinds, moved, strict=True)]
    return Outcome(*interval[1:3], (means[0] - means[1]) / (means[2] - means[1]))


def domains(rng: np.random.Generator, sd: float, kinds: Sequence[Kind]) -> Outcome:
    """The mean over domains with 50 problems each; a seed moves all of them together."""
    moved, n = rng.normal(0, sd, SEEDS), PROBLEMS // DOMAINS
    interval = domains_interval([answers(rng, difficulties(rng, kind, n), moved) for kind in kinds])
    return Outcome(*interval[1:3], float(np.mean([expected(kind, sd) for kind in kinds])))


SPREADS = [Kind(0.5, 0.3), Kind(0.5, 1), Kind(0.5, 5)]
ENDS = [Kind(correct, 1) for correct in (0.01, 0.03, 0.2, 0.8, 0.97)]
GAPS = [(Kind(0.5, 1), 0.0), (Kind(0.5, 1), 0.2), (Kind(0.1, 1), 0.2), (Kind(0.03, 1), 0.0)]
LOCKED = (Kind(0.5, 2), Kind(0.1, 2), Kind(0.9, 2))
FEW = (Kind(0.2, 1), Kind(0.1, 1), Kind(0.9, 1))
MIXED = [Kind(0.2, 1), Kind(0.4, 1), Kind(0.6, 1), Kind(0.8, 1)]
CASES: dict[tuple[str, str], Draw] = {
    **{("correctness", kind.text): functools.partial(correctness, kind=kind) for kind in SPREADS + ENDS},
    **{("correctness, given the seeds", kind.text): functools.partial(correctness_given, kind=kind)
       for kind in (SPREADS[1], *ENDS)},
    **{("correctness, one seed", kind.text): functools.partial(one_seed, kind=kind) for kind in (SPREADS[1], ENDS[0])},
    **{("difference, paired", f"{kind.text}, gain {gain:g}"): functools.partial(paired, kind=kind, gain=gain)
       for kind, gain in GAPS},
    **{("difference, paired, given the seeds", f"{kind.text}, gain {gain:g}"):
       functools.partial(paired_given, kind=kind, gain=gain) for kind, gain in GAPS[:3]},
    ("difference, paired, one seed", "0.5, spread 1, gain 0.2"): functools.partial(
        paired_one_seed, kind=Kind(0.5, 1), gain=0.2),
    ("difference, unpaired", "0.9 and 0.1, spread 2"): functools.partial(unpaired, left=LOCKED[2], right=LOCKED[1]),
    ("difference, unpaired", "0.5 and 0.5, spread 1"): functools.partial(unpaired, left=SPREADS[1], right=SPREADS[1]),
    ("recovered", "0.5 between 0.1 and 0.9"): functools.partial(recovered, over_seeds=True, kinds=LOCKED),
    ("recovered", "0.2 between 0.1 and 0.9"): functools.partial(recovered, over_seeds=True, kinds=FEW),
    ("recovered, given the seeds", "0.5 between 0.1 and 0.9"): functools.partial(
        recovered, over_seeds=False, kinds=LOCKED),
    ("mean over domains", "0.2, 0.4, 0.6 and 0.8, spread 1"): functools.partial(domains, kinds=MIXED),
}  # fmt: skip


def covered(case: tuple[str, str], sd: float, draws: int) -> float:
    """Share of intervals that hold the truth; one that is undefined does not."""
    rng = np.random.default_rng(derive_seed(*case, str(sd)))
    found = (CASES[case](rng, sd) for _ in range(draws))
    return sum(low - 1e-9 <= truth <= high + 1e-9 for low, high, truth in found) / draws


def power(seeds: int, sd: float, draws: int) -> tuple[float, float]:
    """The smallest gap around 0.5 that should be found with 80 %, and how often it is, with independent answers."""
    gap, hits = detectable_gap(seeds, PROBLEMS, 0.5, sd), 0
    rng = np.random.default_rng(derive_seed("power", seeds, str(sd)))
    for _ in range(draws):
        sides = [
            answers(rng, np.full(PROBLEMS, correct), rng.normal(0, sd, seeds))
            for correct in (0.5 + gap / 2, 0.5 - gap / 2)
        ]
        hits += difference_interval(*sides)[1] < 0.05
    return gap, hits / draws


def table(draws: int, jobs: int) -> str:
    """Both tables, as Markdown."""
    asked = [(case, sd) for case in CASES for sd in SDS]
    gaps = [(seeds, sd) for seeds in (3, 5) for sd in SDS]
    with ProcessPoolExecutor(jobs) as pool:
        shares = [pool.submit(covered, case, sd, draws) for case, sd in asked]
        found = [pool.submit(power, seeds, sd, draws) for seeds, sd in gaps]
        known = dict(zip(asked, (each.result() for each in shares), strict=True))
        powers = [each.result() for each in found]
    head = " | ".join(f"s.d. {sd:g}" for sd in SDS)
    lines = [f"| interval | simulated | {head} |", "|---|---|" + "---|" * len(SDS)]
    for case in CASES:
        cells = " | ".join(shown(known[case, sd], draws) for sd in SDS)
        lines.append(f"| {case[0]} | {case[1]} | {cells} |")
    lines += ["", "| seeds | s.d. | smallest gap | found |", "|---|---|---|---|"]
    for (seeds, sd), (gap, share) in zip(gaps, powers, strict=True):
        lines.append(f"| {seeds} | {sd:g} | {gap:.2f} | {100 * share:.1f} ± {100 * error(share, draws):.1f} % |")
    return "\n".join(lines) + "\n"


def shown(share: float, draws: int) -> str:
    """Coverage and its Monte Carlo error; bold where it is not 93 to 97 %."""
    text = f"{100 * share:.1f} ± {100 * error(share, draws):.1f} %"
    return text if LEAST <= share <= MOST else f"**{text}**"


def error(share: float, draws: int) -> float:
    """Standard error of a share of independent draws."""
    return math.sqrt(share * (1 - share) / draws)


def main(args: Sequence[str] | None = None) -> int:
    """Simulates and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS, help=f"simulations of each cell; {DRAWS} by default")
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="processes; one a core")
    parsed = parser.parse_args(args)
    print(f"3 seeds × 200 problems, {parsed.draws} draws a cell; coverage of 95 % intervals ± its standard error.\n")
    print(table(parsed.draws, parsed.jobs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
