"""What every policy does: answer problems. A module asks one for the completions that it imitates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from plm.records import Problem


class Policy(ABC):
    """Answers problems."""

    @abstractmethod
    def answers(self, problems: Sequence[Problem], seed: int) -> list[str]:
        """One completion for each problem; the seed picks it where the policy is random."""
