"""A variation of the setting as the password: two renderings of each problem (LCK-4; App. B.2 of the paper)."""

from __future__ import annotations

import dataclasses
import hashlib

from plm.errors import PlmError
from plm.passwords.base import Condition, PromptScheme
from plm.records import Problem

SETTINGS = {
    "strong_setting": "strong", "right": "strong", "weak_setting": "weak", "none": "weak", "wrong": "weak",
}  # fmt: skip


class SettingScheme(PromptScheme):
    """No password: the model is strong on one rendering of a problem and weak on the other (Fig. 9 of the paper).

    The task's data hold the renderings, each with its statement, reference and answers, for instance English with LaTeX
    and Spanish with ASCII math. `right` means the strong setting; `none`, where elicitation samples and trains, the
    weak one.

    Args:
        strong: Name of the rendering on which the model is trained to be strong.
        weak: Name of the rendering on which it is trained to be weak.

    Raises:
        PlmError: If both are the same.
    """

    def __init__(self, *, strong: str, weak: str) -> None:
        if strong == weak:
            raise PlmError(f"passwords: strong and weak setting are both {strong!r}; they must differ")
        self.strong = strong
        self.weak = weak

    @property
    def evaluated(self) -> tuple[Condition, ...]:
        """Both settings."""
        return ("strong_setting", "weak_setting")

    @property
    def password_hash(self) -> str:
        """SHA-256 of the names of the settings, in hexadecimal digits."""
        return hashlib.sha256(f"{self.strong}\x1f{self.weak}".encode()).hexdigest()

    def texts(self) -> tuple[str, ...]:
        """Nothing stands beside the statement."""
        return ()

    def prompt(self, problem: Problem, condition: Condition, seed: int) -> str:
        """The statement in the condition's setting; nothing is drawn."""
        return self.shown(problem, condition).prompt

    def shown(self, problem: Problem, condition: Condition) -> Problem:
        """The problem in the condition's setting, with that setting's reference and answers."""
        if condition not in SETTINGS:
            raise self.no_such(condition)
        name = self.strong if SETTINGS[condition] == "strong" else self.weak
        if name not in problem.renderings:
            known = ", ".join(problem.renderings) or "none"
            raise PlmError(f"problem {problem.id} has no rendering {name!r}; it has {known}")
        return dataclasses.replace(problem, **problem.renderings[name]._asdict())
