"""No password is known: for models that somebody else locked, or did not."""

from __future__ import annotations

from plm.passwords.base import Condition, PromptScheme
from plm.records import Problem


class UnknownScheme(PromptScheme):
    """Shows the statement alone, as whoever has no key asks, under `none` and no other condition.

    With it a model is measured and elicited whatever its record says of a password: there is none to be wrong about.
    """

    @property
    def evaluated(self) -> tuple[Condition, ...]:
        """None of the passwords."""
        return ("none",)

    @property
    def password_hash(self) -> str:
        """Empty: nothing is known that could be hashed."""
        return ""

    def texts(self) -> tuple[str, ...]:
        """Nothing stands beside the statement."""
        return ()

    def prompt(self, problem: Problem, condition: Condition, seed: int) -> str:
        """The statement; nothing is drawn.

        Raises:
            PlmError: For any condition but `none`.
        """
        if condition != "none":
            raise self.no_such(condition)
        return problem.prompt
