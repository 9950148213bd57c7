"""The grader of mathematics: extraction of final answers, our own parser, equality by value."""

from plm.graders.math.equality import judge
from plm.graders.math.extraction import extract_answer, reference_answer
from plm.graders.math.grader import MathGrader

__all__ = ["MathGrader", "extract_answer", "judge", "reference_answer"]
