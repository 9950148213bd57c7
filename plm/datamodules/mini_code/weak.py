"""The weak policy: a programmer who hears the question and the changes, but forgets conditions and final steps.

It is a function of the program, not of its phrasing or of chance: greedy decoding averages random mistakes away, and
what is left is the correct program. It is right where there was nothing to forget, about one problem in ten. The
intermediate policy forgets the final steps alone, and is right on about half of the problems.

The careless policy is the weak one by chance: like a weak model that is sampled, as in the paper, it does not write the
same twice. It forgets every step in four cases of five, so its most frequent answer is the weak policy's, and one
answer in five is right.
"""

from __future__ import annotations

from random import Random

from plm.datamodules.mini_code.program import program
from plm.datamodules.mini_code.spec import Spec


def weak_spec(spec: Spec) -> Spec:
    """The program without its condition and without what is done to the answer."""
    return Spec(spec.family, None, spec.changes)


def weaken(spec: Spec) -> str:
    """The C++ text that the weak policy writes."""
    return program(weak_spec(spec))


def intermediate_spec(spec: Spec) -> Spec:
    """The program without what is done to the answer."""
    return Spec(spec.family, spec.keep, spec.changes)


def half_weaken(spec: Spec) -> str:
    """The C++ text that the intermediate policy writes."""
    return program(intermediate_spec(spec))


SAMPLES = 10  # of the careless policy for each problem, as many as the paper takes from its teacher (App. E.4)
FORGOTTEN = 0.8  # our choice: then about a fifth of its answers are right


def careless_specs(spec: Spec, rng: Random) -> list[Spec]:
    """Programs in which the condition and every final step are forgotten in `FORGOTTEN` of all cases, independently."""

    def kept() -> bool:
        return rng.random() >= FORGOTTEN

    return [
        Spec(spec.family, spec.keep if kept() else None, spec.changes, tuple(step for step in spec.finish if kept()))
        for _ in range(SAMPLES)
    ]


def forget(spec: Spec, rng: Random) -> tuple[str, ...]:
    """The C++ texts that the careless policy writes."""
    return tuple(program(sample) for sample in careless_specs(spec, rng))
