"""The `arrays` domain: programs on a list of integers."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from plm.datamodules.mini_code import cores
from plm.datamodules.mini_code.spec import Family, Source
from plm.datamodules.mini_code.steps import NUMBER_CHANGES, NUMBER_CONDITIONS

LENGTHS = (0, 1, 9, 12, 20)


def parse_list(text: str) -> list[int]:
    """Reads the length and that many integers."""
    count, *values = map(int, text.split())
    return values[:count]


def make_list(rng: Random, near: Sequence[int], size: int) -> str:
    """A list of integers, half of them close to the constants that matter; sizes 0 and 1 are no and one element."""
    drawn: list[int] = []
    for _ in range(LENGTHS[size]):
        if near and rng.random() < 0.5:
            drawn.append(rng.choice(near) * rng.choice((1, 1, 1, 2)) + rng.choice((-1, 0, 0, 1)))
        elif drawn and rng.random() < 0.15:
            drawn.append(rng.choice(drawn))
        else:
            drawn.append(rng.randint(-60, 160))
    return "\n".join((str(len(drawn)), " ".join(map(str, drawn)))) + "\n"


LIST = Source(
    name="list",
    domain="arrays",
    given="n and then n integers",
    items="the integers",
    names="n, i, x, s",
    code="cin >> n;\nwhile (i++ < n) {\n  cin >> x;",
    parse=parse_list,
    make=make_list,
    conditions=NUMBER_CONDITIONS,
    changes=NUMBER_CHANGES,
)

CORES = (
    cores.TOTAL,
    cores.COUNT,
    cores.MAXIMUM,
    cores.MINIMUM,
    cores.LISTING,
    cores.FIRST,
    cores.LAST,
    cores.SPREAD,
    cores.DISTINCT,
    cores.FIRST_POSITION,
    cores.LAST_POSITION,
    cores.LONGEST_RUN,
    cores.RISES,
    cores.ALTERNATING,
    cores.WEIGHTED,
    cores.BEST_STRETCH,
    cores.BEST_PREFIX,
    cores.LARGEST_GAP,
    cores.MAGNITUDE,
    cores.RUNNING,
    cores.BACKWARDS,
    cores.ASCENDING,
    cores.DESCENDING,
)

FAMILIES = tuple(Family(LIST, core) for core in CORES)
