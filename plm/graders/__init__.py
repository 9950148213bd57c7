"""Graders: completions in, verdicts out."""

from plm.graders.base import Grader
from plm.graders.code import CodeGrader
from plm.graders.math import MathGrader

__all__ = ["CodeGrader", "Grader", "MathGrader"]
