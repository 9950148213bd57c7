"""Has a teacher break correct programs and say what is wrong with them (TSK-3; §4.2, App. E.2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plm.records import Problem
from plm.teacher.critique_prompts import BrokenProgram, break_prompt, draw_examples, is_short_enough, read_broken
from plm.teacher.prompts import BadReplyError
from plm.teacher.replies import Choice
from plm.teacher.teacher import Draft, Fault, Teacher, live

FAULTS = {
    "harmless": "the program that you made still passes all tests; its mistake must make some output wrong",
    "compile": "the program that you made does not compile",
}
"""Why a program that was read is no use, as the teacher is told."""


@dataclass(eq=False)
class Critique(Draft[Problem]):
    """A problem on its way to a critique.

    Args:
        problem: With tests and a correct program.
        broken: What the teacher made of it.
        failed: How the broken program fails, a reason of the grader.
        dropped: Why it is left out, a key of `report.WHY`; empty while it is not.
        detail: More about that.
    """

    broken: BrokenProgram | None = None
    failed: str = ""

    def as_row(self) -> dict[str, Any]:
        """The row that `plm.datamodules.CritiqueFiles` reads; the last two columns are for people."""
        assert self.broken is not None
        return {
            "id": self.problem.id, "problem": self.problem.prompt, "program": self.broken.program,
            "critique": self.broken.critique, "reference": self.problem.reference, "failed": self.failed,
        }  # fmt: skip


class CritiqueTeacher(Teacher[Critique]):
    """Breaks one program of each problem, all problems at once, and keeps what fails a test."""

    def make(self, problems: Sequence[Problem]) -> list[Critique]:
        """Makes what can be made of problems with tests and a correct program; what cannot says why.

        Raises:
            PlmError: If the endpoint or the sandbox fails for good; what was done until then is on disk.
        """
        critiques = [Critique(problem) for problem in problems]
        for one in critiques:
            if not is_short_enough(one.problem):
                one.drop("long")
        self._check_references(live(critiques))
        self._break(live(critiques))
        return critiques

    def _check_references(self, critiques: Sequence[Critique]) -> None:
        """Only of a program that passes its tests does a failed one say anything."""
        problems = [one.problem for one in critiques]
        reasons = self.grade("correct programs", problems, [problem.reference for problem in problems])
        for one, reason in zip(critiques, reasons, strict=True):
            if reason != "correct":
                one.drop("reference", reason)

    def _break(self, critiques: Sequence[Critique]) -> None:
        texts = {one: break_prompt(one.problem, draw_examples(one.problem)) for one in critiques}
        for one, fault in self.insist("break", texts, self._read).items():
            one.drop(*fault)

    def _read(self, choices: Mapping[Critique, Choice]) -> dict[Critique, Fault]:
        """Reads and runs; returns why a broken program is no use, for those of which it is not."""
        faults: dict[Critique, Fault] = {}
        for one, choice in choices.items():
            one.broken = None
            try:
                one.broken = read_broken(one.problem, choice)
            except BadReplyError as error:
                faults[one] = Fault("no break", self.note(one, "break", error, choice))
        read = [(one, one.broken) for one in choices if one.broken is not None]
        problems = [one.problem for one, _ in read]
        reasons = self.grade("run what was broken", problems, [made.program for _, made in read])
        for (one, _), reason in zip(read, reasons, strict=True):
            one.failed = reason
            if (fault := {"correct": "harmless"}.get(reason, reason)) in FAULTS:
                faults[one] = Fault(fault, self.note(one, "break", FAULTS[fault], choices[one]))
        return faults
