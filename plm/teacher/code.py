"""Makes C++ problems of APPS and MBPP with a teacher (TSK-1; App. E.1 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plm.datamodules.code_files.record import PublishedProblem
from plm.teacher.candidate import Candidate
from plm.teacher.checks import Verdict
from plm.teacher.prompts import (
    BadReplyError,
    kept_tests,
    read_program,
    read_translation,
    shown_solution,
    shown_tests,
    solution_prompt,
    translation_prompt,
)
from plm.teacher.replies import Choice, Request
from plm.teacher.teacher import Fault, Talk, Teacher, live, question

_REFERENCES = 3  # published programs that are tried, the shortest first
_ON_THE_TEACHER = "fails"  # a published program that does not run says nothing: in the end the teacher's word counts


@dataclass
class CodeTeacher(Teacher[Candidate]):
    """Translates, verifies, solves and samples, problem by problem, each step for all problems at once.

    Args:
        client: Asks the teacher.
        checks: Runs programs.
        meter: Counts tokens.
        model: The teacher's name at its endpoint.
        attempts: How often a translation is asked for, the later times with what is wrong with it.
        max_tokens: Length limit of each text.
        more: Fields of the requests' bodies, as for `chat_request`.
        samples: Programs to draw at T = 1 (§E.1: 10).
        choices: How many texts one request asks for; what the endpoint does not give is asked for again.
    """

    samples: int = 10
    choices: int = 10

    def make(self, problems: Sequence[PublishedProblem]) -> list[Candidate]:
        """Makes what can be made of problems that have tests; what cannot says why.

        Raises:
            PlmError: If the endpoint or the sandbox fails for good; what was done until then is on disk.
        """
        candidates = [Candidate(problem) for problem in problems]
        for candidate in candidates:
            shown = (
                kept_tests(candidate.problem) if candidate.problem.kind == "stdin" else shown_tests(candidate.problem)
            )
            if not shown:
                candidate.drop("too long")
        self._verify_published(live(candidates))
        self._translate(live(candidates))
        self._solve(live(candidates))
        self._sample(live(candidates))
        return candidates

    def _verify_published(self, candidates: Sequence[Candidate]) -> None:
        """Tests of standard input and output stay as they are: they are verified before anything is paid for."""
        ready = [candidate for candidate in candidates if candidate.problem.kind == "stdin"]
        jobs = [
            (candidate, program)
            for candidate in ready
            for program in sorted(candidate.problem.solutions, key=lambda text: (len(text), text))[:_REFERENCES]
            if program.strip()
        ]
        verdicts: dict[Candidate, list[Verdict]] = {candidate: [] for candidate in ready}
        with self.meter.stage("published programs", len(jobs)) as stage:
            found = self.checks.verify([(text, kept_tests(one.problem)) for one, text in jobs], stage.advance)
        for (candidate, _), verdict in zip(jobs, found, strict=True):
            verdicts[candidate].append(verdict)
        for candidate, said in verdicts.items():
            reasons = [verdict.reason for verdict in said]
            candidate.verified = "reference" if "agrees" in reasons else "teacher"
            if "disagrees" in reasons and "agrees" not in reasons:
                candidate.drop("disagrees", said[reasons.index("disagrees")].detail)

    def _translate(self, candidates: Sequence[Candidate]) -> None:
        texts = {one: translation_prompt(one.problem) for one in candidates}
        for one, fault in self.insist("translate", texts, self._read_translations).items():
            if fault.reason != _ON_THE_TEACHER:
                one.drop(*fault)

    def _read_translations(self, choices: Mapping[Candidate, Choice]) -> dict[Candidate, Fault]:
        """Reads and verifies; returns why a translation is no good, for those of which it is not."""
        faults: dict[Candidate, Fault] = {}
        jobs: list[tuple[Candidate, str]] = []
        for one, choice in choices.items():
            try:
                one.translation = read_translation(one.problem, choice)
            except BadReplyError as error:
                faults[one] = Fault("unusable", self.note(one, "translate", error, choice))
                continue
            if one.problem.kind != "stdin":
                one.verified = "teacher"
                if solution := shown_solution(one.problem):
                    jobs.append((one, f"{solution}\n\n{one.translation.glue}\n"))
        with self.meter.stage("verify with Python", len(jobs)) as stage:
            texts = [(program, one.translation.tests) for one, program in jobs if one.translation is not None]
            verdicts = self.checks.verify(texts, stage.advance)
        for (one, _), verdict in zip(jobs, verdicts, strict=True):
            one.verified = "reference" if verdict.reason == "agrees" else "teacher"
            if verdict.reason != "agrees":
                faults[one] = Fault(verdict.reason, verdict.detail)
        return faults

    def _solve(self, candidates: Sequence[Candidate]) -> None:
        for one, choice in self.ask("solve", {one: _exercise(one) for one in candidates}).items():
            try:
                one.program = read_program(choice)
            except BadReplyError as error:
                one.drop("no program", self.note(one, "solve", error, choice))
        solved = live(candidates)
        reasons = self.grade("grade", [one.as_problem() for one in solved], [one.program for one in solved])
        for one, reason in zip(solved, reasons, strict=True):
            if reason != "correct":
                one.drop("not solved", f"{reason}; tests verified by the {one.verified}")

    def _sample(self, candidates: Sequence[Candidate]) -> None:
        texts: dict[Candidate, list[Choice]] = {one: [] for one in candidates}
        draws = dict.fromkeys(candidates, 0)
        pending = list(candidates)
        while pending:
            owners: list[Candidate] = []
            requests: list[Request] = []
            for one in pending:
                missing = self.samples - len(texts[one])
                for start in range(0, missing, self.choices):
                    n = min(self.choices, missing - start)
                    requests.append(self.chat(_exercise(one), temperature=1.0, n=n, draw=draws[one]))
                    owners.append(one)
                    draws[one] += 1
            for one, reply in zip(owners, self.replies("sample", requests), strict=True):
                if reply.error:
                    one.drop_without(reply)
                texts[one] += reply.choices
            pending = [one for one in live(pending) if len(texts[one]) < self.samples]
        for one in live(candidates):
            self._read_samples(one, texts[one][: self.samples])
        self._grade_samples(live(candidates))

    def _read_samples(self, one: Candidate, choices: Sequence[Choice]) -> None:
        programs: list[str] = []
        for choice in choices:
            try:
                programs.append(read_program(choice))
            except BadReplyError as error:
                self.note(one, "sample", error, choice)
        one.drawn, one.samples = len(programs), tuple(dict.fromkeys(programs))
        if not programs:
            one.drop("no sample")

    def _grade_samples(self, candidates: Sequence[Candidate]) -> None:
        """For the report alone: the paper trains on wrong samples, too."""
        pairs = [(one, text) for one in candidates for text in one.samples]
        reasons = self.grade("grade samples", [one.as_problem() for one, _ in pairs], [text for _, text in pairs])
        for (one, _), reason in zip(pairs, reasons, strict=True):
            one.correct += reason == "correct"


def _exercise(one: Candidate) -> Talk:
    """What a program is asked for with."""
    assert one.translation is not None
    return question(solution_prompt(one.translation.statement))
