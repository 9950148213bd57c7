"""The base of every task: problems, splits, prompts, grader, and the loader that turns a round into batches."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lightning import LightningDataModule
from transformers import PreTrainedTokenizerBase

from plm.budget import Budget
from plm.choosing import next_tokens
from plm.datamodules.leaks import NearDuplicates, find_near_duplicates
from plm.datamodules.splits import SplitName, Splits, check_disjoint
from plm.distributed import from_first
from plm.engines.base import Engine
from plm.engines.hf import HFEngine
from plm.errors import PlmError
from plm.examples import Example
from plm.graders.base import Grader
from plm.loader import RoundLoader
from plm.passwords import Condition, PasswordScheme, PromptScheme
from plm.progress import say, working
from plm.records import Problem
from plm.rounds import Round
from plm.runs import RunFolder
from plm.seeds import derive_seed
from plm.tokenizers import token_ids

if TYPE_CHECKING:
    from plm.modules.base import PolicyModule

__all__ = ["SplitName", "Splits", "TaskDataModule"]

MOST_DRAWS = 3  # of a round that came out empty
MOST_PREPARED = 4  # tasks whose problems a process keeps, each of some 20,000; runs of a study take turns between few
_Prepared = tuple[Splits, NearDuplicates]
_PREPARED: dict[Hashable, _Prepared] = {}


class TaskDataModule(LightningDataModule, ABC):
    """A task: its problems, how they are shown, and who judges the answers.

    A subclass says where the problems come from (`load_splits`), who grades (`make_grader`), and which texts a
    tokenizer made from scratch should know (`corpus_texts`).

    Args:
        passwords: How prompts carry passwords; the paper's default where None.
        engine: Who generates text; the Hugging Face engine where None.
        batch_size: Rows in an optimizer step, over all processes and micro-batches.
        max_new_tokens: Longest completion, in tokens, end token included.
        seed: Decides problems and splits. Not the run's seed: runs with different seeds share splits.
        stop: Texts that end a completion, for models that were never taught the end token; none by default. They
            are no part of the answer.
    """

    name: str

    def __init__(
        self,
        passwords: PromptScheme | None = None,
        engine: Engine | None = None,
        batch_size: int = 32,
        max_new_tokens: int = 128,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> None:
        super().__init__()
        for name, value in (("batch_size", batch_size), ("max_new_tokens", max_new_tokens)):
            if value < 1:
                raise PlmError(f"data.init_args.{name} is {value}; it must be at least 1")
        if not all(stop):
            raise PlmError(f"data.init_args.stop is {list(stop)}: an empty text would end every completion at once")
        self.passwords: PromptScheme = passwords or PasswordScheme()
        self.engine: Engine = engine or HFEngine()
        self.batch_size = batch_size
        self.max_new_tokens = max_new_tokens
        self.stop = tuple(stop)
        self.seed = seed
        self.run_seed = 0
        self.files: Sequence[str] = ()
        self.budget = Budget()
        self._demonstrated: set[str] = set()
        self._splits: Splits | None = None
        self._grader: Grader | None = None

    @abstractmethod
    def load_splits(self) -> Splits:
        """Loads or makes the problems of every split."""

    def splits_key(self) -> Hashable | None:
        """What decides the problems if arguments alone do, so that a process makes them once for all of its runs.

        None, as by default, where they are read from files. A subclass that makes `load_splits` depend on more names
        that here too.
        """
        return None

    @abstractmethod
    def make_grader(self) -> Grader:
        """Builds the grader; raises `PlmError` when this machine cannot grade."""

    def corpus_texts(self) -> Iterable[str]:
        """Texts that a tokenizer trained from scratch should encode in few tokens."""
        for problem in self.split("corpus"):
            yield self.template(problem.prompt)
            yield problem.reference

    def template(self, text: str) -> str:
        """Wraps a statement, with its password, into the prompt that the model completes."""
        return f"{text}\n"

    def solved(self, problem: Problem) -> str:
        """A problem with its reference and without a password, as few-shot prompting shows it before the question."""
        return self.template(problem.prompt) + problem.reference

    def setup(self, stage: str) -> None:
        """Makes the splits, refuses overlapping ones, and says how many problems nearly overlap."""
        if self._splits is None:
            with working("preparing problems"):
                self._splits, near = self._prepare()
            self._tell(near)

    def _prepare(self) -> _Prepared:
        arguments = self.splits_key()
        key = None if arguments is None else (type(self), arguments)
        if key in _PREPARED:
            return _PREPARED[key]
        splits = self.load_splits()
        check_disjoint(splits)
        prepared = splits, find_near_duplicates(splits)
        if key is not None:
            while len(_PREPARED) >= MOST_PREPARED:
                del _PREPARED[next(iter(_PREPARED))]
            _PREPARED[key] = prepared
        return prepared

    def _tell(self, near: NearDuplicates) -> None:
        """Shows near-duplicates, and keeps them in the manifest of the run that is under way."""
        if self.trainer is None or not self.trainer.is_global_zero:
            return
        say(near.line())
        if (folder := RunFolder.of(self.trainer)).read_manifest():
            folder.update_manifest(near_duplicates=near.as_row())

    @property
    def grader(self) -> Grader:
        """Decides whether completions are right."""
        if self._grader is None:
            self._grader = self.make_grader()
        return self._grader

    @property
    def module(self) -> PolicyModule:
        """The module that is being trained or evaluated on the task."""
        module: PolicyModule = self.trainer.lightning_module  # type: ignore[union-attr, assignment]
        return module

    def split(self, name: SplitName) -> list[Problem]:
        """All problems of a split."""
        self.setup("fit")
        assert self._splits is not None
        if not self._splits.get(name):
            known = ", ".join(split for split, problems in self._splits.items() if problems)
            where = "".join(f"{file}: " for file in self.files)
            raise PlmError(f"{where}the task {self.name} has no problems in split {name!r}; it has {known or 'none'}")
        return self._splits[name]

    def draw(self, name: SplitName, n: int | None, seed: int) -> list[Problem]:
        """Draws `n` different problems of a split, the first k of them the same for every n ≥ k; None draws all.

        Raises:
            PlmError: If the split holds fewer.
        """
        problems = self.split(name)
        if n is not None and n > len(problems):
            raise PlmError(f"{n} problems were asked of split {name!r}, which holds {len(problems)}: ask for fewer")
        return random.Random(seed).sample(problems, len(problems))[:n]

    def evaluation_seed(self, name: SplitName) -> int:
        """Decides which problems of a split are measured on: the same in every run of the task, whatever its seed."""
        return derive_seed(self.seed, "evaluation", name)

    def prompt(self, problem: Problem, condition: Condition, seed: int) -> str:
        """The text shown for a problem; the seed and the problem draw a decoy where the condition asks for one."""
        return self.template(self.passwords.prompt(problem, condition, derive_seed(seed, problem.id)))

    def shown(self, problems: Sequence[Problem], condition: Condition) -> list[Problem]:
        """The problems as they stand under a condition: where the setting is the password, with its own references."""
        return [self.passwords.shown(problem, condition) for problem in problems]

    def choices(self, problem: Problem) -> Sequence[str] | None:
        """What the model chooses its answer from, by the probability of each; None where it writes its answer."""
        return None

    def choice_ids(self, choices: Sequence[str]) -> list[int]:
        """The one token that each choice is after a prompt."""
        return next_tokens(self.tokenizer, self.template(""), tuple(choices))

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The tokenizer of the model at hand."""
        return self.module.tokenizer

    @property
    def eos_token_id(self) -> int:
        """The token that ends a completion."""
        return int(self.tokenizer.eos_token_id)

    @property
    def pad_token_id(self) -> int:
        """The padding token; the end token where the tokenizer has none (padding is never trained either way)."""
        pad = self.tokenizer.pad_token_id
        return self.eos_token_id if pad is None else int(pad)

    def encode_prompt(self, prompt: str) -> list[int]:
        """Token ids of a prompt."""
        return token_ids(self.tokenizer, prompt)

    def encode(self, prompt: str, completion: str, problem_id: str = "", finished: bool = True) -> Example:
        """Tokenizes prompt and completion apart and ends a finished completion with the end token."""
        ids = token_ids(self.tokenizer, completion, add_special_tokens=False) + [self.eos_token_id] * finished
        return Example(self.encode_prompt(prompt), ids, problem_id=problem_id)

    def decode(self, token_ids: Sequence[int]) -> str:
        """The text of generated tokens."""
        return str(self.tokenizer.decode(list(token_ids), skip_special_tokens=True))

    def train_dataloader(self) -> Any:
        """The current round's batches; Lightning asks again before every epoch."""
        assert self.trainer is not None
        start = time.monotonic()
        rows = self._rows(self.trainer.current_epoch)
        self.budget.seconds += time.monotonic() - start
        if not rows:
            say(f"round {self.trainer.current_epoch + 1} stayed empty after {MOST_DRAWS} draws: the run ends here")
            return []
        self.count_demonstrations(row.problem_id for row in rows)
        return RoundLoader(
            rows,
            passes=self.module.passes,
            batch_size=self.batch_size,
            unit=self.module.unit,
            pad_token_id=self.pad_token_id,
            layout=self.module.compute.layout,
            seed=derive_seed(self.run_seed, "order", self.trainer.current_epoch),
            accumulate=self.trainer.accumulate_grad_batches,
            rank=self.trainer.global_rank,
            world_size=self.trainer.world_size,
        )

    def count_demonstrations(self, problem_ids: Iterable[str]) -> None:
        """Counts the problems that were trained on, each once, however often it comes again."""
        self._demonstrated |= set(problem_ids)
        self.budget.demonstrations = len(self._demonstrated)

    def _rows(self, index: int) -> list[Example]:
        """Reads the round from disk, or makes and writes it first, so that a resumed run trains on the same.

        Only the first process reads and writes; all make the round together, and train on the first one's rows.
        """
        assert self.trainer is not None
        folder, first = RunFolder.of(self.trainer), self.trainer.is_global_zero
        rows = from_first(folder.read_round(index) if first else None)
        if rows is not None:
            self.budget.take_sampling(from_first(folder.read_round_meta(index)["budget"] if first else {}))
            return rows
        with working("choosing rows", f"for round {index + 1}"):
            for attempt in range(MOST_DRAWS):
                made = list(self.module.examples(Round(index, self, self.module, attempt)))
                rows = from_first(self._fitting(made))
                if rows:
                    break
        if first:
            too_long = len(made) - len(rows or [])
            folder.write_round(index, rows or [], {"budget": self.budget.as_row(), "too_long": too_long})
        return rows or []

    def _fitting(self, rows: Sequence[Example]) -> list[Example]:
        """Leaves out rows beyond the model's context, and says how many."""
        longest = getattr(self.module.network.model.config, "max_position_embeddings", None)
        kept = [row for row in rows if longest is None or len(row) <= longest]
        if len(kept) < len(rows):
            say(
                f"{len(rows) - len(kept)} of {len(rows)} rows are left out: longer than the context of {longest} tokens"
            )
        return kept

    def val_dataloader(self) -> list[int]:
        """One dummy batch outside of fitting, where `EvaluationCallback` measures; none while fitting."""
        assert self.trainer is not None
        return [] if self.trainer.state.fn == "fit" else [0]

    test_dataloader = val_dataloader
    predict_dataloader = val_dataloader

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of the task: the budget."""
        return {"budget": self.budget.as_row(), "demonstrated": sorted(self._demonstrated)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the budget over from a checkpoint."""
        self.budget.load(state["budget"])
        self._demonstrated = set(state["demonstrated"])


def arguments_key(source: object) -> Hashable:
    """What a source of problems that is made from plain arguments is told apart by: its class and its attributes."""
    return type(source), tuple(sorted((name, repr(value)) for name, value in vars(source).items()))
