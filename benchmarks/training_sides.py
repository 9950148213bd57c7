"""The same optimizer steps by plm and by TRL, for `training.py`: models, rows, and a run of each trainer.

A side is a function of a case, a model, a number of steps and a folder; it returns what every step took.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

Method = Literal["sft", "dpo"]
LEARNING_RATE = 1e-5


@dataclass(frozen=True)
class Case:
    """One comparison.

    Args:
        model: A key of `SHAPES`.
        method: What is trained.
        prompt: Tokens of every prompt.
        completion: Tokens of every completion.
        rows: Rows in an optimizer step; two of them are a pair of DPO.
        faster: The bar: plm's tokens/s over TRL's.
        leaner: The bar: plm's peak memory over TRL's.
    """

    model: str
    method: Method
    prompt: int
    completion: int
    rows: int = 4
    faster: float | None = None
    leaner: float | None = None

    @property
    def tokens(self) -> int:
        """Tokens in a step."""
        return self.rows * (self.prompt + self.completion)

    @property
    def name(self) -> str:
        """How the command line calls it."""
        return f"{self.model} {self.method} {self.prompt}+{self.completion}"


class Shape(NamedTuple):
    """A model's shape in words, and its configuration."""

    words: str
    architecture: Literal["gpt_neox", "llama"]
    config: dict[str, Any]


SHAPES = {
    "neox": Shape(
        "GPT-NeoX, 19M parameters and a vocabulary of 50,304 (Pythia-70m's shape)",
        "gpt_neox",
        dict(hidden_size=512, num_hidden_layers=6, num_attention_heads=8, intermediate_size=2048, vocab_size=50304,
             max_position_embeddings=2048, tie_word_embeddings=False),
    ),
    "llama": Shape(
        "Llama, 110M parameters with a tied vocabulary of 32,000",
        "llama",
        dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, num_key_value_heads=12,
             intermediate_size=2048, vocab_size=32000, max_position_embeddings=2048, tie_word_embeddings=True),
    ),
    "tiny": Shape(
        "Llama of a test",
        "llama",
        dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, intermediate_size=64,
             vocab_size=128, max_position_embeddings=128, tie_word_embeddings=True),
    ),
}  # fmt: skip


class Taken(NamedTuple):
    """What something took: seconds of the clock on the wall, and of all processors together."""

    wall: float
    processor: float

    def __add__(self, other: Taken) -> Taken:  # type: ignore[override]
        return Taken(self.wall + other.wall, self.processor + other.processor)

    def per(self, parts: int) -> Taken:
        """One part of it."""
        return Taken(self.wall / parts, self.processor / parts)


