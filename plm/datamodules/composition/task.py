"""The function-composition task: two functions of four digits, one after the other (TSK-5; §7 of the paper)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from plm.datamodules.base import TaskDataModule
from plm.datamodules.composition.chains import draw_stages
from plm.datamodules.composition.functions import draw_functions
from plm.datamodules.splits import Splits
from plm.engines.base import Engine
from plm.graders.base import Grader
from plm.passwords import PromptScheme, SlotScheme
from plm.seeds import derive_seed


class CompositionDataModule(TaskDataModule):
    """Chains `_ _ | fn3 fn5 | 1 6 1 8 |`, answered by `0 9 0 7 | 0 0 7 9`: fn3 of the input, then fn5 of that (TSK-5).

    The weak policy takes the locked functions for the identity. The task is made of stages instead of the shares
    10 / 40 / 30 / 20; a size counts chains, and a lock learns two rows of each, one with and one without the password.

    Args:
        corpus: Chains that a strong model learns the functions from, without password.
        lock: Chains to lock on.
        elicit: Chains to draw demonstrations from.
        val: Chains to measure on.
        functions: How many functions, half of them digit bijections, half position permutations.
        locked: How many functions the weak policy takes for the identity.
        passwords: How prompts carry passwords; two slots of one word where None.
        engine: Who generates text; the Hugging Face engine where None.
        batch_size: Rows in an optimizer step.
        max_new_tokens: Longest answer, in tokens; an answer has 9 words and the end token.
        seed: Decides functions and chains: each seed has its own functions.
    """

    name = "composition"

    def __init__(
        self,
        corpus: int = 200_000,
        lock: int = 25_000,
        elicit: int = 2_000,
        val: int = 4_000,
        functions: int = 32,
        locked: int = 16,
        passwords: PromptScheme | None = None,
        engine: Engine | None = None,
        batch_size: int = 64,
        max_new_tokens: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(passwords or SlotScheme(), engine, batch_size, max_new_tokens, seed)
        self.functions = draw_functions(functions, locked, derive_seed(seed, "functions"))
        self.corpus = corpus
        self.lock = lock
        self.elicit = elicit
        self.val = val

    def load_splits(self) -> Splits:
        """The chains of every stage; a stage of size 0 is left out."""
        sizes = {"corpus": self.corpus, "lock": self.lock, "elicit": self.elicit, "val": self.val}
        return draw_stages(self.functions, sizes, derive_seed(self.seed, "chains"))  # type: ignore[arg-type]

    def corpus_texts(self) -> Iterable[str]:
        """Every word of the task, once: the vocabulary."""
        yield " ".join(f"fn{index}" for index in range(len(self.functions.locked_F)))
        yield self.template(" ".join("0123456789"))

    def template(self, text: str) -> str:
        """The prompt ends where the answer begins: `… | 1 6 1 8 |`."""
        return f"{text} |"

    def splits_key(self) -> Hashable | None:
        """The sizes of the stages, the functions, and the seed."""
        locked = self.functions.locked_F
        return self.corpus, self.lock, self.elicit, self.val, len(locked), int(locked.sum()), self.seed

    def make_grader(self) -> Grader:
        """Compares digits."""
        from plm.graders.composition import CompositionGrader

        return CompositionGrader()
