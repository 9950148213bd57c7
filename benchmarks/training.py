"""Trains the same model on the same rows with plm and with TRL, side by side: tokens per second and peak memory.

    python benchmarks/training.py                       every case, as docs/speed.md shows them (`plm bench training`)
    python benchmarks/training.py --only neox sft 512+128 --pairs 5
    python benchmarks/training.py --json FILE           every step's seconds as JSON too

From Python: `measure(case, pairs)` returns one `Comparison`, `CASES` are the cases of the documentation, `report` makes
the table as Markdown. A figure is a median over interleaved pairs: plm, TRL, plm, TRL, … in one process, each after one
step that is not counted. Peak memory is measured in a process of its own for each trainer: the highest resident size
while it trains, less what the process held before the model was made; so weights, gradients and optimizer are part.

What is compared: complete optimizer steps of `plm.modules` under Lightning and of TRL's trainers under accelerate, in
float32, with `torch.optim.AdamW(fused=True)`. TRL gets its best settings for time: no logging, no saving, no gradient
clipping, no gradient checkpointing, and for DPO reference log-probabilities computed once (`precompute_ref_log_probs`,
which also saves it the second model). plm computes the norm of the gradient, as it always does. For DPO both times hold
the reference pass, once for every pair, as in a round of iterated DPO. Tokens are those of prompts and completions, the
prompt of a pair counted twice, whether it is computed once or twice.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost most of a shared machine's time
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import argparse
import contextlib
import copy
import gc
import itertools
import json
import logging
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

Method = Literal["sft", "dpo"]
Side = Literal["plm", "trl"]
LEARNING_RATE = 1e-5
VERSIONS = ("torch", "transformers", "lightning", "trl", "accelerate")


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


CASES = (
    Case("neox", "sft", 512, 128, faster=2.5, leaner=0.6),
    Case("neox", "dpo", 512, 128, faster=3.0, leaner=0.6),
    Case("neox", "sft", 128, 512, faster=1.1),
    Case("neox", "dpo", 128, 512, faster=1.5),
    Case("llama", "sft", 512, 128),
    Case("llama", "dpo", 512, 128),
)


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


@dataclass
class Comparison:
    """What one case gave.

    Attributes:
        taken: For each side, an optimizer step of each pair.
        peak: For each side, memory at its highest in MiB, without what the process held before there was a model.
        load: Of the machine, processes that want to run, when the case began.
    """

    case: Case
    taken: dict[Side, list[Taken]] = field(default_factory=lambda: {"plm": [], "trl": []})
    peak: dict[Side, float] = field(default_factory=dict)
    load: float = 0.0

    def faster(self, clock: Literal["wall", "processor"]) -> float:
        """Median over the pairs of plm's tokens/s over TRL's."""
        pairs = zip(self.taken["plm"], self.taken["trl"], strict=True)
        return statistics.median(getattr(b, clock) / getattr(a, clock) for a, b in pairs)

    def tokens_per_second(self, side: Side) -> float:
        """Median over the pairs."""
        return self.case.tokens / statistics.median(each.wall for each in self.taken[side])


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


# -- measuring --------------------------------------------------------------------------------------------------------

SIDES: dict[Side, Callable[[Case, torch.nn.Module, int, Path], list[Taken]]] = {"plm": plm_steps, "trl": trl_steps}


def run_side(side: Side, case: Case, model: torch.nn.Module, steps: int = 2) -> list[Taken]:
    """The steps after the first one; what the trainers say goes to standard error."""
    _quieten()
    gc.collect()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        return SIDES[side](case, model, steps, Path(folder))


def measure(case: Case, pairs: int = 5, *, memory: bool = True) -> Comparison:
    """Times interleaved pairs, and measures the peak memory of each side."""
    found = Comparison(case, load=os.getloadavg()[0])
    model = make_model(SHAPES[case.model])
    for index in range(pairs):
        for side in SIDES:
            found.taken[side] += run_side(side, case, copy.deepcopy(model))
        a, b = (found.taken[side][-1].wall for side in SIDES)
        print(f"{case.name}: pair {index + 1} of {pairs}, plm {a:.2f} s, TRL {b:.2f} s a step", file=sys.stderr)
    if memory:
        found.peak = {side: peak_memory(side, case) for side in SIDES}
    return found


def peak_memory(side: Side, case: Case) -> float:
    """MiB that a fresh process needs for weights, gradients, optimizer and activations of two steps."""
    command = [sys.executable, __file__, "--peak", side, case.model, case.method, f"{case.prompt}+{case.completion}"]
    done = subprocess.run([*command, "--rows", str(case.rows)], check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.split()[-1])


def _own_peak(side: Side, case: Case) -> float:
    """As `peak_memory`, of this process: all libraries are imported and used before the count begins."""
    run_side(side, Case("tiny", case.method, 8, 8, rows=2), make_model(SHAPES["tiny"]))
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the highest size is counted from here on
    before = _status("VmRSS")
    run_side(side, case, make_model(SHAPES[case.model]))
    return _status("VmHWM") - before


def _status(name: str) -> float:
    """A size of this process in MiB, as Linux counts it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _quieten() -> None:
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "transformers", "trl", "accelerate", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from datasets import disable_progress_bars

    disable_progress_bars()


