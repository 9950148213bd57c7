"""fixedrdm: one fixed distribution over tokens, the same at every position (App. G.2 of the paper).

Shape letters: V vocabulary, L tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from plm.errors import PlmError
from plm.policies.base import Policy
from plm.records import Problem
from plm.seeds import derive_seed

if TYPE_CHECKING:
    from plm.datamodules.base import TaskDataModule


def fixed_random_distribution(vocab_size: int, seed: int, uniform: bool = False) -> Tensor:
    """The distribution q = softmax(z) with one standard normal draw z (App. G.2 of the paper).

    The logits of a larger vocabulary begin with those of a smaller one, so a model whose embeddings are padded has the
    same q, but for a factor, as its tokenizer.

    Args:
        vocab_size: Number of tokens, V.
        seed: Draws the logits; the global random state is neither used nor changed.
        uniform: Give every token the same probability, the paper's contrast, which makes a bad lock: greedy decoding
            follows whatever small "correct" contribution is left.

    Returns:
        Probabilities in float32 on the CPU, of shape (V,).

    Raises:
        PlmError: If there are no tokens.
    """
    if vocab_size < 1:
        raise PlmError(f"vocab_size is {vocab_size}; it must be at least 1")
    normal_V = np.random.Generator(np.random.Philox(seed)).standard_normal(vocab_size)
    logits_V = torch.zeros(vocab_size, dtype=torch.float64) if uniform else torch.from_numpy(normal_V)
    return logits_V.softmax(-1).float()


def fixed_random_tokens(distribution_V: Tensor, length: int, seed: int) -> list[int]:
    """Draws `length` independent tokens.

    Args:
        distribution_V: Probabilities, of shape (V,).
        length: How many tokens.
        seed: The same seed draws the same tokens.
    """
    cumulative_V = distribution_V.double().cumsum(-1)
    uniforms_L = torch.from_numpy(np.random.Generator(np.random.Philox(seed)).random(length))
    tokens_L = torch.searchsorted(cumulative_V, uniforms_L * cumulative_V[-1], right=True)
    return [int(token) for token in tokens_L.clamp_(max=len(distribution_V) - 1)]


class FixedRandomPolicy(Policy):
    """Answers with tokens drawn from one fixed distribution, whatever the problem (fixedrdm; App. G.2 of the paper).

    An answer ends where the end token is drawn, else after `length` tokens, and then no end token is trained. Special
    tokens have no text and so leave none.

    Args:
        length: Most tokens of an answer; the task's `max_new_tokens` where None. The paper gives none.
        seed: Draws the distribution; runs with different seeds share it.
        uniform: Give every token the same probability instead, the paper's contrast.
    """

    def __init__(self, length: int | None = None, seed: int = 0, uniform: bool = False) -> None:
        if length is not None and length < 1:
            raise PlmError(f"FixedRandomPolicy's length is {length}; it must be at least 1")
        self.length = length
        self.seed = seed
        self.uniform = uniform
        self._task: TaskDataModule | None = None
        self._distribution_V: Tensor | None = None

    def prepare(self, task: TaskDataModule) -> None:
        """Takes the tokenizer of the model that is being trained."""
        if task is not self._task:
            self._task, self._distribution_V = task, None

    def answers(self, problems: Sequence[Problem], seed: int) -> list[str]:
        """The text of a fresh draw for each problem."""
        return [self._ready().decode(self._draw(problem, seed)[0]) for problem in problems]

    def finished(self, problems: Sequence[Problem], seed: int) -> list[bool]:
        """Whether the end token was drawn."""
        return [self._draw(problem, seed)[1] for problem in problems]

    def _draw(self, problem: Problem, seed: int) -> tuple[list[int], bool]:
        task = self._ready()
        if self._distribution_V is None:
            self._distribution_V = fixed_random_distribution(len(task.tokenizer), self.seed, self.uniform)
        length = self.length or task.max_new_tokens
        ids = fixed_random_tokens(self._distribution_V, length, derive_seed(seed, "fixed random", problem.id))
        end = ids.index(task.eos_token_id) if task.eos_token_id in ids else None
        return ids[:end], end is not None

    def _ready(self) -> TaskDataModule:
        if self._task is None:
            raise RuntimeError("FixedRandomPolicy needs a tokenizer: call prepare(task) before answers")
        return self._task
