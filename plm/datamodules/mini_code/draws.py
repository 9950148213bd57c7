"""Drawing specs: a domain, a family of it, which steps it has, and their constants."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from random import Random

from plm.datamodules.mini_code.program import FAMILIES
from plm.datamodules.mini_code.spec import Family, Spec, Step, StepKind
from plm.datamodules.mini_code.steps import FINISHES

Pattern = tuple[int, int, int]
"""How many conditions, changes and finishing steps."""

# Our choice: about one program in ten has neither condition nor finish, which is what the weak policy gets right.
VALUE: Mapping[Pattern, int] = {
    (0, 0, 0): 2,
    (0, 1, 0): 10,
    (1, 0, 0): 18,
    (0, 0, 1): 14,
    (1, 0, 1): 20,
    (1, 1, 0): 13,
    (0, 1, 1): 10,
    (0, 0, 2): 7,
    (1, 0, 2): 3,
    (1, 1, 1): 3,
}
COUNTED: Mapping[Pattern, int] = {
    (0, 0, 0): 2,
    (1, 0, 0): 34,
    (0, 0, 1): 16,
    (1, 0, 1): 30,
    (0, 0, 2): 10,
    (1, 0, 2): 8,
}
LISTED: Mapping[Pattern, int] = {(0, 0, 0): 1, (0, 1, 0): 7, (0, 2, 0): 5, (1, 0, 0): 34, (1, 1, 0): 40, (1, 2, 0): 13}
SINGLE: Mapping[Pattern, int] = {(0, 0, 0): 3, (0, 0, 1): 37, (0, 0, 2): 60}


def seeded(*parts: object) -> Random:
    """A generator that depends on the parts alone, in every process."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return Random(int.from_bytes(digest[:8], "big"))


def _patterns(family: Family) -> Mapping[Pattern, int]:
    if not family.source.loop:
        return SINGLE
    if family.core.result == "list":
        return LISTED
    table = VALUE if family.core.by_value else COUNTED
    return {pattern: weight for pattern, weight in table.items() if pattern[0] or not family.core.needs_keep}


def _constant(rng: Random, kind: StepKind, limits: tuple[int, int] | None) -> int:
    if kind.values is None:
        return 0
    low, high = kind.values
    if limits and not kind.letter:
        low, high = min(low, limits[0]), min(high, limits[1])
    return rng.randint(low, high)


def _steps(
    rng: Random, kinds: Mapping[str, StepKind], count: int, limits: tuple[int, int] | None = None
) -> tuple[Step, ...]:
    """Steps of different kinds: two of one kind would often be one, as adding 3 and then 4 is."""
    names = rng.sample(list(kinds), count)
    return tuple(Step(name, _constant(rng, kinds[name], limits)) for name in names)


def draw_spec(rng: Random, family: Family) -> Spec:
    """One program of a family."""
    patterns = _patterns(family)
    keep, changes, finish = rng.choices(list(patterns), weights=list(patterns.values()))[0]
    source = family.source
    return Spec(
        family.name,
        next(iter(_steps(rng, source.conditions, keep, source.limits)), None),
        _steps(rng, source.changes, changes),
        _steps(rng, FINISHES[family.core.result], finish),
    )


def stream_specs(seed: int, domain: str | None = None) -> Iterator[Spec]:
    """Programs without end, with repetitions: domains, and families in each, are equally likely."""
    rng = seeded("specs", seed, domain)
    by_domain: dict[str, list[Family]] = {}
    for family in FAMILIES.values():
        by_domain.setdefault(family.source.domain, []).append(family)
    while True:
        chosen = domain or rng.choice(list(by_domain))
        yield draw_spec(rng, rng.choice(by_domain[chosen]))
