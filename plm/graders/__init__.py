"""Graders: completions in, verdicts out."""

from plm.graders.base import Grader
from plm.graders.code import CodeGrader

__all__ = ["CodeGrader", "Grader"]
