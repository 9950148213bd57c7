"""Problems from specs: distinct programs, drawn by a seed, in good style, in bad style, or as a corpus has them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from random import Random

from plm.datamodules.mini_style.program import program, statement, weak_program
from plm.datamodules.mini_style.spec import Spec, stream_specs
from plm.records import Problem
from plm.seeds import derive_seed


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def draw_specs(n: int, seed: int) -> list[Spec]:
    """Draws `n` programs of distinct statements and texts; the first ones don't depend on `n`."""
    return list(islice(_distinct(stream_specs(Random(derive_seed(seed, "mini style")))), n))


def _distinct(specs: Iterable[Spec]) -> Iterator[Spec]:
    seen: set[str] = set()
    for spec in specs:
        keys = {statement(spec), program(spec)}
        if not keys & seen:
            seen |= keys
            yield spec


def build_problem(spec: Spec) -> Problem:
    """A problem of the task: the reference complies with PEP 8, the weak policy's answer does not."""
    return replace(build_text(spec, compliant=True), answers={"weak": (weak_program(spec),)})


def build_text(spec: Spec, compliant: bool) -> Problem:
    """A text of the corpus, in the one style that it was written in: the reference may well violate PEP 8."""
    group = _digest(program(spec))
    code = program(spec) if compliant else weak_program(spec)
    return Problem(f"style-{spec.source}-{spec.core}-{group}", statement(spec), spec.source, code, group=group)
