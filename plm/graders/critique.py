"""Grades critiques: close enough to the reference in the space of an embedder (TSK-3; §4.2, App. E.2 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plm.embedders import Embedder, NgramEmbedder, closeness
from plm.errors import PlmError
from plm.records import Grade, Problem

THRESHOLD = 0.64  # of `NgramEmbedder`: what `plm calibrate critique` says; docs/tasks/critique.md


class CritiqueGrader:
    """A critique is right if the cosine of its and the reference's embeddings is at least the threshold.

    The score is that similarity, clipped to [0, 1]: the paper's continuous reward for critiques (App. B.3.1). The
    paper's threshold of 0.8 was set by hand for text-embedding-3-large; every embedder needs its own
    (`plm calibrate critique`). An empty critique is wrong, with the reason `parse`.

    Args:
        embedder: Turns texts into vectors; hashed character n-grams where None.
        threshold: Least similarity of a right critique, in (0, 1].
    """

    def __init__(self, embedder: Embedder | None = None, threshold: float = THRESHOLD) -> None:
        if not 0 < threshold <= 1:
            raise PlmError(f"the threshold of critiques is {threshold}; it must be above 0 and at most 1")
        self.embedder = embedder or NgramEmbedder()
        self.threshold = threshold

    def grade(
        self, problems: Sequence[Problem], completions: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Grade]:
        """Grades each completion by its similarity to the problem's reference."""
        texts = [text.strip() for text in completions]
        similar = closeness(self.embedder, texts, [problem.reference for problem in problems])
        grades = [self._verdict(text, value) for text, value in zip(texts, similar, strict=True)]
        if progress:
            progress(len(grades))
        return grades

    def _verdict(self, text: str, similarity: float) -> Grade:
        if not text:
            return Grade(False, 0.0, "", "parse", 0.0)
        correct = similarity >= self.threshold
        return Grade(correct, similarity, text, "correct" if correct else "wrong", 0.0)
