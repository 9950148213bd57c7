"""The procedural code task: short English statements, small C++ programs, tests from an independent Python solver."""

from plm.datamodules.mini_code.build import build_problems, draw_specs, group_of, render
from plm.datamodules.mini_code.program import FAMILIES, program, solve
from plm.datamodules.mini_code.spec import Spec, Step
from plm.datamodules.mini_code.weak import half_weaken, intermediate_spec, weak_spec, weaken

__all__ = [
    "FAMILIES",
    "Spec",
    "Step",
    "build_problems",
    "draw_specs",
    "group_of",
    "half_weaken",
    "intermediate_spec",
    "program",
    "render",
    "solve",
    "weak_spec",
    "weaken",
]
