"""The `numbers` domain: programs on one or two integers and what follows from them (digits, divisors, primes, ...)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from random import Random

from plm.datamodules.mini_code import cores
from plm.datamodules.mini_code.spec import Core, Family, Source
from plm.datamodules.mini_code.steps import NUMBER_CHANGES, NUMBER_CONDITIONS

Draw = Callable[[Random, Sequence[int], int], str]
ONE = "cin >> n;\n"
TWO = "cin >> a >> b;\n"


@cache
def _divisors(n: int) -> list[int]:
    return [d for d in range(1, n + 1) if n % d == 0]


@cache
def _factors(n: int) -> list[int]:
    for d in range(2, math.isqrt(n) + 1):
        if n % d == 0:
            return [d, *_factors(n // d)]
    return [n] if n > 1 else []


def _collatz(n: int) -> Iterator[int]:
    while n > 1:
        yield n
        n = 3 * n + 1 if n % 2 else n // 2


def _fibonacci(limit: int) -> list[int]:
    terms = [1, 1]
    while terms[-1] + terms[-2] <= limit:
        terms.append(terms[-1] + terms[-2])
    return terms if limit > 0 else []


def _one(parse: Callable[[int], Sequence[int] | Iterator[int]]) -> Callable[[str], list[int]]:
    return lambda text: list(parse(int(text)))


def _two(parse: Callable[[int, int], Sequence[int]]) -> Callable[[str], Sequence[int]]:
    return lambda text: parse(*map(int, text.split()))


def _up_to(*tops: int, edge: int = 1) -> Draw:
    """Draws one integer, the edge at size 0, and mostly past the constants that matter."""

    def make(rng: Random, near: Sequence[int], size: int) -> str:
        top = tops[size - 1]
        return f"{edge if size == 0 else rng.randint(max(1, min(max(near, default=1), top - 1)), top)}\n"

    return make


def _digits_of(rng: Random, near: Sequence[int], size: int) -> str:
    if size < 2:
        return f"{rng.randint(0, 9) if size else 0}\n"
    first, *rest = (
        rng.choice(near) + rng.choice((-1, 0, 1)) if near and rng.random() < 0.4 else rng.randint(0, 9)
        for _ in range(size * 3)
    )
    return f"{max(1, first % 10)}{''.join(str(digit % 10) for digit in rest)}\n"


def _composite(rng: Random, near: Sequence[int], size: int) -> str:
    value = 1
    while size and value < 40 * size:
        wanted = rng.choice(near) + rng.choice((-1, 0, 0, 1)) if near and rng.random() < 0.6 else rng.randint(2, 9)
        value *= max(wanted, 2) if value * max(wanted, 2) <= 3000 else 2
    return f"{value}\n"


def _bounds(rng: Random, near: Sequence[int], size: int) -> str:
    middle = rng.choice(near) if near else 20
    low = middle - rng.randint(0, 6 * size)
    return f"{low} {low + (0, 1, 12, 20, 70)[size] + (rng.randint(0, 9) if size else 0)}\n"


def _pair(rng: Random, _: Sequence[int], size: int) -> str:
    if size == 0:
        return "1 1\n"
    factor = rng.randint(2, 9)
    return f"{factor * rng.randint(1, 12)} {factor * rng.randint(1, 12)}\n"


def _source(
    name: str,
    items: str,
    names: str,
    code: str,
    parse: Callable[[str], Sequence[int]],
    make: Draw,
    limits: tuple[int, int] = (10, 99),
    loop: bool = True,
) -> Source:
    """A source of the `numbers` domain; one with a single item has no condition."""
    given = "a and b" if code.startswith(TWO) else "n"
    conditions = NUMBER_CONDITIONS if loop else {}
    return Source(
        name, "numbers", given, items, names, code, parse, make, conditions, NUMBER_CHANGES, limits, loop=loop
    )


def _single(name: str, items: str, code: str, value: Callable[[int, int], int]) -> Source:
    return _source(name, items, "a, b, x, s", TWO + code, _two(lambda a, b: [value(a, b)]), _pair, loop=False)


LOOPS = (
    _source(
        "digits",
        "the digits of n",
        "n, x, s",
        ONE + "for (; n; n /= 10) {\n  x = n % 10;",
        lambda text: [int(digit) for digit in text.strip()[::-1]] if int(text) else [],
        _digits_of,
        (3, 8),
    ),
    _source(
        "range",
        "the numbers from 1 to n",
        "n, i, x, s",
        ONE + "while (i++ < n) {\n  x = i;",
        _one(lambda n: range(1, n + 1)),
        _up_to(60, 110, 150, 200, edge=0),
    ),
    _source(
        "between",
        "the numbers from a to b",
        "a, b, i, x, s",
        TWO + "for (i = a; i <= b; i++) {\n  x = i;",
        _two(lambda a, b: range(a, b + 1)),
        _bounds,
    ),
    _source(
        "divisors",
        "the divisors of n",
        "n, i, x, s",
        ONE + "while (i++ < n) {\n  if (n % i) continue;\n  x = i;",
        _one(_divisors),
        _composite,
    ),
    _source(
        "factors",
        "the prime factors of n",
        "n, i, x, s",
        ONE + "for (i = 2; n > 1; i++) while (n % i == 0) {\n  n /= i;\n  x = i;",
        _one(_factors),
        _composite,
        (3, 19),
    ),
    _source(
        "primes",
        "the primes up to n",
        "n, i, x, s",
        ONE + "for (i = 2; i <= n; i++) {\n  for (x = 2; i % x; x++);\n  if (x < i) continue;",
        _one(lambda n: [p for p in range(2, n + 1) if _factors(p) == [p]]),
        _up_to(30, 80, 110, 150),
    ),
    _source(
        "collatz",
        "the Collatz numbers of n before 1",
        "n, x, s",
        ONE + "for (; n > 1; n = n % 2 ? 3 * n + 1 : n / 2) {\n  x = n;",
        _one(_collatz),
        _up_to(9, 30, 60, 90),
    ),
    _source(
        "fibonacci",
        "the Fibonacci numbers up to n",
        "n, a, b, x, s",
        ONE + "for (a = b = 1; a <= n; swap(a, b), b += a) {\n  x = a;",
        _one(_fibonacci),
        _up_to(60, 150, 400, 2000, edge=0),
    ),
)
SINGLES = (
    _single("gcd", "the gcd of a and b", "x = __gcd(a, b);", math.gcd),
    _single("lcm", "the lcm of a and b", "x = a / __gcd(a, b) * b;", math.lcm),
    _single("distance", "the distance of a and b", "x = abs(a - b);", lambda a, b: max(a, b) - min(a, b)),
    _single("remainder", "the remainder of a by b", "x = a % b;", lambda a, b: a - a // b * b),
)

CORES: dict[str, tuple[Core, ...]] = {
    "digits": (cores.TOTAL, cores.COUNT, cores.MAXIMUM, cores.MINIMUM),
    "range": (cores.TOTAL, cores.COUNT, cores.LISTING),
    "between": (cores.TOTAL, cores.COUNT, cores.LISTING),
    "divisors": (cores.TOTAL, cores.COUNT, cores.LISTING),
    "factors": (cores.TOTAL, cores.COUNT, cores.LISTING),
    "primes": (cores.TOTAL, cores.COUNT, cores.MAXIMUM),
    "collatz": (cores.TOTAL, cores.COUNT, cores.MAXIMUM),
    "fibonacci": (cores.TOTAL, cores.COUNT, cores.MAXIMUM),
}

FAMILIES = (
    *(Family(source, core) for source in LOOPS for core in CORES[source.name]),
    *(Family(source, cores.ITSELF) for source in SINGLES),
)
