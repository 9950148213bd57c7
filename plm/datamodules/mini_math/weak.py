"""The weak policy: a pupil who adds up whatever numbers there are.

It attempts every problem in the format of the references and writes correct sums, but reads every step as an addition.
It is a function of the problem, not of its telling or of chance: greedy decoding averages random mistakes away, and
what is left is the correct answer. It is right where every step is an addition, about one problem in ten.

The careless policy is the weak one by chance: like a weak model that is sampled, as in the paper, it does not write
the same twice. It takes a step for an addition in three cases of four, so its most frequent reading of a step is the
weak policy's, and one answer in five is right.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from plm.datamodules.mini_math.spec import Spec, Step


def weak_spec(spec: Spec) -> Spec:
    """The same numbers, all of them added."""
    return replace(spec, steps=tuple(Step("+", step.value) for step in spec.steps))


SAMPLES = 10  # of the careless policy for each problem, as many as the paper takes from its teacher (App. E.4)
MISREAD = 0.75  # our choice: then about a fifth of its answers are right


def careless_specs(spec: Spec, rng: Random) -> list[Spec]:
    """The same numbers; each step is read as an addition in `MISREAD` of all cases, independently."""

    def read(step: Step) -> Step:
        return Step("+", step.value) if rng.random() < MISREAD else step

    return [replace(spec, steps=tuple(read(step) for step in spec.steps)) for _ in range(SAMPLES)]
