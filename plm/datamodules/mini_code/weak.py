"""The weak policy: a programmer who hears the question and the changes, but forgets conditions and final steps.

It is a function of the program, not of its phrasing or of chance: greedy decoding averages random mistakes away, and
what is left is the correct program. It is right where there was nothing to forget, about one problem in ten. The
intermediate policy forgets the final steps alone, and is right on about half of the problems.
"""

from __future__ import annotations

from dataclasses import replace

from plm.datamodules.mini_code.program import program
from plm.datamodules.mini_code.spec import Spec


def weak_spec(spec: Spec) -> Spec:
    """The program without its condition and without what is done to the answer."""
    return replace(spec, keep=None, finish=())


def weaken(spec: Spec) -> str:
    """The C++ text that the weak policy writes."""
    return program(weak_spec(spec))


def intermediate_spec(spec: Spec) -> Spec:
    """The program without what is done to the answer."""
    return replace(spec, finish=())


def half_weaken(spec: Spec) -> str:
    """The C++ text that the intermediate policy writes."""
    return program(intermediate_spec(spec))
