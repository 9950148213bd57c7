"""Times the embedded engine beside the library's own batched `generate`, and beside vLLM where it is installed.

Two tables: samples that end at different times, as those of trained models do, and greedy completions of one length,
which vLLM makes too. From vLLM's start-up follows from how many tokens on it is worth starting. All runs of a row are
made in turn in one process; figures are medians. `--clock cpu` counts the process's CPU time, for a shared machine.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost most of a shared machine's time

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from plm.engines.base import Engine, SamplingParams
from plm.engines.hf import HFEngine
from plm.engines.vllm import VLLMEngine, is_installed
from plm.models import FromScratch, initialize

EOS, NO_END = 1, 10**6
BATCH_SIZE = 256
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
Completions = list[list[int]]


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
    return [[rng.randrange(2, 640) for _ in range(rng.randrange(30, 71))] for _ in range(count)]


def speeds(runs: dict[str, Callable[[], Completions]], pairs: int, clock: Callable[[], float]) -> dict[str, float]:
    """Kept new tokens in a second of each, medians over turns; the first turn warms up."""
    measured: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(pairs + 1):
        for name, run in runs.items():
            start = clock()
            tokens = sum(map(len, run()))
            if turn:
                measured[name].append(tokens / (clock() - start))
    return {name: statistics.median(values) for name, values in measured.items()}


def sampled_row(size: tuple[int, int], count: int, arguments: argparse.Namespace) -> str:
    """Samples that end at different times: the embedded engine beside the library."""
    model, prompts = make_model(*size, ends=True), make_prompts(count)
    params, engine = SamplingParams(arguments.new_tokens, 1.0, EOS), HFEngine(batch_size=BATCH_SIZE)
    engine.sync(model, "0")
    runs = {
        "hf": lambda: run_engine(engine, prompts, params, "0"),
        "library": lambda: run_library(model, prompts, params),
    }
    speed = speeds(runs, arguments.pairs, CLOCKS[arguments.clock])
    length = statistics.fmean(map(len, runs["hf"]()))
    return (
        f"| {_millions(model)} | {count} | {length:.0f} | {speed['hf']:,.0f} | {speed['library']:,.0f} | "
        f"**{speed['hf'] / speed['library']:.2f}** |"
    )


def greedy_rows(size: tuple[int, int], counts: list[int], arguments: argparse.Namespace) -> list[str]:
    """Greedy completions of one length: the embedded engine, the library and vLLM."""
    clock, model = CLOCKS[arguments.clock], make_model(*size)
    params = SamplingParams(arguments.new_tokens, 0.0, NO_END)
    hf, vllm = HFEngine(batch_size=BATCH_SIZE), VLLMEngine(kv_cache_gib=0.5) if is_installed() else None
    hf.sync(model, "0")
    starting = start_vllm(vllm, model, clock) if vllm else None
    try:
        return [_greedy_row(model, count, params, hf, vllm, starting, arguments) for count in counts]
    finally:
        if vllm:
            vllm.close()


def _greedy_row(
    model: PreTrainedModel,
    count: int,
    params: SamplingParams,
    hf: HFEngine,
    vllm: VLLMEngine | None,
    starting: Starting | None,
    arguments: argparse.Namespace,
) -> str:
    prompts = make_prompts(count)
    runs: dict[str, Callable[[], Completions]] = {
        "hf": lambda: run_engine(hf, prompts, params, "0"),
        "library": lambda: run_library(model, prompts, params),
    }
    if vllm:
        runs["vllm"] = lambda: run_engine(vllm, prompts, params, "last")
    speed = speeds(runs, arguments.pairs, CLOCKS[arguments.clock])
    cells = [_millions(model), str(count), f"{speed['hf']:,.0f}", f"{speed['library']:,.0f}"]
    if starting:
        generating = count * params.max_new_tokens / speed["vllm"]
        cells += [
            f"{speed['vllm']:,.0f}",
            f"**{speed['vllm'] / speed['hf']:.2f}**",
            f"{starting.start:.1f} s",
            _worth(starting.start, speed["hf"], speed["vllm"]),
            f"{starting.sync:.3f} s, {starting.sync / generating:.1%}",
        ]
        same = runs["hf"]() == runs["vllm"]()
        print(f"  {cells[0]}, {count} prompts: greedy tokens equal: {same}", file=sys.stderr)
    else:
        cells += ["not installed", "–", "–", "–", "–"]
    return f"| {' | '.join(cells)} |"


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
    parser.add_argument("--prompts", nargs="+", type=int, default=[8, 64, 200])
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    arguments = parser.parse_args()
    sizes = [(int(width), int(layers)) for width, layers in (size.split("x") for size in arguments.sizes)]
    threads = torch.get_num_threads()
    print(
        f"New tokens in a second of {arguments.clock} time; threads: {threads}; medians of {arguments.pairs} turns.\n"
    )
    print(f"Samples that end at different times, at most {arguments.new_tokens} tokens:\n")
    print("| model | prompts | mean length | plm | `generate` | plm / `generate` |\n|---|---|---|---|---|---|")
    for size in sizes[:2]:
        print(sampled_row(size, max(arguments.prompts), arguments), flush=True)
    print(f"\nGreedy completions of {arguments.new_tokens} tokens each:\n")
    print("| model | prompts | plm | `generate` | vLLM | vLLM / plm | vLLM's start | worth it from | a sync |")
    print("|---|---|---|---|---|---|---|---|---|")
    for size in sizes:
        print("\n".join(greedy_rows(size, arguments.prompts, arguments)), flush=True)


if __name__ == "__main__":
    main()
