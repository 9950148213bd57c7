"""What all checks share: shapes, rows of the table, time and memory on a GPU or a CPU."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

GIB = float(1 << 30)
PEAK_FLOPS = {"H100": 989e12, "H200": 989e12, "A100": 312e12}  # dense bf16, from NVIDIA's data sheets


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        check: Which check it belongs to.
        what: What was measured.
        measured: With its unit.
        bar: What it should be; empty where nothing is asked.
        met: Whether it is; None where there is no bar, or nothing was measured.
    """

    check: str
    what: str
    measured: str
    bar: str = ""
    met: bool | None = None


class Shape(NamedTuple):
    """A Llama: width, layers, heads, heads for keys and values, width of the MLP, vocabulary, tied embeddings."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp: int
    vocabulary: int
    tied: bool

    def parameters(self, head: bool = False) -> float:
        """How many weights take part in a matrix product for a token; with the output layer or without."""
        kv = self.width * self.kv_heads // self.heads
        block = 2 * self.width * (self.width + kv) + 3 * self.width * self.mlp
        return self.layers * block + (self.vocabulary * self.width if head else 0)


SHAPES = {
    "tiny": Shape(64, 2, 2, 2, 128, 512, True),
    "100m": Shape(768, 12, 12, 12, 2048, 32000, True),
    "1b": Shape(2048, 16, 32, 8, 8192, 128256, True),  # of Llama-3.2-1B
    "7b": Shape(4096, 32, 32, 32, 11008, 32000, False),  # of Llama-2-7B
}


class Setting(NamedTuple):
    """Where and how large: the device, whether it is a try-out, and where rows of the table go."""

    device: str
    tiny: bool
    output: Path

    def write(self, row: Row) -> None:
        """Keeps a row at once: a check that is stopped later keeps what it has measured."""
        with self.output.open("a") as file:
            file.write(json.dumps(row._asdict()) + "\n")


def make_model(shape: Shape, setting: Setting, dtype: torch.dtype, positions: int = 4096) -> PreTrainedModel:
    """The model with random weights, made on the device."""
    config = LlamaConfig(
        hidden_size=shape.width, num_hidden_layers=shape.layers, num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads, intermediate_size=shape.mlp, vocab_size=shape.vocabulary,
        max_position_embeddings=positions, tie_word_embeddings=shape.tied,
        bos_token_id=None, eos_token_id=1, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(setting.device):
            model: PreTrainedModel = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    finally:
        torch.set_default_dtype(before)
    nn.Module.eval(model)
    return model


def wait(device: str) -> None:
    """Until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], Any], device: str, times: int = 5, warm: int = 2) -> float:
    """The median time of some calls, each waited for, after some that warm up."""
    for _ in range(warm):
        work()
    taken = []
    for _ in range(times):
        wait(device)
        start = time.perf_counter()
        work()
        wait(device)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def begin_memory(device: str) -> None:
    """Counts the highest memory from here on."""
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: str) -> float | None:
    """Most memory of tensors since then, those included that were there before, in GiB; None on a CPU."""
    return torch.cuda.max_memory_allocated() / GIB if device == "cuda" else None


def peak_flops(device: str) -> float | None:
    """Dense bf16 operations a second of this GPU, None where it is not known."""
    if device != "cuda":
        return None
    name = torch.cuda.get_device_name()
    return next((rate for known, rate in PEAK_FLOPS.items() if known in name), None)


def shown_gib(value: float | None) -> str:
    """Memory, or that it is not measured."""
    return "not measured" if value is None else f"{value:.1f} GiB"
