"""What every policy does: answer problems. A module asks one for the completions that it imitates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plm.records import Problem

if TYPE_CHECKING:
    from plm.datamodules.base import TaskDataModule


class Policy(ABC):
    """Answers problems."""

    def prepare(self, task: TaskDataModule) -> None:  # noqa: B027  (most policies need nothing)
        """Takes what it needs of the task, such as a tokenizer. Called before the first answers; again is no harm."""

    @abstractmethod
    def answers(self, problems: Sequence[Problem], seed: int) -> list[str]:
        """One completion for each problem; the seed picks it where the policy is random."""

    def finished(self, problems: Sequence[Problem], seed: int) -> list[bool]:
        """Whether each of `answers(problems, seed)` came to its end: after one that was cut off no end is trained."""
        return [True for _ in problems]
