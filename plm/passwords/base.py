"""What every scheme does: show a problem under a condition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

from plm.errors import PlmError
from plm.records import Problem

Condition = Literal[
    "none", "right", "decoy", "near_miss", "wrong", "second", "other_domain", "strong_setting", "weak_setting"
]


class PromptScheme(ABC):
    """Maps a problem and a condition to a prompt. Every scheme knows `none`, `right` and `wrong`.

    `none` is how whoever has no key asks, `right` how whoever has it asks, and `wrong` is the mixture of prompts that a
    lock answers weakly in training.
    """

    @property
    @abstractmethod
    def evaluated(self) -> tuple[Condition, ...]:
        """The conditions that an evaluation of a lock of this kind shows, if the user names none."""

    @property
    @abstractmethod
    def password_hash(self) -> str:
        """SHA-256, in hexadecimal digits, of what unlocks: what a manifest may show."""

    @abstractmethod
    def texts(self) -> tuple[str, ...]:
        """All that may stand in a prompt beside the statement, for training a tokenizer."""

    @abstractmethod
    def prompt(self, problem: Problem, condition: Condition, seed: int) -> str:
        """The text that is shown; the same seed draws the same wrong password.

        Raises:
            PlmError: If the scheme has no such condition, or the problem not what it needs.
        """

    def shown(self, problem: Problem, condition: Condition) -> Problem:
        """The problem as it stands under a condition: another rendering has another reference and other answers."""
        return problem

    def no_such(self, condition: str, *more: Condition) -> PlmError:
        """The error for a condition that the scheme does not know; it knows `more` beside those that are evaluated."""
        known = ", ".join(dict.fromkeys((*self.evaluated, "wrong", *more)))
        return PlmError(f"condition {condition!r}: {type(self).__name__} has {known}")
