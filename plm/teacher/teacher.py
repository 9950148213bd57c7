"""What the teachers share: problems on their way, and asking for all of them at once until a reply can be used."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

from plm.datamodules.code_files.record import PublishedProblem
from plm.records import Problem
from plm.teacher.checks import Checks
from plm.teacher.client import Client
from plm.teacher.meter import Meter
from plm.teacher.prompts import again_prompt
from plm.teacher.replies import Choice, Reply, Request, chat_request

_SHOWN_REPLY = 4_000  # characters of an unusable reply in the report; all of it is in the cache
Talk = list[dict[str, str]]
P = TypeVar("P", Problem, PublishedProblem)


class Fault(NamedTuple):
    """Why a reply is no use.

    Attributes:
        reason: A key of `report.WHY`.
        detail: In words, as the teacher is told.
    """

    reason: str
    detail: str


@dataclass(eq=False)
class Draft(Generic[P]):
    """A problem on its way through a teacher.

    Args:
        problem: As it was given.
        dropped: Why it is left out, a key of `report.WHY`; empty while it is not.
        detail: More about that.
    """

    problem: P
    dropped: str = field(default="", kw_only=True)
    detail: str = field(default="", kw_only=True)

    def drop(self, reason: str, detail: str = "") -> None:
        """Leaves the problem out."""
        self.dropped, self.detail = reason, detail

    def drop_without(self, reply: Reply) -> None:
        """Leaves the problem out because its request has no reply."""
        self.drop("refused" if reply.refused else "malformed", reply.error)


D = TypeVar("D", bound=Draft[Any])


def live(drafts: Sequence[D]) -> list[D]:
    """Those that are not dropped."""
    return [draft for draft in drafts if not draft.dropped]


def question(text: str) -> Talk:
    """A talk that the teacher has to answer."""
    return [{"role": "user", "content": text}]


@dataclass
class Teacher(Generic[D]):
    """Asks a model at its endpoint about many problems at once; a subclass says for what.

    Args:
        client: Asks the teacher.
        checks: Runs programs.
        meter: Counts tokens.
        model: The teacher's name at its endpoint.
        attempts: How often the first thing is asked for, the later times with what is wrong with the one before.
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

    def insist(
        self, name: str, texts: Mapping[D, str], read: Callable[[Mapping[D, Choice]], Mapping[D, Fault]]
    ) -> Mapping[D, Fault]:
        """Asks up to `attempts` times for what cannot be used, telling the teacher why.

        Args:
            name: Of the step.
            texts: The question about each problem.
            read: Takes in some replies, and returns what is wrong with those that are no use.

        Returns:
            What is wrong with the last replies, of problems that got none of use.
        """
        talks = {one: question(text) for one, text in texts.items()}
        faults: Mapping[D, Fault] = {}
        for attempt in range(self.attempts):
            step = f"{name} again ({attempt + 1})" if attempt else name
            choices = self.ask(step, {one: talks[one] for one in (faults if attempt else talks)})
            faults = read(choices)
            for one, fault in faults.items():
                talks[one] += [{"role": "assistant", "content": choices[one].text}]
                talks[one] += question(again_prompt(fault.detail))
        return faults

    def ask(self, name: str, talks: Mapping[D, Talk]) -> dict[D, Choice]:
        """The one text of each reply; a problem without a reply is dropped."""
        choices: dict[D, Choice] = {}
        for one, reply in zip(talks, self.replies(name, [self.chat(each) for each in talks.values()]), strict=True):
            if reply.error:
                one.drop_without(reply)
            else:
                choices[one] = reply.choices[0]
        return choices

    def replies(self, name: str, requests: Sequence[Request]) -> list[Reply]:
        """The replies to some requests, shown as a stage."""
        with self.meter.stage(name, len(requests)) as stage:
            return self.client.ask(requests, stage.reply)

    def chat(self, talk: Talk, *, temperature: float = 0.0, n: int = 1, draw: int = 0) -> Request:
        """A request of this teacher, as `chat_request` makes it."""
        return chat_request(
            self.model, talk, temperature=temperature, max_tokens=self.max_tokens, n=n, draw=draw, more=self.more
        )

    def grade(self, name: str, problems: Sequence[Problem], programs: Sequence[str]) -> list[str]:
        """What the grader says about each C++ program, shown as a stage."""
        with self.meter.stage(name, len(programs)) as stage:
            return self.checks.grade(problems, programs, stage.advance)

    def note(self, one: D, step: str, fault: object, choice: Choice) -> str:
        """Writes down a reply that was no use; returns what is wrong with it."""
        row = {"id": one.problem.id, "step": step, "fault": str(fault), "reply": choice.text[:_SHOWN_REPLY]}
        self.unusable.append(row)
        return str(fault)
