"""Times the embedded engine against the library's own batched `generate`, in pairs."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads cost most of a shared machine's time

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from plm.engines.base import SamplingParams
from plm.engines.hf import HFEngine
from plm.models import FromScratch, initialize

EOS = 1
BATCH_SIZE = 256


def make_model(hidden_size: int, layers: int) -> PreTrainedModel:
    """A Llama of about half a million parameters by default, whose samples end after some 35 tokens."""
    source = FromScratch(hidden_size=hidden_size, layers=layers, heads=hidden_size // 32)
    config = LlamaConfig(
        hidden_size=hidden_size,
        num_hidden_layers=layers,
        num_attention_heads=hidden_size // 32,
        intermediate_size=source.intermediate_size,
        vocab_size=source.vocab_size,
        max_position_embeddings=source.max_length,
        tie_word_embeddings=False,  # tied, a model without layers to speak of repeats its last token
        eos_token_id=EOS,
        pad_token_id=0,
    )
    model: PreTrainedModel = LlamaForCausalLM(config)  # type: ignore[no-untyped-call]
    initialize(model, 0)
    model.get_submodule("lm_head").register_forward_hook(_favour_end)
    nn.Module.eval(model)
    return model


def _favour_end(module: nn.Module, inputs: object, logits: Tensor) -> None:
    logits[..., EOS] += 2.9  # against 640 tokens of unit variance: ends after some 35 tokens


def run_engine(model: PreTrainedModel, prompts: list[list[int]], params: SamplingParams) -> list[list[int]]:
    """The package's engine."""
    engine = HFEngine(batch_size=BATCH_SIZE)
    engine.sync(model, "0")
    return [
        completion.token_ids for completion in engine.generate(prompts, params, version="0", seeds=range(len(prompts)))
    ]


def run_library(model: PreTrainedModel, prompts: list[list[int]], params: SamplingParams) -> list[list[int]]:
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
        completions += [ids[: ids.index(EOS)] if EOS in ids else ids for ids in output[:, width:].tolist()]
    return completions


def timed(run: Callable[[], list[list[int]]]) -> tuple[float, float]:
    """Kept new tokens in a second of wall time, and the mean length of a completion in tokens."""
    start = time.perf_counter()
    completions = run()
    seconds = time.perf_counter() - start
    tokens = sum(map(len, completions))
    return tokens / seconds, tokens / len(completions)


def main() -> None:
    """Prints tokens per second of both and the ratio: medians over pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--hidden-size", type=int, default=96)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=5)
    arguments = parser.parse_args()
    model = make_model(arguments.hidden_size, arguments.layers)
    rng = random.Random(0)
    prompts = [[rng.randrange(2, 640) for _ in range(rng.randrange(30, 71))] for _ in range(arguments.prompts)]
    params = SamplingParams(arguments.new_tokens, arguments.temperature, EOS)
    pairs = []
    for _ in range(arguments.pairs + 1):
        ours = timed(lambda: run_engine(model, prompts, params))
        theirs = timed(lambda: run_library(model, prompts, params))
        pairs.append((*ours, *theirs))
    pairs = pairs[1:]  # the first warms up
    speed, length, other_speed, other_length = (statistics.median(column) for column in zip(*pairs, strict=True))
    size = f"{model.num_parameters() / 1e6:.2f}M parameters"
    print(f"{size}, {arguments.prompts} prompts, {torch.get_num_threads()} threads, medians of {len(pairs)} pairs")
    print(f"plm HFEngine    {speed:8.0f} tokens/s, {length:.0f} tokens a completion")
    print(f"model.generate  {other_speed:8.0f} tokens/s, {other_length:.0f} tokens a completion")
    print(f"ratio           {statistics.median(pair[0] / pair[2] for pair in pairs):8.2f}")


if __name__ == "__main__":
    main()
