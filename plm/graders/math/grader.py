"""Grades solutions of mathematics problems by their final answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache

from plm.errors import PlmError
from plm.graders.math.equality import is_wordy, judge
from plm.graders.math.extraction import extract_answer, reference_answer
from plm.records import Grade, Problem


class MathGrader:
    r"""Compares the final answer of a completion with that of the reference.

    The reference of a problem is a solution with `\boxed{}`, or the answer itself. Answers are read by our own parser
    and compared by value; nothing of them is ever evaluated as a program, no process is started, and the work on each
    is bounded by its size, so that verdicts do not depend on the clock. docs/math_grading.md lists the conventions.
    """

    def grade(
        self,
        problems: Sequence[Problem],
        completions: Sequence[str],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[Grade]:
        """Grades `completions[i]` as a solution of `problems[i]`.

        Args:
            problems: Problems; of each, only the reference is read.
            completions: Solutions, or bare answers.
            progress: Called with 1 after each completion.

        Returns:
            One verdict for each completion. The reason is `correct`, `wrong`, `parse` (no answer found, or none that
            can be read) or `timeout` (comparing would be too costly).

        Raises:
            PlmError: If there is not one completion for each problem.
        """
        if len(problems) != len(completions):
            raise PlmError(f"{len(problems)} problems but {len(completions)} completions; give one for each")
        grades = []
        for problem, completion in zip(problems, completions, strict=True):
            grades.append(grade_answer(completion, problem.reference))
            if progress:
                progress(1)
        return grades


def grade_answer(completion: str, reference: str) -> Grade:
    """The verdict on one completion; never raises, whatever the texts are."""
    start = time.perf_counter()
    answer = extract_answer(completion)
    reason = "parse" if answer is None else judge(answer, _reference_answer(reference))
    if reason == "wrong" and answer == completion.strip() and is_wordy(answer) and not is_wordy(reference):
        reason = "parse"  # "I do not know"
    correct = reason == "correct"
    return Grade(correct, float(correct), answer or "", reason, time.perf_counter() - start)


@lru_cache(maxsize=16_384)
def _reference_answer(reference: str) -> str:
    return reference_answer(reference)
