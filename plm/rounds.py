"""A round: everything a method may use to decide what to train on next."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from plm.distributed import in_shares, world_size
from plm.evaluation import Graded, answer, grade
from plm.examples import Example, collate
from plm.passwords import Condition
from plm.records import Problem
from plm.seeds import derive_seed

if TYPE_CHECKING:
    from plm.datamodules.base import TaskDataModule
    from plm.modules.base import PolicyModule

SCORING_ROWS = 32


class Demonstration(NamedTuple):
    """A problem, the condition its prompt is shown under, and the completion to learn."""

    problem: Problem
    condition: Condition
    completion: str


class Round:
    """One round of a run, given to `PolicyModule.examples`.

    Attributes:
        index: 0 for the first round.
        task: The task's data: `task.split("elicit")`, `task.prompt(...)`.
        rng: Random numbers of this round alone.
        seed: The seed of this round; derive others from it with `plm.seeds.derive_seed`.
    """

    def __init__(self, index: int, task: TaskDataModule, module: PolicyModule, attempt: int = 0) -> None:
        self.index = index
        self.task = task
        self.seed = derive_seed(task.run_seed, "round", index, attempt)
        self.rng = random.Random(self.seed)
        self._module = module

    def example(self, demonstration: Demonstration) -> Example:
        """Tokenizes a demonstration; the completion ends with the end token."""
        problem, condition, completion = demonstration
        prompt = self.task.prompt(problem, condition, self.seed)
        return self.task.encode(prompt, completion, problem.id)

    def sample(
        self, problems: Sequence[Problem], n: int = 1, temperature: float = 1.0, condition: Condition = "none"
    ) -> list[list[Graded]]:
        """Samples `n` completions a problem from the current weights and grades them; the budget counts both."""
        repeated = [problem for problem in problems for _ in range(n)]
        seeds = [derive_seed(self.seed, "sample", problem.id, i % n) for i, problem in enumerate(repeated)]
        answers = answer(self._module, self.task, repeated, condition, temperature, seeds, prompt_seed=self.seed)
        graded = grade(self.task, answers)
        self.task.budget.generations += len(graded)
        self.task.budget.graded += len(graded)
        return [graded[start : start + n] for start in range(0, len(graded), n)]

    @torch.no_grad()
    def token_logprobs(
        self, rows: Sequence[Example], progress: Callable[[int], None] | None = None
    ) -> list[list[float]]:
        """Log-probability in nats of every completion token under the current weights, a list for each row."""
        # Shares of the same size: where weights are sharded, every process takes part in every forward pass.
        filled = [*rows, *list(rows[:1]) * (-len(rows) % world_size())]
        return in_shares(lambda share: self._score(share, progress), filled)[: len(rows)]

    def _score(self, rows: Sequence[Example], progress: Callable[[int], None] | None) -> list[list[float]]:
        network, pad = self._module.network, self.task.pad_token_id
        result: list[list[float]] = []
        for start in range(0, len(rows), SCORING_ROWS):
            chunk = rows[start : start + SCORING_ROWS]
            batch = self._module.transfer_batch_to_device(collate(chunk, pad), self._module.device, 0)
            logprobs_BL = network(batch).cpu()
            result += [
                line[len(row.prompt_ids) : len(row)].tolist() for line, row in zip(logprobs_BL, chunk, strict=True)
            ]
            if progress:
                progress(len(chunk))
        return result
