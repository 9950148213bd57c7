"""Times the embedded engine beside the library's own batched `generate`, and beside vLLM where it is installed.

    plm bench generation --output docs/speed.md                     about 0.6, 20 and 115 million parameters
    plm bench generation -- --sizes 96x3 --prompts 64 --clock cpu   one row, on a busy machine

Two tables: samples that end at different times, as those of trained models do, and greedy completions of one length,
which vLLM makes too, where the environment has it. What vLLM's start takes says from how many tokens on it is worth
starting. All runs of a row are made in turn in one process; figures are medians. `--clock cpu` counts the process's CPU
time, for a shared machine. `--minutes` bounds the whole: a row gets an equal share of what is left, and makes fewer
turns, one at least, where its share is over.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost most of a shared machine's time

import argparse
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from plm.engines.base import Engine, SamplingParams
from plm.engines.hf import HFEngine
from plm.engines.vllm import VLLMEngine, is_installed
from plm.models import FromScratch, initialize

EOS, NO_END = 1, 10**6
SHORTEST, LONGEST = 30, 70  # tokens of a prompt
BLOCK = 128  # tokens that vLLM keeps together on a CPU
BATCH_SIZE = 256
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Completions = list[list[int]]


class Measured(NamedTuple):
    """What the runs of a row gave: kept new tokens in a second, how many turns were made, and the last completions."""

    speed: dict[str, float]
    turns: int
    made: dict[str, Completions]


class Time:
    """Shares the minutes between the rows that are still to be made."""

    def __init__(self, minutes: float, rows: int) -> None:
        self.end = time.monotonic() + 60 * minutes
        self.rows = rows

    def next_row(self) -> float:
        """Until when the next row may take."""
        now = time.monotonic()
        self.rows -= 1
        return now + (self.end - now) / (self.rows + 1)


class Starting(NamedTuple):
    """What vLLM's start took, and the median of handing over weights afterwards, in seconds."""

    start: float
    sync: float


def make_model(hidden_size: int, layers: int, ends: bool = False) -> PreTrainedModel:
    """A Llama of about half a million parameters at 96 x 3; where it `ends`, samples do so after some 35 tokens."""
    source = FromScratch(hidden_size=hidden_size, layers=layers, heads=hidden_size // 32)
    config = LlamaConfig(
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=hidden_size // 32,
        intermediate_size=source.intermediate_size,
        vocab_size=source.vocab_size,
        max_position_embeddings=source.max_length,
        tie_word_embeddings=False,  # tied, a model without layers to speak of repeats its last token
        eos_token_id=EOS if ends else None,
        pad_token_id=0,
    )
    model: PreTrainedModel = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    initialize(model, 0)
    if ends:
        model.get_submodule("lm_head").register_forward_hook(_favour_end)
    nn.Module.eval(model)
    return model


def _favour_end(module: nn.Module, inputs: object, logits: Tensor) -> None:
    logits[..., EOS] += 2.9  # against 640 tokens of unit variance: ends after some 35 tokens


def run_engine(engine: Engine, prompts: Completions, params: SamplingParams, version: str) -> Completions:
    """One of the package's engines, with weights that it has."""
    made = engine.generate(prompts, params, version=version, seeds=range(len(prompts)))
    return [completion.token_ids for completion in made]


def run_library(model: PreTrainedModel, prompts: Completions, params: SamplingParams) -> Completions:
    """The ordinary loop: batches as large as the engine's, in the given order, each until its last row ends."""
    completions = []
    for start in range(0, len(prompts), BATCH_SIZE):
        batch = prompts[start : start + BATCH_SIZE]
        width = max(map(len, batch))
        output = cast(Any, model).generate(
            input_ids=torch.tensor([[0] * (width - len(ids)) + ids for ids in batch]),
            attention_mask=torch.tensor([[0] * (width - len(ids)) + [1] * len(ids) for ids in batch]),
            max_new_tokens=params.max_new_tokens,
            do_sample=params.temperature > 0,
            temperature=params.temperature or None,
            top_k=0 if params.temperature else None,
        )
        completions += [_before_end(ids, params.eos_token_id) for ids in output[:, width:].tolist()]
    return completions


def _before_end(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end)] if end in ids else ids


def make_prompts(count: int) -> Completions:
    rng = random.Random(0)
    return [[rng.randrange(2, 640) for _ in range(rng.randint(SHORTEST, LONGEST))] for _ in range(count)]


