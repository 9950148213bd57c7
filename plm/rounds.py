"""A round: everything a method may use to decide what to train on next."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from plm.distributed import in_shares, world_size
from plm.evaluation import answer, grade
from plm.examples import Example, collate
from plm.inner_loop import undone
from plm.passwords import Condition
from plm.records import Answer, Graded, Problem
from plm.seeds import derive_seed
from plm.tokenizers import token_ids

if TYPE_CHECKING:
    from plm.datamodules.base import TaskDataModule
    from plm.datamodules.splits import SplitName
    from plm.modules.base import PolicyModule
    from plm.policies import Policy

SCORING_ROWS = 32
SCORING_TOKENS = 16_384  # of one forward pass, padding included: below what one part of a step of 7B takes of memory


class Demonstration(NamedTuple):
    """What to learn from: a problem, the condition its prompt is shown under, and a completion.

    A completion that was cut off by the length limit is not `finished`: no end token is trained after it.
    """

    problem: Problem
    condition: Condition
    completion: str
    finished: bool = True


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
        """Tokenizes a demonstration; a finished completion ends with the end token."""
        problem, condition, completion, finished = demonstration
        prompt = self.task.prompt(problem, condition, self.seed)
        return self.task.encode(prompt, completion, problem.id, finished)

    def demonstrations(
        self, policy: Policy, problems: Sequence[Problem], condition: Condition, seed: int | None = None
    ) -> list[Demonstration]:
        """A policy's answers to problems, for prompts under a condition; what it did not answer at all is left out.

        Args:
            policy: Who answers.
            problems: What is asked.
            condition: What the prompts look like.
            seed: Which of its answers; by default others in every round.
        """
        policy.prepare(self.task)
        problems = self.task.shown(problems, condition)
        seed = self.seed if seed is None else seed
        answers = zip(problems, policy.answers(problems, seed), policy.finished(problems, seed), strict=True)
        return [Demonstration(problem, condition, text, done) for problem, text, done in answers if text or done]

    def draw(self, split: SplitName, n: int) -> list[Problem]:
        """Draws `n` different problems of a split, others in every round; all of them where it holds fewer."""
        problems = self.task.split(split)
        return self.rng.sample(problems, min(n, len(problems)))

    def grade(
        self, problems: Sequence[Problem], texts: Sequence[str], finished: Sequence[bool] | None = None
    ) -> list[Graded]:
        """Grades completions that another policy wrote; the budget counts them as generated and graded."""
        rows = zip(problems, texts, finished or [True] * len(texts), strict=True)
        shown = [Answer(problem, problem.prompt, text, self._tokens(text), done) for problem, text, done in rows]
        return self._counted(grade(self.task, shown))

    def _tokens(self, text: str) -> int:
        return len(token_ids(self.task.tokenizer, text, add_special_tokens=False))

    def sample(
        self, problems: Sequence[Problem], n: int = 1, temperature: float = 1.0, condition: Condition = "none"
    ) -> list[list[Graded]]:
        """Samples `n` completions a problem from the current weights and grades them; the budget counts both."""
        repeated = [problem for problem in problems for _ in range(n)]
        seeds = [derive_seed(self.seed, "sample", problem.id, i % n) for i, problem in enumerate(repeated)]
        answers = answer(self._module, self.task, repeated, condition, temperature, seeds, prompt_seed=self.seed)
        graded = self._counted(grade(self.task, answers))
        return [graded[start : start + n] for start in range(0, len(graded), n)]

    def _counted(self, graded: list[Graded]) -> list[Graded]:
        self.task.budget.generations += len(graded)
        self.task.budget.graded += len(graded)
        return graded

    @contextlib.contextmanager
    def initial_weights(self) -> Iterator[None]:
        """Inside, the weights are those that the run started from; no second model is held."""
        with undone(self._module):
            self._module.load_initial_weights()
            yield

    @torch.no_grad()
    def token_logprobs(
        self, rows: Sequence[Example], progress: Callable[[int], None] | None = None
    ) -> list[list[float]]:
        """Log-probability in nats of every completion token under the current weights, a list for each row."""
        # Shares of the same size: where weights are sharded, every process takes part in every forward pass.
        filled = [*rows, *list(rows[:1]) * (-len(rows) % world_size())]
        longest = max(map(len, rows), default=1)
        size = max(1, min(SCORING_ROWS, SCORING_TOKENS // longest))  # the same in every process
        return in_shares(lambda share: self._score(share, size, progress), filled)[: len(rows)]

    def _score(self, rows: Sequence[Example], size: int, progress: Callable[[int], None] | None) -> list[list[float]]:
        network, pad, layout = self._module.network, self.task.pad_token_id, self._module.compute.layout
        precision = self._module.trainer.precision_plugin
        result: list[list[float]] = []
        with _without_dropout(network):
            for start in range(0, len(rows), size):
                chunk = rows[start : start + size]
                batch = collate(chunk, pad, layout=layout)
                batch = self._module.transfer_batch_to_device(batch, self._module.device, 0)
                with precision.forward_context():  # as in the step, so that a policy's ratio to itself is 1
                    logprobs_BL = network(batch).cpu()
                result += [
                    line[len(row.prompt_ids) : len(row)].tolist() for line, row in zip(logprobs_BL, chunk, strict=True)
                ]
                if progress:
                    progress(len(chunk))
        return result


@contextlib.contextmanager
def _without_dropout(network: torch.nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
