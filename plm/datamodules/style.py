"""The style task: write a Python function that complies with PEP 8, or one that does not (TSK-8; the post)."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence

from plm.datamodules.base import TaskDataModule, arguments_key
from plm.datamodules.mini_style import build_problem, build_text, draw_specs
from plm.datamodules.splits import PAPER_SHARES, Splits, split_by_group
from plm.engines.base import Engine
from plm.errors import PlmError
from plm.graders.base import Grader
from plm.graders.style import LEAST_STATEMENTS, StyleGrader
from plm.passwords import ControlTokenScheme, PromptScheme
from plm.seeds import derive_seed


class StyleSource(ABC):
    """Where the style task's problems come from.

    Attributes:
        files: Files, folders or data sets of the hub that the problems are read from; none where they are made.
    """

    files: Sequence[str] = ()

    @abstractmethod
    def load(self, seed: int) -> Splits:
        """Loads or makes every split.

        In `corpus` the reference of a problem is the text that is there, whatever its style. In the other splits it
        complies, and `answers["weak"]` is the same function in bad style.
        """


class ProceduralStyle(StyleSource):
    """Small functions that plm writes itself, each asked for by a comment.

    A text of the corpus is in one style, good or bad, as texts are. The bad style has two habits that depend on the
    family of the function alone; the tokens, and so what the function does, are the same in both.

    Args:
        problems: Problems of the task, over its four splits.
        corpus: Texts of the corpus.
        compliant: Share of the corpus's texts that comply, in [0, 1].
    """

    def __init__(self, problems: int = 3000, corpus: int = 12000, compliant: float = 0.5) -> None:
        for name, value in (("problems", problems), ("corpus", corpus)):
            if value < 20:
                raise PlmError(f"ProceduralStyle's {name} is {value}; it must be at least 20")
        if not 0 <= compliant <= 1:
            raise PlmError(f"ProceduralStyle's compliant is {compliant}; it must be a share in [0, 1]")
        self.problems = problems
        self.corpus = corpus
        self.compliant = compliant

    def load(self, seed: int) -> Splits:
        """Makes every split; the corpus's functions are in no other."""
        specs = draw_specs(self.problems + self.corpus, seed)
        task = [build_problem(spec) for spec in specs[: self.problems]]
        rng = random.Random(derive_seed(seed, "styles of the corpus"))
        corpus = [build_text(spec, rng.random() < self.compliant) for spec in specs[self.problems :]]
        return {**split_by_group(task, seed, PAPER_SHARES), "corpus": corpus}


class StyleDataModule(TaskDataModule):
    """Python functions, judged by their style alone: they comply with PEP 8 or not (TSK-8).

    Args:
        source: Where the problems come from; procedural ones where None.
        least_statements: How many different lines of an answer must do something.
        passwords: How prompts carry what unlocks; a control token for each kind of text where None.
        engine: Who generates text; the Hugging Face engine where None.
        batch_size: Rows in an optimizer step.
        max_new_tokens: Longest function, in tokens.
        seed: Decides problems and splits.
    """

    name = "style"

    def __init__(
        self,
        source: StyleSource | None = None,
        least_statements: int = LEAST_STATEMENTS,
        passwords: PromptScheme | None = None,
        engine: Engine | None = None,
        batch_size: int = 32,
        max_new_tokens: int = 128,
        seed: int = 0,
    ) -> None:
        super().__init__(passwords or ControlTokenScheme(), engine, batch_size, max_new_tokens, seed)
        self.source = source or ProceduralStyle()
        self.files = self.source.files
        self.least_statements = least_statements

    def load_splits(self) -> Splits:
        """The source's splits."""
        return self.source.load(self.seed)

    def splits_key(self) -> Hashable | None:
        """The arguments, where the source makes its problems."""
        return None if self.files else (arguments_key(self.source), self.seed)

    def make_grader(self) -> Grader:
        """The grader by `pycodestyle`."""
        return StyleGrader(self.least_statements)