def speeds(
    runs: dict[str, Callable[[list[list[int]]], Completions]],
    prompts: Completions,
    pairs: int,
    clock: str,
    until: float,
) -> Measured:
    """Medians over turns, after a few prompts that warm up; one turn at least, and no other that would end late."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    made: dict[str, Completions] = {}
    for run in runs.values():
        run(prompts[:2])
    while True:
        begun = time.monotonic()
        for name, run in runs.items():
            start = CLOCKS[clock]()
            made[name] = run(prompts)
            measured[name].append(sum(map(len, made[name])) / (CLOCKS[clock]() - start))
        turns, took = len(measured["hf"]), time.monotonic() - begun
        if turns == pairs or time.monotonic() + took > until:
            return Measured({name: statistics.median(values) for name, values in measured.items()}, turns, made)


def sampled_row(size: tuple[int, int], count: int, arguments: argparse.Namespace, until: float) -> str:
    """Samples that end at different times: the embedded engine beside the library."""
    model, prompts = make_model(*size, ends=True), make_prompts(count)
    params, engine = SamplingParams(arguments.new_tokens, 1.0, EOS), HFEngine(batch_size=BATCH_SIZE)
    engine.sync(model, "0")
    runs: dict[str, Callable[[Completions], Completions]] = {
        "hf": lambda some: run_engine(engine, some, params, "0"),
        "library": lambda some: run_library(model, some, params),
    }
    speed, turns, made = speeds(runs, prompts, arguments.pairs, arguments.clock, until)
    length = statistics.fmean(map(len, made["hf"]))
    return (
        f"| {_millions(model)} | {count} | {length:.0f} | {speed['hf']:,.0f} | {speed['library']:,.0f} | "
        f"**{speed['hf'] / speed['library']:.2f}** | {turns} |"
    )


def greedy_rows(size: tuple[int, int], arguments: argparse.Namespace, minutes: Time) -> Iterator[str]:
    """Greedy completions of one length: the embedded engine, the library and vLLM."""
    model, params = make_model(*size), SamplingParams(arguments.new_tokens, 0.0, NO_END)
    hf, vllm = HFEngine(batch_size=BATCH_SIZE), None
    hf.sync(model, "0")
    starting = None
    if is_installed():
        vllm = VLLMEngine(kv_cache_gib=cache_gib(size, max(arguments.prompts), arguments.new_tokens))
        starting = start_vllm(vllm, model, CLOCKS[arguments.clock])
    try:
        for count in arguments.prompts:
            yield _greedy_row(model, count, params, hf, vllm, starting, arguments, minutes.next_row())
    finally:
        if vllm:
            vllm.close()


def cache_gib(size: tuple[int, int], count: int, new_tokens: int) -> float:
    """Memory for the keys and values of all prompts at a time, and of one as long as the model takes, in float32."""
    blocks = max(count * math.ceil((LONGEST + new_tokens) / BLOCK), math.ceil((FromScratch().max_length + 1) / BLOCK))
    return 2 * size[0] * size[1] * 4 * BLOCK * (blocks + 1) / 2**30


def _greedy_row(
    model: PreTrainedModel,
    count: int,
    params: SamplingParams,
    hf: HFEngine,
    vllm: VLLMEngine | None,
    starting: Starting | None,
    arguments: argparse.Namespace,
    until: float,
) -> str:
    runs: dict[str, Callable[[Completions], Completions]] = {
        "hf": lambda some: run_engine(hf, some, params, "0"),
        "library": lambda some: run_library(model, some, params),
    }
    if vllm:
        runs["vllm"] = lambda some: run_engine(vllm, some, params, "last")
    speed, turns, made = speeds(runs, make_prompts(count), arguments.pairs, arguments.clock, until)
    cells = [_millions(model), str(count), f"{speed['hf']:,.0f}", f"{speed['library']:,.0f}"]
    cells += [f"**{speed['hf'] / speed['library']:.2f}**"]
    if starting:
        generating = count * params.max_new_tokens / speed["vllm"]
        same = sum(a == b for a, b in zip(made["hf"], made["vllm"], strict=True))
        cells += [
            f"{speed['vllm']:,.0f}",
            f"**{speed['vllm'] / speed['hf']:.2f}**",
            f"{same} of {count}",
            f"{starting.start:.1f} s",
            _worth(starting.start, speed["hf"], speed["vllm"]),
            f"{starting.sync:.3f} s, {starting.sync / generating:.1%}",
        ]
    else:
        cells += ["not installed", "–", "–", "–", "–", "–"]
    return f"| {' | '.join([*cells, str(turns)])} |"


def start_vllm(vllm: VLLMEngine, model: PreTrainedModel, clock: Callable[[], float]) -> Starting:
    """Starts vLLM, and hands weights over a few times."""
    begun = clock()
    vllm.sync(model, "start")
    start, syncs = clock() - begun, []
    for number in range(5):
        begun = clock()
        vllm.sync(model, str(number))
        syncs.append(clock() - begun)
    vllm.sync(model, "last")
    return Starting(start, statistics.median(syncs))


def _worth(start: float, hf: float, vllm: float) -> str:
    """From how many tokens of a run on the start is regained."""
    return f"{start / (1 / hf - 1 / vllm):,.0f} tokens" if vllm > hf else "never"


def _millions(model: PreTrainedModel) -> str:
    return f"{model.num_parameters() / 1e6:.1f} M"


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=["96x3", "384x8", "768x12"], help="width x layers")
    parser.add_argument("--prompts", nargs="+", type=int, default=[8, 64])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5, help="most turns of a row")
    parser.add_argument("--minutes", type=float, default=7.5, help="for everything")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args()
    sizes = [(int(width), int(layers)) for width, layers in (size.split("x") for size in arguments.sizes)]
    minutes = Time(arguments.minutes, len(sizes[:2]) + len(sizes) * len(arguments.prompts))
    shown = {"wall": "second on the clock", "cpu": "second of CPU time"}[arguments.clock]
    print(f"New tokens in a {shown}; threads: {torch.get_num_threads()}; medians of so many turns.\n")
    print(f"Samples that end at different times, at most {arguments.new_tokens} tokens:\n")
    print(_head(["model", "prompts", "mean length", "plm", "`generate`", "plm / `generate`", "turns"]))
    for size in sizes[:2]:
        print(sampled_row(size, max(arguments.prompts), arguments, minutes.next_row()), flush=True)
    print(f"\nGreedy completions of {arguments.new_tokens} tokens each:\n")
    print(_head(["model", "prompts", "plm", "`generate`", "plm / `generate`", "vLLM", "vLLM / plm", "equal to plm's",
                 "vLLM's start", "worth it from", "a sync", "turns"]))  # fmt: skip
    for size in sizes:
        for row in greedy_rows(size, arguments, minutes):
            print(row, flush=True)


def _head(names: list[str]) -> str:
    return f"| {' | '.join(names)} |\n{'|---' * len(names)}|"


if __name__ == "__main__":
    main()
