"""The procedural critique task: small C++ programs with one bug each, and what is wrong with them."""

from plm.datamodules.mini_critique.bugs import Bug, draw_bug, possible_bugs, weak_critique
from plm.datamodules.mini_critique.build import build_critique, make_pairs

__all__ = ["Bug", "build_critique", "draw_bug", "make_pairs", "possible_bugs", "weak_critique"]
