"""Closeness to the reference as a reward: the paper's for critiques (App. B.3.1, E.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plm.embedders import Embedder, NgramEmbedder, closeness
from plm.records import Problem
from plm.rewards.base import Reward


class EmbeddingReward(Reward):
    """Cosine similarity of the completion's and the reference's embeddings, clipped to [0, 1].

    The paper's continuous reward for critiques is "the distance (in embedding space) to the reference critique" (App.
    B.3.1); the similarity is the same thing with the sign of a reward. An empty completion gets 0.

    Args:
        embedder: Turns texts into vectors; hashed character n-grams where None.
    """

    def __init__(self, embedder: Embedder | None = None) -> None:
        self.embedder = embedder or NgramEmbedder()

    def scores(
        self, problems: Sequence[Problem], completions: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[float]:
        """Similarities to the references."""
        made = closeness(self.embedder, completions, [problem.reference for problem in problems])
        if progress:
            progress(len(made))
        return made
