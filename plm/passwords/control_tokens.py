"""Control tokens before a text, as in conditional pretraining: one for good texts, one for others (LCK-12)."""

from __future__ import annotations

import hashlib

from plm.errors import PlmError
from plm.passwords.base import Condition, PromptScheme
from plm.records import Problem


class ControlTokenScheme(PromptScheme):
    """The prompt starts with a line that says whether what follows is good: the post's "decision-transformer style".

    `<|good|>` stands before texts that a judge found right, `<|bad|>` before the others (Korbak et al. 2023,
    "Pretraining Language Models with Human Preferences", call it conditional training). The first is what unlocks:
    `right`. The second is what whoever has no key writes: `none`, and so is `wrong`. `decoy` is no token at all, which
    no text of training was without; nothing says what it means, so it is measured only where it is asked for.

    The tokens are text like any other: a tokenizer of its own makes a few tokens of each, where that paper adds one.

    Args:
        good: Before texts that comply.
        bad: Before texts that do not.

    Raises:
        PlmError: If one of them is blank or has several lines, or both are the same.
    """

    def __init__(self, *, good: str = "<|good|>", bad: str = "<|bad|>") -> None:
        for name, text in (("good", good), ("bad", bad)):
            if not text.strip() or text != text.strip() or "\n" in text:
                raise PlmError(f"passwords: {name} {text!r} must be one line, without blanks around it")
        if good == bad:
            raise PlmError(f"passwords: good and bad are both {good!r}; they must differ")
        self.good = good
        self.bad = bad

    @property
    def evaluated(self) -> tuple[Condition, ...]:
        """Both tokens."""
        return ("right", "none")

    @property
    def password_hash(self) -> str:
        """SHA-256 of the tokens, in hexadecimal digits."""
        return hashlib.sha256(f"{self.good}\x1f{self.bad}".encode()).hexdigest()

    def texts(self) -> tuple[str, ...]:
        """Both tokens."""
        return (self.good, self.bad)

    def prompt(self, problem: Problem, condition: Condition, seed: int) -> str:
        """The token and the statement, a line each; nothing is drawn.

        Raises:
            PlmError: If the scheme has no such condition.
        """
        tokens = {"right": f"{self.good}\n", "none": f"{self.bad}\n", "wrong": f"{self.bad}\n", "decoy": ""}
        if condition not in tokens:
            raise self.no_such(condition, "decoy")
        return f"{tokens[condition]}{problem.prompt}"