HEAD = (
    "| | tokens a step | plm tokens/s | TRL tokens/s | faster | in processor time | bar | plm MiB | TRL MiB | share "
    "| bar | load |\n|" + "---|" * 12
)


def report(found: Sequence[Comparison]) -> str:
    """The table as Markdown, after versions and machine."""
    return "\n".join([machine(), "", HEAD, *map(line, found)])


def line(each: Comparison) -> str:
    """A case's line of the table."""
    case = each.case
    cells = [case.name, str(case.tokens), *(f"{each.tokens_per_second(side):,.0f}" for side in SIDES)]
    cells += [f"{each.faster('wall'):.2f}×", f"{each.faster('processor'):.2f}×"]
    cells += [f"≥ {case.faster}×" if case.faster else ""]
    share = each.peak["plm"] / each.peak["trl"] if each.peak else 0.0
    cells += [*(f"{each.peak[side]:,.0f}" for side in SIDES), f"{share:.2f}"] if each.peak else ["", "", ""]
    cells += [f"≤ {case.leaner}" if case.leaner else "", f"{each.load:.1f}"]
    return f"| {' | '.join(cells)} |"


def machine() -> str:
    """Versions, the machine and the models."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in VERSIONS)
    shapes = "; ".join(f"`{name}`: {SHAPES[name].words}" for name in ("neox", "llama"))
    where = f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, float32"
    return f"{where}; {versions}. {shapes}."


def _case(words: Sequence[str], rows: int | None) -> Case:
    """The case that three words name: of `CASES`, or one without bars."""
    model, method, lengths = words
    prompt, completion = map(int, lengths.split("+"))
    for case in CASES:
        if (case.model, case.method, case.prompt, case.completion) == (model, method, prompt, completion):
            if rows in (None, case.rows):
                return case
    return Case(model, "dpo" if method == "dpo" else "sft", prompt, completion, rows or 4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table of all cases, or of one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs=3, metavar=("MODEL", "METHOD", "PROMPT+COMPLETION"))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--rows", type=int, default=None, help="rows in a step; with --only")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--json", type=Path, default=None)
    parser.add_argument("--peak", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.peak:
        side: Side = "plm" if given.peak[0] == "plm" else "trl"
        print(_own_peak(side, _case(given.peak[1:], given.rows)))
        return
    cases = [_case(given.only, given.rows)] if given.only else list(CASES)
    print(machine(), HEAD, sep="\n\n", flush=True)
    found = []
    for case in cases:
        found.append(measure(case, given.pairs, memory=not given.no_memory))
        print(line(found[-1]), flush=True)
    if given.json:
        given.json.write_text(json.dumps([asdict(each) for each in found], indent=1))


if __name__ == "__main__":
    main()
