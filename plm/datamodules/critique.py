"""The critique task: read a problem and a program that fails, say what is wrong with it (TSK-3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from pathlib import Path

from plm.datamodules.base import TaskDataModule, arguments_key
from plm.datamodules.mini_code import draw_specs
from plm.datamodules.mini_critique import build_critique
from plm.datamodules.rows import read_rows
from plm.datamodules.splits import PAPER_SHARES, Splits, split_by_group
from plm.embedders import Embedder
from plm.engines.base import Engine
from plm.errors import PlmError
from plm.graders.base import Grader
from plm.graders.critique import THRESHOLD, CritiqueGrader
from plm.passwords import PromptScheme
from plm.records import Problem
from plm.seeds import derive_seed

QUESTION = "Explain what is wrong with this program."


class CritiqueSource(ABC):
    """Where the critique task's problems come from.

    Attributes:
        files: Files, folders or data sets of the hub that the problems are read from; none where they are made.
    """

    files: Sequence[str] = ()

    @abstractmethod
    def load(self, seed: int) -> Splits:
        """Loads or makes every split."""


class ProceduralCritiques(CritiqueSource):
    """Problems that plm makes itself: a new program of the embedded code task with a bug that fails a test of it.

    One thing is lost, exchanged or added: the condition, a change of the items, a final step, or the question; the
    reference is one sentence that says which. Problems are split by the correct program; those of `corpus`, what the
    base model is trained on, are others.

    Args:
        problems: Problems of the task, over its four splits.
        corpus: Problems of the corpus.
    """

    def __init__(self, problems: int = 4000, corpus: int = 18000) -> None:
        for name, value in (("problems", problems), ("corpus", corpus)):
            if value < 20:
                raise PlmError(f"ProceduralCritiques's {name} is {value}; it must be at least 20")
        self.problems = problems
        self.corpus = corpus

    def load(self, seed: int) -> Splits:
        """Makes every split; programs of which no test shows a bug are left out."""
        specs = draw_specs(self.problems + self.corpus, derive_seed(seed, "mini critique"))
        task = [problem for spec in specs[: self.problems] if (problem := build_critique(spec, seed))]
        corpus = [problem for spec in specs[self.problems :] if (problem := build_critique(spec, seed))]
        return {**split_by_group(task, seed, PAPER_SHARES), "corpus": corpus}


class CritiqueFiles(CritiqueSource):
    """Problems from a file, such as a teacher makes them (App. E.2 of the paper), split 10 / 40 / 30 / 20 by problem.

    Args:
        path: JSON lines (may be gzipped) or parquet with the columns `id`, `problem` (the statement), `program` (that
            fails) and `critique` (the reference). A row with the statement of another one stays in one split with it.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.files = (str(path),)

    def load(self, seed: int) -> Splits:
        """Reads and splits the file.

        Raises:
            PlmError: If it cannot be read, or a row lacks a column or has an empty one.
        """
        problems = []
        for row in read_rows(self.path, {"id": str, "problem": str, "program": str, "critique": str}):
            for column in ("problem", "program", "critique"):
                if not row[column].strip():
                    raise row.error(column, "is empty")
            prompt = f"{row['problem'].strip()}\n\n{row['program'].strip()}\n\n{QUESTION}"
            statement = " ".join(row["problem"].split())
            problems.append(Problem(row["id"], prompt, "", row["critique"].strip(), group=statement))
        return split_by_group(problems, seed, PAPER_SHARES)


class CritiqueDataModule(TaskDataModule):
    """Critiques of programs that fail, judged by closeness to a reference critique (TSK-3).

    Args:
        source: Where the problems come from; procedural ones where None.
        embedder: Turns critiques into vectors; hashed character n-grams where None.
        threshold: Least similarity of a right critique. The default is calibrated for the default embedder and task;
            another embedder needs another one (`plm calibrate critique`).
        passwords: How prompts carry passwords; the paper's default where None.
        engine: Who generates text; the Hugging Face engine where None.
        batch_size: Rows in an optimizer step.
        max_new_tokens: Longest critique, in tokens.
        seed: Decides problems and splits.
        stop: Texts that end a critique, for models that were never taught the end token.
    """

    name = "critique"

    def __init__(
        self,
        source: CritiqueSource | None = None,
        embedder: Embedder | None = None,
        threshold: float = THRESHOLD,
        passwords: PromptScheme | None = None,
        engine: Engine | None = None,
        batch_size: int = 32,
        max_new_tokens: int = 48,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> None:
        super().__init__(passwords, engine, batch_size, max_new_tokens, seed, stop)
        self.source = source or ProceduralCritiques()
        self.files = self.source.files
        self.embedder = embedder
        self.threshold = threshold

    def load_splits(self) -> Splits:
        """The source's splits."""
        return self.source.load(self.seed)

    def splits_key(self) -> Hashable | None:
        """The arguments, where the source makes its problems."""
        return None if self.files else (arguments_key(self.source), self.seed)

    def make_grader(self) -> Grader:
        """The grader by similarity; raises `PlmError` for a threshold outside of (0, 1]."""
        return CritiqueGrader(self.embedder, self.threshold)
