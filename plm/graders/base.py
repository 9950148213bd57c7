"""What every grader does: completions in, verdicts out, in the same order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from plm.records import Grade, Problem


class Grader(Protocol):
    """Decides whether completions are right."""

    def grade(
        self, problems: Sequence[Problem], completions: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Grade]:
        """Grades `completions[i]` as an answer to `problems[i]`; calls `progress` with how many were just graded.

        Model text is hostile: a grader never evaluates it in this process, never raises because of it, and counts what
        it cannot read as wrong.
        """
        ...
