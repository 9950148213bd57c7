"""The procedural style task: small Python functions, in good style and in bad."""

from plm.datamodules.mini_style.build import build_problem, build_text, draw_specs
from plm.datamodules.mini_style.habits import HABITS, spoil
from plm.datamodules.mini_style.program import habits_of, program, statement, weak_program
from plm.datamodules.mini_style.spec import CORES, FAMILIES, SOURCES, Spec

__all__ = [
    "CORES",
    "FAMILIES",
    "HABITS",
    "SOURCES",
    "Spec",
    "build_problem",
    "build_text",
    "draw_specs",
    "habits_of",
    "program",
    "spoil",
    "statement",
    "weak_program",
]
