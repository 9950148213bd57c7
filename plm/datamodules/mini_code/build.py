"""Problems from specs: distinct programs, drawn by a seed, each said in one of its texts."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from plm.datamodules.mini_code.cases import make_tests
from plm.datamodules.mini_code.draws import seeded, stream_specs
from plm.datamodules.mini_code.phrasing import statement
from plm.datamodules.mini_code.program import FAMILIES, program
from plm.datamodules.mini_code.spec import Spec
from plm.datamodules.mini_code.weak import forget, half_weaken, weaken
from plm.records import Problem


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def group_of(spec: Spec) -> str:
    """What identifies a program: a digest of its text, so equal programs have equal groups however they are said."""
    return _digest(program(spec))


def render(spec: Spec, phrasing: int = 0, *, tests: bool = True) -> Problem:
    """One problem of a program.

    Args:
        spec: The program.
        phrasing: Seed of the wording; one program has many texts, and different seeds may give the same one.
        tests: Whether to make the tests, which a corpus does without. They depend on the program alone.

    Returns:
        The problem; `answers` holds what the `weak`, the `intermediate` and the `careless` policy write.
    """
    code = program(spec)
    group = _digest(code)
    prompt = statement(spec, seeded("text", group, phrasing))
    return Problem(
        id=f"mini-{spec.family}-{_digest(prompt)}",
        prompt=prompt,
        domain=FAMILIES[spec.family].source.domain,
        reference=code,
        tests=make_tests(spec, seeded("tests", group)) if tests else (),
        group=group,
        answers={
            "weak": (weaken(spec),),
            "intermediate": (half_weaken(spec),),
            "careless": forget(spec, seeded("careless", group)),
        },
    )


def _distinct(specs: Iterable[Spec], taken: Collection[str]) -> Iterator[Spec]:
    seen = set(taken)
    for spec in specs:
        group = group_of(spec)
        if group not in seen:
            seen.add(group)
            yield spec


def draw_specs(n: int, seed: int, *, domain: str | None = None, exclude_groups: Collection[str] = ()) -> list[Spec]:
    """Draws `n` distinct programs, none of which is in `exclude_groups`; the first ones don't depend on `n`."""
    return list(islice(_distinct(stream_specs(seed, domain), exclude_groups), n))


def build_problems(
    n: int, seed: int, *, exclude_groups: Collection[str] = (), domain: str | None = None, tests: bool = True
) -> list[Problem]:
    """Makes `n` problems of `n` distinct programs, in an order that only the seed decides.

    Args:
        n: How many.
        seed: Decides programs and wording, in every process and on every machine.
        exclude_groups: Programs (`Problem.group`) that must not occur.
        domain: `arrays`, `numbers` or `strings`; without it all three, equally often.
        tests: Whether to make the tests, which a corpus does without.
    """
    specs = draw_specs(n, seed, domain=domain, exclude_groups=exclude_groups)
    return [render(spec, seed, tests=tests) for spec in specs]
