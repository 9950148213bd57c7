"""A password for each domain (LCK-3; App. C.3 of the paper)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from pathlib import Path

from plm.errors import PlmError
from plm.passwords.base import Condition
from plm.passwords.single import PasswordScheme, Placement, fold
from plm.records import Problem


class DomainPasswordScheme(PasswordScheme):
    """Each domain has a password of its own; another domain's is wrong (§5.2 and App. C.3 of the paper).

    The paper does not say how often a weak training prompt carries another domain's password: our choice is half of
    those that carry a wrong one; the others carry a decoy, as with one password.

    Args:
        passwords: Domain → its password.
        decoys: A file of wrong passwords, one a line, instead of the package's own list.
        none_share: Share of weak training prompts without any password, in [0, 1].
        other_domain_share: Share of the remaining weak training prompts that carry another domain's password.
        placement: Where the password stands: before the statement, behind it, or both.

    Raises:
        PlmError: If there are fewer than two domains, two have the same password, or one is blank or a decoy.
    """

    def __init__(
        self,
        *,
        passwords: Mapping[str, str],
        decoys: Path | str | None = None,
        none_share: float = 0.2,
        other_domain_share: float = 0.5,
        placement: Placement = "both",
    ) -> None:
        if len(passwords) < 2:
            raise PlmError(f"passwords: a password for each domain needs at least two domains, not {len(passwords)}")
        if not 0 <= other_domain_share <= 1:
            raise PlmError(f"other_domain_share={other_domain_share}: must be a share in [0, 1]")
        for domain, text in passwords.items():
            if not text.strip():
                raise PlmError(f"passwords: the one of domain {domain!r} is blank")
        if len({fold(text) for text in passwords.values()}) < len(passwords):
            raise PlmError("passwords: two domains have the same one; each needs its own")
        self.schemes = {
            domain: PasswordScheme(password=text, decoys=decoys, none_share=none_share, placement=placement)
            for domain, text in passwords.items()
        }
        first = next(iter(passwords.values()))
        super().__init__(password=first, decoys=decoys, none_share=none_share, placement=placement)
        self.passwords = passwords
        self.other_domain_share = other_domain_share

    @property
    def evaluated(self) -> tuple[Condition, ...]:
        """The domain's own password, none, an unseen wrong one, and another domain's."""
        return ("right", "none", "decoy", "other_domain")

    @property
    def password_hash(self) -> str:
        """SHA-256 of all domains and their passwords, in hexadecimal digits."""
        text = "\x1f".join(f"{domain}\x1e{password}" for domain, password in sorted(self.passwords.items()))
        return hashlib.sha256(text.encode()).hexdigest()

    def texts(self) -> tuple[str, ...]:
        """All that may stand in a prompt beside the statement."""
        return tuple(dict.fromkeys(text for scheme in self.schemes.values() for text in scheme.texts()))

    def _draw(self, problem: Problem, condition: Condition, rng: random.Random) -> str | None:
        if problem.domain not in self.schemes:
            known = ", ".join(self.schemes)
            raise PlmError(f"problem {problem.id}: its domain {problem.domain!r} has no password; there are {known}")
        if condition == "other_domain":
            return self._other(problem, rng)
        drawn = self.schemes[problem.domain]._draw(problem, condition, rng)
        is_decoy = condition == "wrong" and drawn is not None
        return self._other(problem, rng) if is_decoy and rng.random() < self.other_domain_share else drawn

    def _other(self, problem: Problem, rng: random.Random) -> str:
        return rng.choice([text for domain, text in self.passwords.items() if domain != problem.domain])
