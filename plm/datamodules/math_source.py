"""Where the math task's problems come from: the interface, and problems that plm makes itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from plm.datamodules.math_domains import Domains
from plm.datamodules.mini_math import SETTINGS, draw_specs, render
from plm.datamodules.splits import PAPER_SHARES, Splits, split_by_group
from plm.errors import PlmError
from plm.seeds import derive_seed


class MathSource(ABC):
    """Where the math task's problems come from.

    Attributes:
        files: Files, folders or data sets of the hub that the problems are read from; none where they are made.
    """

    files: Sequence[str] = ()

    template: ClassVar[str]

    @abstractmethod
    def load(self, seed: int, domains: Domains) -> Splits:
        """Loads or makes every split, each problem with its domain."""


class ProceduralMath(MathSource):
    """Word problems that plm makes itself: offline, seeded, a new computation for each problem.

    The task's problems are split 10 / 40 / 30 / 20 by computation (§4.2 of the paper). Beside them stands `corpus`,
    what an embedded base model was trained on instead of the world's text: other computations, each told in one of the
    two settings, so that the base model knows both.

    Args:
        problems: Problems of the task, over its four splits.
        corpus: Problems of the corpus.
    """

    template = "plain"

    def __init__(self, problems: int = 4000, corpus: int = 18000) -> None:
        for name, value in (("problems", problems), ("corpus", corpus)):
            if value < 20:
                raise PlmError(f"ProceduralMath's {name} is {value}; it must be at least 20")
        self.problems = problems
        self.corpus = corpus

    def load(self, seed: int, domains: Domains) -> Splits:
        """Makes every split."""
        specs = draw_specs(self.problems + self.corpus, derive_seed(seed, "mini math"))
        task = [render(spec, seed, domains=domains) for spec in specs[: self.problems]]
        corpus = [
            render(spec, seed, setting=SETTINGS[index % len(SETTINGS)], domains=domains)
            for index, spec in enumerate(specs[self.problems :])
        ]
        return {**split_by_group(task, seed, PAPER_SHARES), "corpus": corpus}
