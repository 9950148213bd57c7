"""The code task: read a statement, write a C++ program from standard input to standard output (TSK-1)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from plm.datamodules.base import TaskDataModule, arguments_key
from plm.datamodules.mini_code import draw_specs, render
from plm.datamodules.splits import PAPER_SHARES, Splits, split_by_group
from plm.engines.base import Engine
from plm.errors import PlmError
from plm.graders.base import Grader
from plm.passwords import PromptScheme
from plm.progress import working
from plm.records import Problem
from plm.seeds import derive_seed

if TYPE_CHECKING:
    from plm.graders.code import Verdicts

TEXT_TRIES = 8
_VERDICTS: dict[bool, Verdicts] = {}  # of this process, by whether programs run without isolation


class CodeSource(ABC):
    """Where the code task's problems come from.

    Attributes:
        files: Files, folders or data sets of the hub that the problems are read from; none where they are made.
    """

    files: Sequence[str] = ()

    @abstractmethod
    def load(self, seed: int) -> Splits:
        """Loads or makes every split."""


class ProceduralCode(CodeSource):
    """Problems that plm makes itself: offline, seeded, a new program for each problem.

    The task's problems are split 10 / 40 / 30 / 20 by program (§4.2 of the paper). Beside them stand two splits that
    stand in for what a real base model brings along: `corpus`, what it was trained on, whose programs occur in no split
    of the task, and `val_text`, new texts of programs that do occur in the corpus.

    Args:
        problems: Problems of the task, over its four splits.
        corpus: Problems of the corpus.
        val_text: Problems with known programs and new texts.
    """

    def __init__(self, problems: int = 4000, corpus: int = 18000, val_text: int = 400) -> None:
        for name, value in (("problems", problems), ("corpus", corpus)):
            if value < 20:
                raise PlmError(f"ProceduralCode's {name} is {value}; it must be at least 20")
        self.problems = problems
        self.corpus = corpus
        self.val_text = min(val_text, corpus)

    def load(self, seed: int) -> Splits:
        """Makes every split."""
        specs = draw_specs(self.problems + self.corpus, derive_seed(seed, "mini code"))
        task = [render(spec, seed) for spec in specs[: self.problems]]
        known = specs[self.problems :]
        corpus = [render(spec, seed, tests=False) for spec in known]
        texts = {problem.prompt for problem in corpus}
        new = (_new_text(spec, texts, seed) for spec in known)
        val_text = [problem for _, problem in zip(range(self.val_text), filter(None, new), strict=False)]
        return {**split_by_group(task, seed, PAPER_SHARES), "corpus": corpus, "val_text": val_text}


def _new_text(spec: object, texts: set[str], seed: int) -> Problem | None:
    for phrasing in range(1, TEXT_TRIES):
        problem = render(spec, derive_seed(seed, "phrasing", phrasing))  # type: ignore[arg-type]
        if problem.prompt not in texts:
            return problem
    return None


class CodeDataModule(TaskDataModule):
    """Programming problems, answered in C++ and judged by running the program on tests in a sandbox (TSK-1).

    Args:
        source: Where the problems come from; procedural ones where None.
        passwords: How prompts carry passwords; the paper's default where None.
        engine: Who generates text; the Hugging Face engine where None.
        batch_size: Rows in an optimizer step.
        max_new_tokens: Longest program, in tokens.
        seed: Decides problems and splits.
        unsafe_grading: Run model-written programs without isolation where neither bubblewrap nor user namespaces exist.
        stop: Texts that end a program, for models that were never taught the end token.
    """

    name = "code"

    def __init__(
        self,
        source: CodeSource | None = None,
        passwords: PromptScheme | None = None,
        engine: Engine | None = None,
        batch_size: int = 32,
        max_new_tokens: int = 128,
        seed: int = 0,
        unsafe_grading: bool = False,
        stop: Sequence[str] = (),
    ) -> None:
        super().__init__(passwords, engine, batch_size, max_new_tokens, seed, stop)
        self.source = source or ProceduralCode()
        self.files = self.source.files
        self.unsafe_grading = unsafe_grading

    def load_splits(self) -> Splits:
        """The source's splits."""
        return self.source.load(self.seed)

    def splits_key(self) -> Hashable | None:
        """The arguments, where the source makes its problems."""
        return None if self.files else (arguments_key(self.source), self.seed)

    def make_grader(self) -> Grader:
        """The C++ grader; it knows what was graded before in this process (runs of a study write the same programs).

        Raises:
            PlmError: Without g++ or without a sandbox.
        """
        from plm.graders.code import CodeGrader

        grader = CodeGrader(unsafe=self.unsafe_grading, verdicts=_VERDICTS.setdefault(self.unsafe_grading, {}))
        with working("preparing compiler and sandbox"):
            grader.prepare()
        return grader
