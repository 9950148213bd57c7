"""The procedural math task: short word problems of two to four steps, in English or Spanish, and their solutions."""

from plm.datamodules.mini_math.build import draw_specs, render
from plm.datamodules.mini_math.spec import Setting, Spec, Step, solve
from plm.datamodules.mini_math.stories import STORIES
from plm.datamodules.mini_math.telling import SETTINGS, solution, statement
from plm.datamodules.mini_math.weak import weak_spec

__all__ = [
    "SETTINGS", "STORIES", "Setting", "Spec", "Step", "draw_specs", "render", "solution", "solve", "statement",
    "weak_spec",
]  # fmt: skip
