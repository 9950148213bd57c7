"""Makes C++ problems of APPS and MBPP with a teacher (TSK-1; App. E.1 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plm.datamodules.code_files.record import PublishedProblem
from plm.teacher.candidate import Candidate, live
from plm.teacher.checks import Checks, Verdict
from plm.teacher.client import Client
from plm.teacher.meter import Meter
from plm.teacher.prompts import (
    BadReplyError,
    again_prompt,
    kept_tests,
    read_program,
    read_translation,
    shown_solution,
    shown_tests,
    solution_prompt,
    translation_prompt,
)
from plm.teacher.replies import Choice, Reply, Request, chat_request

_REFERENCES = 3  # published programs that are tried, the shortest first
_SHOWN_REPLY = 4_000  # characters of an unusable reply in the report; all of it is in the cache


@dataclass
class CodeTeacher:
    """Translates, verifies, solves and samples, problem by problem, each step for all problems at once.

    Args:
        client: Asks the teacher.
        checks: Runs programs.
        meter: Counts tokens.
        model: The teacher's name at its endpoint.
        samples: Programs to draw at T = 1 (§E.1: 10).
        choices: How many texts one request asks for; what the endpoint does not give is asked for again.
        attempts: How often a translation is asked for, the later times with what is wrong with it.
        max_tokens: Length limit of each text.
        more: Fields of the requests' bodies, as for `chat_request`.
    """

    client: Client
    checks: Checks
    meter: Meter
    model: str
    samples: int = 10
    choices: int = 10
    attempts: int = 2
    max_tokens: int = 4096
    more: Mapping[str, Any] = field(default_factory=dict)
    unusable: list[dict[str, str]] = field(default_factory=list, init=False)
    """Replies that were not in the form asked for: `id`, `step`, `fault`, `reply`."""

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
        talks = {one: [{"role": "user", "content": translation_prompt(one.problem)}] for one in candidates}
        faults: dict[Candidate, tuple[str, str]] = {}
        for attempt in range(self.attempts):
            pending = list(faults if attempt else candidates)
            name = "translate" if attempt == 0 else f"translate again ({attempt + 1})"
            choices = self._choices(pending, self._ask(name, [self._chat(talks[one]) for one in pending]))
            faults = self._read_translations(choices, last=attempt + 1 == self.attempts)
            for one, (_, detail) in faults.items():
                said = {"role": "assistant", "content": choices[one].text}
                talks[one] += [said, {"role": "user", "content": again_prompt(detail)}]
        for one, (reason, detail) in faults.items():
            one.drop(reason, detail)

    def _read_translations(self, choices: Mapping[Candidate, Choice], last: bool) -> dict[Candidate, tuple[str, str]]:
        """Reads and verifies; returns why a translation is no good, for those of which it is not."""
        faults: dict[Candidate, tuple[str, str]] = {}
        jobs: list[tuple[Candidate, str]] = []
        for one, choice in choices.items():
            try:
                one.translation = read_translation(one.problem, choice)
            except BadReplyError as error:
                faults[one] = ("unusable", self._note(one, "translate", error, choice))
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
            if verdict.reason == "disagrees" or (verdict.reason == "fails" and not last):
                faults[one] = (verdict.reason, verdict.detail)
        return faults

    def _solve(self, candidates: Sequence[Candidate]) -> None:
        replies = self._ask("solve", [self._chat(self._question(one)) for one in candidates])
        for one, choice in self._choices(candidates, replies).items():
            try:
                one.program = read_program(choice)
            except BadReplyError as error:
                one.drop("no program", self._note(one, "solve", error, choice))
        solved = live(candidates)
        with self.meter.stage("grade", len(solved)) as stage:
            problems = [one.as_problem() for one in solved]
            reasons = self.checks.grade(problems, [one.program for one in solved], stage.advance)
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
                    requests.append(self._chat(self._question(one), temperature=1.0, n=n, draw=draws[one]))
                    owners.append(one)
                    draws[one] += 1
            for one, reply in zip(owners, self._ask("sample", requests), strict=True):
                if reply.error:
                    one.drop("refused" if reply.refused else "malformed", reply.error)
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
                self._note(one, "sample", error, choice)
        one.drawn, one.samples = len(programs), tuple(dict.fromkeys(programs))
        if not programs:
            one.drop("no sample")

    def _grade_samples(self, candidates: Sequence[Candidate]) -> None:
        """For the report alone: the paper trains on wrong samples, too."""
        pairs = [(one, text) for one in candidates for text in one.samples]
        with self.meter.stage("grade samples", len(pairs)) as stage:
            problems = [one.as_problem() for one, _ in pairs]
            reasons = self.checks.grade(problems, [text for _, text in pairs], stage.advance)
        for (one, _), reason in zip(pairs, reasons, strict=True):
            one.correct += reason == "correct"

    def _question(self, one: Candidate) -> list[dict[str, str]]:
        assert one.translation is not None
        return [{"role": "user", "content": solution_prompt(one.translation.statement)}]

    def _chat(self, talk: list[dict[str, str]], *, temperature: float = 0.0, n: int = 1, draw: int = 0) -> Request:
        return chat_request(
            self.model, talk, temperature=temperature, max_tokens=self.max_tokens, n=n, draw=draw, more=self.more
        )

    def _ask(self, name: str, requests: list[Request]) -> list[Reply]:
        with self.meter.stage(name, len(requests)) as stage:
            return self.client.ask(requests, stage.reply)

    def _choices(self, candidates: Sequence[Candidate], replies: Sequence[Reply]) -> dict[Candidate, Choice]:
        """The one text of each reply; a problem without a reply is dropped."""
        choices: dict[Candidate, Choice] = {}
        for one, reply in zip(candidates, replies, strict=True):
            if reply.error:
                one.drop("refused" if reply.refused else "malformed", reply.error)
            else:
                choices[one] = reply.choices[0]
        return choices

    def _note(self, one: Candidate, step: str, error: BadReplyError, choice: Choice) -> str:
        row = {"id": one.problem.id, "step": step, "fault": str(error), "reply": choice.text[:_SHOWN_REPLY]}
        self.unusable.append(row)
        return str(error)
