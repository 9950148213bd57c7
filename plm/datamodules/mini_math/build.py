"""Problems from specs: distinct computations, drawn by a seed, each told in both settings."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator
from itertools import islice

from plm.datamodules.math_domains import Domains, domain_of
from plm.datamodules.mini_math.draws import seeded, stream_specs
from plm.datamodules.mini_math.spec import Setting, Spec
from plm.datamodules.mini_math.stories import STORIES
from plm.datamodules.mini_math.telling import SETTINGS, solution, statement
from plm.datamodules.mini_math.weak import careless_specs, weak_spec
from plm.records import Problem, Rendering


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def render(
    spec: Spec, phrasing: int = 0, *, setting: Setting = "english_latex", domains: Domains = "subject"
) -> Problem:
    """One problem of a spec, told in one setting and holding all of them as renderings.

    Args:
        spec: The problem.
        phrasing: Seed of the wording; different seeds may give the same one.
        setting: Which rendering `prompt`, `reference` and `answers` show.
        domains: What its domain is: the group of its subject, its subject or its level.

    Returns:
        The problem; `answers` holds what the `weak` and the `careless` policy write.
    """
    misread = careless_specs(spec, seeded("careless", spec.computation))
    renderings: dict[str, Rendering] = {
        name: Rendering(
            statement(spec, name, seeded("text", spec.story, spec.computation, phrasing)),
            solution(spec, name),
            {
                "weak": (solution(weak_spec(spec), name),),
                "careless": tuple(solution(sample, name) for sample in misread),
            },
        )
        for name in SETTINGS
    }
    shown = renderings[setting]
    return Problem(
        id=f"mini-{spec.story}-{_digest(shown.prompt)}",
        prompt=shown.prompt,
        domain=domain_of(STORIES[spec.story].type, f"Level {spec.level}", domains),
        reference=shown.reference,
        group=_digest(spec.computation),
        answers=shown.answers,
        renderings=renderings,
    )


def _distinct(specs: Iterable[Spec], taken: Collection[str]) -> Iterator[Spec]:
    seen = set(taken)
    for spec in specs:
        if spec.computation not in seen:
            seen.add(spec.computation)
            yield spec


def draw_specs(n: int, seed: int, *, domain: str | None = None, exclude: Collection[str] = ()) -> list[Spec]:
    """Draws `n` specs of distinct computations, none of which is in `exclude`; the first ones don't depend on `n`."""
    return list(islice(_distinct(stream_specs(seed, domain), exclude), n))
