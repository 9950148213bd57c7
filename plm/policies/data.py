"""Policies whose answers come with the task's data."""

from __future__ import annotations

import random
from collections.abc import Sequence

from plm.errors import PlmError
from plm.policies.base import Policy
from plm.records import Problem
from plm.seeds import derive_seed


class ReferencePolicy(Policy):
    """The task's own references: ground truth labels, reference programs (π_strong or π_dem, Table 1 of the paper)."""

    def answers(self, problems: Sequence[Problem], seed: int) -> list[str]:
        """The reference of each problem.

        Raises:
            PlmError: If one has none, as published problems that no teacher has answered.
        """
        for problem in problems:
            if not problem.reference:
                raise PlmError(f"problem {problem.id} has no reference: name another policy, or data with references")
        return [problem.reference for problem in problems]


class DatasetPolicy(Policy):
    """Completions that come with the task's data, written beforehand by some policy.

    Where several were written for a problem, the seed draws one, so that each round sees a fresh sample (App. C.1 of
    the paper).

    Args:
        name: Which policy's completions to use, for instance `weak`, the procedural weak policy of an embedded task.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def answers(self, problems: Sequence[Problem], seed: int) -> list[str]:
        """One stored completion for each problem."""
        return [self._draw(problem, seed) for problem in problems]

    def _draw(self, problem: Problem, seed: int) -> str:
        stored = problem.answers.get(self.name, ())
        if not stored:
            known = ", ".join(sorted(problem.answers)) or "none"
            raise PlmError(
                f"the data hold no completions of a policy named {self.name!r} (problem {problem.id}; known: {known})"
            )
        return random.Random(derive_seed(seed, "answer", problem.id)).choice(stored)
