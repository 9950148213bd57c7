"""SFT and DPO at the shapes of real models: tokens a second, share of the GPU's rate, memory; beside TRL."""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

import torch
from lightning.fabric.utilities import move_data_to_device
from measuring import GIB, SHAPES, Row, Setting, Shape, begin_memory, make_model, peak_flops, peak_gib, seconds_of, wait
from torch import Tensor

from plm.examples import Batch, Example, collate
from plm.losses import dpo_loss, sft_loss
from plm.network import PolicyNetwork
from plm.optim import Lion

Method = Literal["sft", "dpo"]
BARS = {"sft": 0.50, "dpo": 0.40}  # of the GPU's dense bf16 rate, at 7B
BETA = 0.1
ROOMY = 120 * GIB  # from here on a 7B model needs no gradient checkpointing for half as many rows at a time


class Work:
    """One optimizer step: how many rows, of how many tokens, and what has to be computed for them.

    Args:
        shape: Of the model.
        method: SFT: every row has a prompt of its own. DPO: two rows share one.
        tiny: A try-out.
        rows: Of a micro-batch.
        micro_batches: Of a step.
    """

    def __init__(self, shape: Shape, method: Method, tiny: bool, rows: int = 16, micro_batches: int = 1) -> None:
        self.shape, self.method = shape, method
        self.rows, self.micro_batches = 4 if tiny else rows, micro_batches
        self.prompt, self.completion = (16, 16) if tiny else (512, 512)
        generator = torch.Generator().manual_seed(3)

        def ids(size: int) -> list[int]:
            return torch.randint(2, shape.vocabulary, (size,), generator=generator).tolist()

        prompts = [ids(self.prompt) for _ in range(self.rows)]
        pairs = method == "dpo"
        self.examples = [
            Example(prompts[i // 2 if pairs else i], ids(self.completion), group=i // 2 if pairs else -1)
            for i in range(self.rows)
        ]

    @property
    def tokens(self) -> int:
        """Tokens of a step, the prompt of a pair counted twice, whether it is computed once or twice."""
        return self.micro_batches * self.rows * (self.prompt + self.completion)

    @property
    def units(self) -> float:
        """What a step's loss is divided by: trained tokens, for DPO pairs."""
        return self.micro_batches * (self.rows / 2 if self.method == "dpo" else self.rows * self.completion)

    def flops(self) -> float:
        """What a step needs: 6 operations a weight and token, attention, the output layer for completions alone.

        A shared prompt counts once; recomputing in the backward pass does not count; DPO's reference pass is not part.
        """
        prompts = self.rows // 2 if self.method == "dpo" else self.rows
        tokens = prompts * self.prompt + self.rows * self.completion
        length = self.prompt + self.completion
        pairs = prompts * self.prompt**2 / 2 + self.rows * (length**2 - self.prompt**2) / 2  # of query and key
        attention = 12 * self.shape.layers * self.shape.width * pairs
        head = 6 * self.shape.vocabulary * self.shape.width * self.rows * self.completion
        return self.micro_batches * (6 * self.shape.parameters() * tokens + attention + head)


def train(setting: Setting, size: str, method: Method, optimizer: Literal["lion", "adamw"]) -> None:
    """A step of plm: packed on CUDA; at 7B four micro-batches, with checkpointing where memory asks for it."""
    name, large = "tiny" if setting.tiny else size, size == "7b"
    roomy = setting.device == "cuda" and torch.cuda.get_device_properties(0).total_memory > ROOMY
    work = Work(SHAPES[name], method, setting.tiny, 8 if large and roomy else 16, 4 if large else 1)
    dtype = torch.float32 if setting.device == "cpu" else torch.bfloat16
    begin_memory(setting.device)
    model = make_model(work.shape, setting, dtype)
    network = PolicyNetwork(model, gradient_checkpointing=large and not roomy).train()
    layout = "packed" if setting.device == "cuda" else "shared"
    batch: Batch = move_data_to_device(collate(work.examples, 0, work.units, layout=layout), setting.device)
    made: torch.optim.Optimizer = (
        Lion(network.parameters(), lr=1.5e-6)
        if optimizer == "lion"
        else torch.optim.AdamW(network.parameters(), 1e-6, fused=True)
    )
    loss = _sft(network, batch) if method == "sft" else _dpo(network, batch)

    def step() -> None:
        made.zero_grad(set_to_none=True)
        for _ in range(work.micro_batches):
            (loss() / batch.step_units).backward()
        made.step()

    seconds = seconds_of(step, setting.device, times=3 if large else 5)
    check = f"{method.upper()} {name}"
    peak, rate = peak_gib(setting.device), peak_flops(setting.device)
    memory = "" if peak is None else f", {peak:.1f} GiB"
    how = f"{optimizer}, {layout}, {work.micro_batches} × {work.rows} rows"
    how += ", checkpointing" * (large and not roomy)
    setting.write(Row(check, f"plm, {how}, tokens/s", f"{work.tokens / seconds:,.0f}{memory}"))
    update = seconds_of(made.step, setting.device, times=3, warm=0)
    setting.write(Row(check, "the optimizer, of a step", f"{update:.3f} of {seconds:.3f} s"))
    if rate is None:
        setting.write(Row(check, "share of the GPU's rate (MFU)", "not known for this device"))
        return
    share = work.flops() / seconds / rate
    asked = BARS[method] if large and not setting.tiny and optimizer == "lion" else None
    met = None if asked is None else share >= asked
    setting.write(Row(check, "share of the GPU's rate (MFU)", f"{share:.1%}", f"≥ {asked:.0%}" if asked else "", met))


def _sft(network: PolicyNetwork, batch: Batch) -> Callable[[], Tensor]:
    return lambda: sft_loss(network(batch), batch.weights_BL)


def _dpo(network: PolicyNetwork, batch: Batch) -> Callable[[], Tensor]:
    """With the reference's log-probabilities computed once, as in a round."""
    with torch.no_grad():
        reference = (network(batch) * batch.weights_BL).sum(1)

    def loss() -> Tensor:
        sums = (network(batch) * batch.weights_BL).sum(1)
        return dpo_loss(sums[::2], sums[1::2], reference[::2], reference[1::2], BETA)

    return loss


def train_trl(setting: Setting, size: str, method: Method) -> None:
    """TRL's step on the same rows, with AdamW and its own defaults for memory."""
    name = "tiny" if setting.tiny else size
    check = f"{method.upper()} {name}"
    if find_spec("trl") is None:
        setting.write(Row(check, "TRL, tokens/s", "not installed"))
        return
    work = Work(SHAPES[name], method, setting.tiny)
    dtype = torch.float32 if setting.device == "cpu" else torch.bfloat16
    begin_memory(setting.device)
    model = make_model(work.shape, setting, dtype)
    with tempfile.TemporaryDirectory() as folder:
        ends = _trl_steps(work, model, setting, folder, checkpointing=size == "7b")
    taken = sorted(b - a for a, b in itertools.pairwise(ends[1:]))
    peak = peak_gib(setting.device)
    memory = "" if peak is None else f", {peak:.1f} GiB"
    speed = work.tokens / taken[len(taken) // 2]
    setting.write(Row(check, "TRL, adamw, padded, tokens/s", f"{speed:,.0f}{memory}"))


def _trl_steps(work: Work, model: Any, setting: Setting, folder: str, checkpointing: bool) -> list[float]:
    """When each optimizer step ended."""
    from datasets import Dataset
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast, TrainerCallback
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    steps, ends = 6, []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            wait(setting.device)
            ends.append(time.perf_counter())

    words = models.WordLevel({"<pad>": 0, "<eos>": 1, "<unk>": 2}, unk_token="<unk>")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(words), pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    settings: dict[str, Any] = dict(
        output_dir=folder, use_cpu=setting.device == "cpu", bf16=False, report_to=[], logging_strategy="no",
        save_strategy="no", disable_tqdm=True, gradient_checkpointing=checkpointing, max_grad_norm=0.0,
        learning_rate=1e-6, lr_scheduler_type="constant", optim="adamw_torch_fused", max_steps=steps,
        max_length=work.prompt + work.completion, dataloader_pin_memory=False,
    )  # fmt: skip
    if work.method == "sft":
        rows = [{"input_ids": [*e.prompt_ids, *e.completion_ids],
                 "labels": [-100] * len(e.prompt_ids) + list(e.completion_ids)} for e in work.examples]  # fmt: skip
        config = SFTConfig(**settings, per_device_train_batch_size=work.rows)
        data = Dataset.from_list(rows * steps)
        trainer = SFTTrainer(model=model, args=config, processing_class=tokenizer, train_dataset=data)
    else:
        config = DPOConfig(
            **settings, per_device_train_batch_size=work.rows // 2, precompute_ref_log_probs=True, beta=BETA
        )
        texts = Dataset.from_list([{"prompt": "a", "chosen": "b", "rejected": "c"}] * (work.rows // 2))
        trainer = DPOTrainer(model=model, args=config, processing_class=tokenizer, train_dataset=texts)
        pairs = [
            {"prompt_ids": list(a.prompt_ids), "chosen_ids": list(a.completion_ids),
             "rejected_ids": list(b.completion_ids), "ref_chosen_logps": 0.0, "ref_rejected_logps": 0.0}
            for a, b in zip(work.examples[::2], work.examples[1::2], strict=True)
        ]  # fmt: skip
        trainer.train_dataset = Dataset.from_list(pairs * steps)
    trainer.add_callback(Clock())
    trainer.train()
    return ends