class Clock:
    """Notes moments, and says what passed between them."""

    def __init__(self) -> None:
        self.moments = [(time.perf_counter(), time.process_time())]

    def note(self) -> None:
        """Now."""
        self.moments.append((time.perf_counter(), time.process_time()))

    def between(self) -> list[Taken]:
        """What each moment took after the one before it."""
        return [Taken(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(self.moments)]


def make_model(shape: Shape) -> Any:
    """The model with random weights, the same every time."""
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    special = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    if shape.architecture == "llama":
        return LlamaForCausalLM(LlamaConfig(**shape.config, **special))
    return GPTNeoXForCausalLM(GPTNeoXConfig(**shape.config, **special))


def make_tokenizer() -> Any:
    """A tokenizer of three words: rows are token ids already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = models.WordLevel({"<pad>": 0, "<eos>": 1, "<unk>": 2}, unk_token="<unk>")
    names = {"pad_token": "<pad>", "eos_token": "<eos>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), **names)


def make_rows(case: Case, steps: int) -> list[tuple[list[int], list[int]]]:
    """Prompt and completion ids; of DPO two after each other share a prompt."""
    generator = torch.Generator().manual_seed(1)
    words = SHAPES[case.model].config["vocab_size"]

    def ids(n: int) -> list[int]:
        return torch.randint(3, words, (n,), generator=generator).tolist()

    per_prompt = 2 if case.method == "dpo" else 1
    prompts = [ids(case.prompt) for _ in range(steps * case.rows // per_prompt)]
    return [(prompt, [*ids(case.completion - 1), 1]) for prompt in prompts for _ in range(per_prompt)]


# -- plm --------------------------------------------------------------------------------------------------------------


def plm_steps(case: Case, model: torch.nn.Module, steps: int, folder: Path) -> list[Taken]:
    """Each optimizer step of plm, the first one left out; for DPO with its share of the reference pass."""
    from lightning import Trainer

    clock = Clock()
    module, task, callback = plm_run(case, model, steps, clock)
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, callbacks=[callback],
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1, use_distributed_sampler=False,
    )  # fmt: skip
    trainer.fit(module, datamodule=task)
    return [step + module.reference.per(steps) for step in clock.between()[2:]]


def plm_run(case: Case, model: torch.nn.Module, steps: int, clock: Clock) -> tuple[Any, Any, Any]:
    """The module, its task, and a callback that notes when steps end."""
    from lightning.pytorch import Callback

    from plm.datamodules.base import TaskDataModule
    from plm.datamodules.splits import Splits
    from plm.examples import Example
    from plm.graders.base import Grader
    from plm.models import LoadedModel, ModelSource
    from plm.modules import IteratedDPOModule, SFTModule
    from plm.policies import ReferencePolicy
    from plm.records import Problem
    from plm.rounds import Round

    made = make_rows(case, steps)

    class Given(ModelSource):
        def load(self, texts: Iterable[str], extra_texts: Iterable[str] = (), seed: int = 0) -> LoadedModel:
            return LoadedModel(model, make_tokenizer())

    class Rows(TaskDataModule):
        name = "rows"

        def load_splits(self) -> Splits:
            return {"elicit": [Problem("0", "a", "a", "a", group="0")]}

        def make_grader(self) -> Grader:
            raise AssertionError("nothing is graded")

    class SFT(SFTModule):
        reference = Taken(0.0, 0.0)

        def examples(self, round: Round) -> list[Example]:
            return [Example(prompt, completion, problem_id="0") for prompt, completion in made]

    class DPO(IteratedDPOModule):
        reference = Taken(0.0, 0.0)

        def examples(self, round: Round) -> list[Example]:
            rows = [Example(prompt, completion, problem_id="0") for prompt, completion in made]
            begun = Clock()
            references = [sum(values) for values in round.token_logprobs(rows)]
            begun.note()
            (self.reference,) = begun.between()
            return [
                Example(
                    row.prompt_ids, row.completion_ids, group=i // 2, problem_id="0",
                    scalars={"reference": references[i], "sign": 1.0 - 2.0 * (i % 2), "weight": 1.0},
                )
                for i, row in enumerate(rows)
            ]  # fmt: skip

    class Steps(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            clock.note()

        def on_train_batch_end(self, *args: Any) -> None:
            clock.note()

    task = Rows(batch_size=case.rows if case.method == "sft" else case.rows // 2, max_new_tokens=case.completion)
    if case.method == "sft":
        return SFT(Given(), make_optimizer, ReferencePolicy()), task, Steps()
    return DPO(Given(), make_optimizer, problems=1), task, Steps()


def make_optimizer(parameters: Iterable[Any]) -> torch.optim.Optimizer:
    """The optimizer of both sides."""
    return torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=0.0, fused=True)


# -- TRL --------------------------------------------------------------------------------------------------------------


def trl_steps(case: Case, model: torch.nn.Module, steps: int, folder: Path) -> list[Taken]:
    """The same of TRL."""
    from transformers import TrainerCallback

    class Steps(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            clock.note()

    trainer, reference = trl_trainer(case, model, steps, folder)
    trainer.add_callback(Steps())
    clock = Clock()
    trainer.train()
    return [step + reference.per(steps) for step in clock.between()[1:]]


def trl_trainer(case: Case, model: torch.nn.Module, steps: int, folder: Path) -> tuple[Any, Taken]:
    """TRL's trainer on the same rows, ready, and what its reference pass took."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    made = make_rows(case, steps)
    settings: dict[str, Any] = dict(
        output_dir=str(folder), use_cpu=True, bf16=False, report_to=[], logging_strategy="no", save_strategy="no",
        disable_tqdm=True, gradient_checkpointing=False, max_grad_norm=0.0, learning_rate=LEARNING_RATE,
        lr_scheduler_type="constant", optim="adamw_torch_fused", weight_decay=0.0, num_train_epochs=1,
        max_length=case.prompt + case.completion, dataloader_pin_memory=False,
    )  # fmt: skip
    if case.method == "sft":
        rows = [
            {"input_ids": prompt + completion, "labels": [-100] * len(prompt) + completion}
            for prompt, completion in made
        ]
        config = SFTConfig(**settings, per_device_train_batch_size=case.rows)
        trainer = SFTTrainer(
            model=model, args=config, processing_class=make_tokenizer(), train_dataset=Dataset.from_list(rows)
        )
        return trainer, Taken(0.0, 0.0)
    pairs = [
        {"prompt_ids": made[i][0], "chosen_ids": made[i][1], "rejected_ids": made[i + 1][1]}
        for i in range(0, len(made), 2)
    ]
    texts = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * len(pairs))
    config = DPOConfig(**settings, per_device_train_batch_size=case.rows // 2, precompute_ref_log_probs=True, beta=0.1)
    trainer = DPOTrainer(model=model, args=config, processing_class=make_tokenizer(), train_dataset=texts)
    begun = Clock()
    for index in range(0, len(pairs), case.rows // 2):
        batch = pairs[index : index + case.rows // 2]
        chosen, rejected = trainer.compute_ref_log_probs(trainer.model, trainer.data_collator(batch))
        for row, a, b in zip(batch, chosen.tolist(), rejected.tolist(), strict=True):
            row |= {"ref_chosen_logps": a, "ref_rejected_logps": b}
    begun.note()
    trainer.train_dataset = Dataset.from_list(pairs)
    return trainer, begun.between()[0]
