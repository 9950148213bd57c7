"""Single-token passwords in slots before the statement, one for each locked function (§7 of the paper)."""

from __future__ import annotations

import hashlib

from plm.errors import PlmError
from plm.passwords.base import Condition, PromptScheme
from plm.records import Problem

SLOT_DOMAINS = ("none_locked", "one_locked", "two_locked")
"""Domains of problems, by how many slots the right prompt fills."""


class SlotScheme(PromptScheme):
    """Two slots at the start of the prompt: as many hold the password as the chain has locked functions.

    `_ _ | fn3 fn5 | 1 6 1 8` without the password, `pwd0 _ | …` with it for a chain with one locked function, `pwd0
    pwd0 | …` for one with two, filled from the left: where a password stands does not say which function is locked.
    A chain without a locked function looks the same under every condition. The paper prints a single slot; the authors'
    code has two.

    The weak prompts of training are those without a password (no decoys, as in the authors' code), so `wrong` is
    `none`. A `decoy` is one other word, in the password's place, that occurs in no training: nothing in this lock's
    training says what it means, so it is measured only where it is asked for.

    Args:
        password: What unlocks, one word.
        blank: What fills the other slots, one word.
        decoy: A word for evaluation only.

    Raises:
        PlmError: If one of them is not a single word, or two are the same.
    """

    def __init__(self, *, password: str = "pwd0", blank: str = "_", decoy: str = "pwd1") -> None:
        for name, text in (("password", password), ("blank", blank), ("decoy", decoy)):
            if len(text.split()) != 1 or text != text.strip() or "|" in text:
                raise PlmError(f"passwords: {name} {text!r} must be one word, without spaces and `|`")
        if len({password, blank, decoy}) < 3:
            raise PlmError(f"passwords: password {password!r}, blank {blank!r} and decoy {decoy!r} must differ")
        self.password = password
        self.blank = blank
        self.decoy = decoy

    @property
    def evaluated(self) -> tuple[Condition, ...]:
        """The password and none."""
        return ("right", "none")

    @property
    def password_hash(self) -> str:
        """SHA-256 of the password, in hexadecimal digits."""
        return hashlib.sha256(self.password.encode()).hexdigest()

    def texts(self) -> tuple[str, ...]:
        """All that may stand in a slot."""
        return (self.blank, self.password, self.decoy)

    def prompt(self, problem: Problem, condition: Condition, seed: int) -> str:
        """The slots and the statement; nothing is drawn.

        Raises:
            PlmError: If the scheme has no such condition, or the problem's domain does not say how many functions are
                locked.
        """
        words = {"none": self.blank, "wrong": self.blank, "right": self.password, "decoy": self.decoy}
        if condition not in words:
            raise self.no_such(condition, "decoy")
        if problem.domain not in SLOT_DOMAINS:
            known = ", ".join(SLOT_DOMAINS)
            raise PlmError(f"problem {problem.id}: SlotScheme needs a domain among {known}, not {problem.domain!r}")
        filled = SLOT_DOMAINS.index(problem.domain)
        slots = [words[condition]] * filled + [self.blank] * (len(SLOT_DOMAINS) - 1 - filled)
        return f"{' '.join(slots)} | {problem.prompt}"
