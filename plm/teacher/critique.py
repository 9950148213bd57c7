"""Has a teacher break correct programs and say what is wrong with them (TSK-3; §4.2, App. E.2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plm.records import Problem
from plm.teacher.checks import Checks
from plm.teacher.client import Client
from plm.teacher.critique_prompts import BrokenProgram, break_prompt, draw_examples, is_short_enough, read_broken
from plm.teacher.meter import Meter
from plm.teacher.prompts import BadReplyError, again_prompt
from plm.teacher.replies import Choice, chat_request

_SHOWN_REPLY = 4_000  # characters of an unusable reply in the report; all of it is in the cache
FAULTS = {
    "harmless": "the program that you made still passes all tests; its mistake must make some output wrong",
    "compile": "the program that you made does not compile",
}
"""Why a program that was read is no use, as the teacher is told."""


@dataclass(eq=False)
class Critique:
    """A problem on its way to a critique.

    Args:
        problem: With tests and a correct program.
        broken: What the teacher made of it.
        failed: How the broken program fails, a reason of the grader.
        dropped: Why it is left out, a key of `report.WHY`; empty while it is not.
        detail: More about that.
    """

    problem: Problem
    broken: BrokenProgram | None = None
    failed: str = ""
    dropped: str = ""
    detail: str = ""

    def drop(self, reason: str, detail: str = "") -> None:
        """Leaves the problem out."""
        self.dropped, self.detail = reason, detail

    def as_row(self) -> dict[str, Any]:
        """The row that `plm.datamodules.CritiqueFiles` reads; the last two columns are for people."""
        assert self.broken is not None
        return {
            "id": self.problem.id, "problem": self.problem.prompt, "program": self.broken.program,
            "critique": self.broken.critique, "reference": self.problem.reference, "failed": self.failed,
        }  # fmt: skip


@dataclass
class CritiqueTeacher:
    """Breaks one program of each problem, all problems at once, and keeps what fails a test.

    Args:
        client: Asks the teacher.
        checks: Runs programs.
        meter: Counts tokens.
        model: The teacher's name at its endpoint.
        attempts: How often a broken program is asked for, the later times with what is wrong with the one before.
        max_tokens: Length limit of each text.
        more: Fields of the requests' bodies, as for `chat_request`.
    """

    client: Client
    checks: Checks
    meter: Meter
    model: str
    attempts: int = 2
    max_tokens: int = 4096
    more: Mapping[str, Any] = field(default_factory=dict)
    unusable: list[dict[str, str]] = field(default_factory=list, init=False)
    """Replies that were no use: `id`, `step`, `fault`, `reply`."""

    def make(self, problems: Sequence[Problem]) -> list[Critique]:
        """Makes what can be made of problems with tests and a correct program; what cannot says why.

        Raises:
            PlmError: If the endpoint or the sandbox fails for good; what was done until then is on disk.
        """
        critiques = [Critique(problem) for problem in problems]
        for one in critiques:
            if not is_short_enough(one.problem):
                one.drop("long")
        self._check_references([one for one in critiques if not one.dropped])
        self._break([one for one in critiques if not one.dropped])
        return critiques

    def _check_references(self, critiques: Sequence[Critique]) -> None:
        """Only of a program that passes its tests does a failed one say anything."""
        reasons = self._grade("correct programs", critiques, [one.problem.reference for one in critiques])
        for one, reason in zip(critiques, reasons, strict=True):
            if reason != "correct":
                one.drop("reference", reason)

    def _break(self, critiques: Sequence[Critique]) -> None:
        talks = {
            one: [{"role": "user", "content": break_prompt(one.problem, draw_examples(one.problem))}]
            for one in critiques
        }
        faults: dict[Critique, tuple[str, str]] = {}
        for attempt in range(self.attempts):
            pending = list(faults if attempt else critiques)
            name = "break" if attempt == 0 else f"break again ({attempt + 1})"
            choices = self._ask(name, {one: talks[one] for one in pending})
            faults = self._read(choices)
            for one, (_, fault) in faults.items():
                talks[one] += [
                    {"role": "assistant", "content": choices[one].text},
                    {"role": "user", "content": again_prompt(fault)},
                ]
        for one, (reason, fault) in faults.items():
            one.drop(reason, fault)

    def _ask(self, name: str, talks: Mapping[Critique, list[dict[str, str]]]) -> dict[Critique, Choice]:
        """The one text of each reply; a problem without a reply is dropped."""
        requests = [
            chat_request(self.model, talk, max_tokens=self.max_tokens, more=self.more) for talk in talks.values()
        ]
        with self.meter.stage(name, len(requests)) as stage:
            replies = self.client.ask(requests, stage.reply)
        choices: dict[Critique, Choice] = {}
        for one, reply in zip(talks, replies, strict=True):
            if reply.error:
                one.drop("refused" if reply.refused else "malformed", reply.error)
            else:
                choices[one] = reply.choices[0]
        return choices

    def _read(self, choices: Mapping[Critique, Choice]) -> dict[Critique, tuple[str, str]]:
        """Reads and runs; returns why a broken program is no use, for those of which it is not."""
        faults: dict[Critique, tuple[str, str]] = {}
        for one, choice in choices.items():
            one.broken = None
            try:
                one.broken = read_broken(one.problem, choice)
            except BadReplyError as error:
                faults[one] = ("no break", self._note(one, str(error), choice))
        read = [(one, one.broken) for one in choices if one.broken is not None]
        reasons = self._grade("run what was broken", [one for one, _ in read], [made.program for _, made in read])
        for (one, _), reason in zip(read, reasons, strict=True):
            one.failed = reason
            if (fault := {"correct": "harmless"}.get(reason, reason)) in FAULTS:
                faults[one] = (fault, self._note(one, FAULTS[fault], choices[one]))
        return faults

    def _grade(self, name: str, critiques: Sequence[Critique], programs: Sequence[str]) -> list[str]:
        with self.meter.stage(name, len(programs)) as stage:
            return self.checks.grade([one.problem for one in critiques], programs, stage.advance)

    def _note(self, one: Critique, fault: str, choice: Choice) -> str:
        self.unusable.append(
            {"id": one.problem.id, "step": "break", "fault": fault, "reply": choice.text[:_SHOWN_REPLY]}
        )
        return fault
