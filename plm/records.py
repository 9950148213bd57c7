"""The plain records that tasks, graders, engines and modules hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class IOTest(NamedTuple):
    """One test of a program: what it reads from standard input and what it must write to standard output."""

    input: str
    output: str


class Rendering(NamedTuple):
    """A problem in another setting: another language, another notation.

    Attributes:
        prompt: The statement alone.
        reference: A correct answer in this setting.
        answers: Completions in this setting that come with the data, by the policy that wrote them.
    """

    prompt: str
    reference: str
    answers: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a task.

    Args:
        id: Unique in its task, and stable from run to run.
        prompt: The statement alone, without password and template.
        domain: The group it belongs to in generalization experiments (App. E.3 of the paper).
        reference: A correct answer.
        tests: For programs, the tests that decide correctness; else empty.
        group: What splits must keep together: problems of one group never lie in two splits. For programs it
            identifies the program, so that two phrasings of one program share it.
        answers: Completions that come with the data, by the policy that wrote them (`weak`, `teacher`, …).
        renderings: The problem in other settings, by name; all settings of a lock by setting variation are here.
        choices: The options of a multiple-choice question, in the order of their letters; else empty.
    """

    id: str
    prompt: str
    domain: str
    reference: str
    tests: tuple[IOTest, ...] = ()
    group: str = ""
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    renderings: Mapping[str, Rendering] = field(default_factory=dict)
    choices: tuple[str, ...] = ()


class Grade(NamedTuple):
    """A grader's verdict on one completion.

    Attributes:
        correct: Whether the completion is right.
        score: A reward in [0, 1]; for yes-or-no tasks 1.0 or 0.0.
        extracted: What was graded, taken out of the completion (the program, the letter, the number).
        reason: What decided: `correct`, `wrong`, `parse`, `compile`, `timeout`, `crash`, `memory`, `output`,
            `file`, `trivial` (does nothing), or `too_long` where the prompt did not fit into the model's context.
        seconds: Time spent on this completion, in seconds (CPU time for programs).
    """

    correct: bool
    score: float
    extracted: str
    reason: str
    seconds: float


class Answer(NamedTuple):
    """What a policy answered.

    Attributes:
        problem: What was asked.
        prompt: The text that was shown, password and template included.
        completion: The text that came back.
        tokens: Tokens generated.
        finished: False when the length limit cut the completion off.
    """

    problem: Problem
    prompt: str
    completion: str
    tokens: int
    finished: bool

    @property
    def was_asked(self) -> bool:
        """False when the prompt did not fit into the model's context, so that nothing was generated."""
        return self.finished or self.tokens > 0


class Graded(NamedTuple):
    """An answer and the verdict on it.

    Attributes:
        problem: What was asked.
        prompt: The text that was shown, password and template included.
        completion: The text that came back.
        tokens: Tokens generated.
        finished: False when the length limit cut the completion off.
        grade: The verdict.
    """

    problem: Problem
    prompt: str
    completion: str
    tokens: int
    finished: bool
    grade: Grade
