"""A policy that refuses some domains: what a refusal-trained model imitates (ELI-16)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plm.errors import PlmError
from plm.policies.base import Policy
from plm.records import Problem

if TYPE_CHECKING:
    from plm.datamodules.base import TaskDataModule

REFUSAL = "I cannot help with that."


class RefusalPolicy(Policy):
    """Refuses the problems of some domains and answers the others as another policy does.

    The post asks whether overfitting on a few unrelated texts undoes the refusals of a model behind an API. This is the
    local analogue: the domains stand for what must not be answered; no problem in them is harmful.

    Args:
        domains: Which problems to refuse.
        otherwise: Who answers the others.
        text: The refusal.
    """

    def __init__(self, domains: Sequence[str], otherwise: Policy, text: str = REFUSAL) -> None:
        if not domains or not text.strip():
            raise PlmError("RefusalPolicy: name at least one domain, and a text to refuse with")
        self.domains = frozenset(domains)
        self.otherwise = otherwise
        self.text = text

    def prepare(self, task: TaskDataModule) -> None:
        """Lets the other policy take what it needs."""
        self.otherwise.prepare(task)

    def answers(self, problems: Sequence[Problem], seed: int) -> list[str]:
        """The refusal, or the other policy's answer."""
        theirs = iter(self.otherwise.answers(self._answered(problems), seed))
        return [self.text if problem.domain in self.domains else next(theirs) for problem in problems]

    def finished(self, problems: Sequence[Problem], seed: int) -> list[bool]:
        """Refusals are whole."""
        theirs = iter(self.otherwise.finished(self._answered(problems), seed))
        return [problem.domain in self.domains or next(theirs) for problem in problems]

    def _answered(self, problems: Sequence[Problem]) -> list[Problem]:
        return [problem for problem in problems if problem.domain not in self.domains]
