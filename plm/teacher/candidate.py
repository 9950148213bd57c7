"""A published problem on its way to becoming a C++ problem."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from plm.datamodules.code_files.record import PublishedProblem
from plm.records import Problem
from plm.teacher.prompts import Translation
from plm.teacher.teacher import Draft


@dataclass(eq=False)
class Candidate(Draft[PublishedProblem]):
    """A published problem on its way.

    Args:
        problem: As published.
        translation: What the teacher made of it.
        verified: Who says that the tests are right: `reference`, the published Python program, or `teacher`, whose
            C++ program passes them.
        program: The teacher's at T = 0.
        samples: Its programs at T = 1 without exact duplicates, in the order of sampling.
        drawn: How many programs were drawn for `samples`.
        correct: How many of `samples` pass the tests.
        dropped: Why it is left out, a key of `report.WHY`; empty while it is not.
        detail: More about that.
    """

    translation: Translation | None = None
    verified: str = ""
    program: str = ""
    samples: tuple[str, ...] = ()
    drawn: int = 0
    correct: int = 0

    def as_problem(self) -> Problem:
        """The problem that the teacher made."""
        assert self.translation is not None
        made = self.translation
        return Problem(self.problem.id, made.statement, self.problem.difficulty, self.program, made.tests)

    def as_row(self) -> dict[str, Any]:
        """The row that `plm.datamodules.CodeFiles` reads."""
        made = self.as_problem()
        tests = [test._asdict() for test in made.tests]
        row = {"id": made.id, "prompt": made.prompt, "tests": tests, "reference": self.program}
        return {**row, "domain": made.domain, "answers": {"teacher": list(self.samples)}, "verified": self.verified}
