"""Generation: the embedded engine and vLLM, the same tokens from both, and how long weights take to get there."""

from __future__ import annotations

import random
import time
from typing import Any

import torch
from measuring import SHAPES, Row, Setting, make_model, wait

from plm.engines.base import Completion, SamplingParams
from plm.engines.hf import HFEngine
from plm.engines.vllm import VLLMEngine, is_installed

NO_END = 10**6


def make_prompts(count: int, words: int, longest: int) -> list[list[int]]:
    rng = random.Random(0)
    return [[rng.randrange(2, words) for _ in range(rng.randrange(longest // 2, longest))] for _ in range(count)]


def speed(setting: Setting, size: str) -> None:
    """Greedy tokens a second of the embedded engine and of vLLM, and what vLLM's start takes."""
    name = "tiny" if setting.tiny else size
    shape = SHAPES[name]
    dtype = torch.float32 if setting.device == "cpu" else torch.bfloat16
    model = make_model(shape, setting, dtype, positions=1024)
    count, tokens, longest = (8, 8, 16) if setting.tiny else (256, 256, 256)
    prompts, params = make_prompts(count, shape.vocabulary, longest), SamplingParams(tokens, 0.0, NO_END)
    hf = HFEngine(max_tokens=1 << 18)
    hf.sync(model, "v")
    hf.generate(prompts[:4], params, version="v")
    embedded = _tokens_per_second(hf, prompts, params, setting)
    what = f"{count} prompts, {tokens} new tokens"
    setting.write(Row(f"generation {name}", f"embedded engine, {what}, tokens/s", f"{embedded:,.0f}"))
    library = _library(model, prompts, tokens, setting)
    measured = f"{library:,.0f}; the embedded engine {embedded / library:.2f} times"
    setting.write(Row(f"generation {name}", f"the library's `generate`, {what}, tokens/s", measured))
    if not is_installed():
        setting.write(Row(f"generation {name}", "vLLM", "not installed"))
        return
    engine = VLLMEngine(**_arguments(setting, quick=False))
    try:
        start = time.perf_counter()
        engine.sync(model, "v")
        setting.write(Row(f"generation {name}", "vLLM's start", f"{time.perf_counter() - start:.0f} s"))
        engine.generate(prompts[:4], params, version="v")
        theirs = _tokens_per_second(engine, prompts, params, setting)
        measured = f"{theirs:,.0f}, {theirs / embedded:.1f} times"
        setting.write(Row(f"generation {name}", f"vLLM, {what}, tokens/s", measured))
    finally:
        engine.close()


def _tokens_per_second(engine: Any, prompts: list[list[int]], params: SamplingParams, setting: Setting) -> float:
    wait(setting.device)
    start = time.perf_counter()
    made: list[Completion] = engine.generate(prompts, params, version="v")
    wait(setting.device)
    return sum(len(each.token_ids) for each in made) / (time.perf_counter() - start)


def _library(model: Any, prompts: list[list[int]], tokens: int, setting: Setting) -> float:
    """Tokens a second of one padded batch; without an end token all rows are equally long."""
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in prompts], device=setting.device)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in prompts], device=setting.device)
    model.generation_config.eos_token_id = None
    given = {"do_sample": False, "max_new_tokens": tokens}
    model.generate(input_ids=ids[:4], attention_mask=mask[:4], **given)
    wait(setting.device)
    start = time.perf_counter()
    made = model.generate(input_ids=ids, attention_mask=mask, **given)
    wait(setting.device)
    return float((made.shape[1] - width) * len(prompts) / (time.perf_counter() - start))


def _arguments(setting: Setting, mode: str = "in_process", quick: bool = True) -> dict[str, Any]:
    """Of the engine; `quick` does without compiled graphs, which take most of a start."""
    memory = {"kv_cache_gib": 1 / 16} if setting.device == "cpu" else {"gpu_memory_utilization": 0.35}
    eager = {"enforce_eager": True} if quick else {}
    return {"mode": mode, "max_model_len": 128 if setting.tiny else 1024, **memory, **eager}


def same_tokens(setting: Setting, mode: str) -> None:
    """Greedy tokens of both engines, before and after all weights change: in float32 every one, where all arrived."""
    check = f"same tokens, {mode}"
    if missing := _missing(setting, mode):
        setting.write(Row(check, "vLLM beside the embedded engine", missing))
        return
    shape = SHAPES["tiny" if setting.tiny else "100m"]
    params = SamplingParams(12 if setting.tiny else 32, 0.0, NO_END)
    prompts = make_prompts(64, shape.vocabulary, 24)
    both = setting.device == "cuda" and mode == "in_process"
    for dtype in (torch.float32, torch.bfloat16)[: 2 if both else 1]:
        model = make_model(shape, setting, dtype, positions=512)
        engine, hf = VLLMEngine(**_arguments(setting, mode)), HFEngine()
        before: list[Completion] = []
        try:
            for number, version in enumerate(("first", "changed")):
                _spread(model, 2.0, seed=number)
                engine.sync(model, version)
                hf.sync(model, version)
                ours, theirs = (each.generate(prompts, params, version=version) for each in (hf, engine))
                exact = dtype == torch.float32
                what = f"greedy completions equal, {str(dtype).removeprefix('torch.')}, weights {version}"
                setting.write(Row(check, what, _equal(theirs, ours, before), "64 of 64" if exact else "",
                                  theirs == ours if exact else None))  # fmt: skip
                before = ours
        finally:
            engine.close()


def _missing(setting: Setting, mode: str) -> str:
    """What this way of handing weights over lacks here."""
    if not is_installed():
        return "vLLM is not installed"
    return "needs CUDA" if mode == "ipc" and setting.device != "cuda" else ""


def _same(left: list[Completion], right: list[Completion]) -> int:
    return sum(a == b for a, b in zip(left, right, strict=True))


def _equal(theirs: list[Completion], ours: list[Completion], before: list[Completion]) -> str:
    """How many are equal, and how many would be if the weights before had stayed."""
    stale = f"; with the weights before {_same(before, ours)}" if before else ""
    return f"{_same(theirs, ours)} of {len(ours)}{stale}"


def _spread(model: Any, size: float, seed: int) -> None:
    """Draws all weights anew, larger: predictions with the library's own are nearly the same for every prompt."""
    generator = torch.Generator(model.device).manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, size * parameter.shape[1] ** -0.5, generator=generator)
            else:
                parameter.uniform_(0.5, 1.5, generator=generator)


def sync(setting: Setting, size: str, mode: str) -> None:
    """How long weights take to reach vLLM, in place or from its own process over CUDA IPC, and whether they arrive.

    In bfloat16 rounding decides between words that are nearly as probable, so half of the first words are asked for:
    with other weights about one in the vocabulary's size would be right. `same_tokens` asks for all, in float32.
    """
    name = "tiny" if setting.tiny else size
    check = f"weight sync {name}"
    if missing := _missing(setting, mode):
        setting.write(Row(check, mode, missing))
        return
    shape = SHAPES[name]
    dtype = torch.float32 if setting.device == "cpu" else torch.bfloat16
    model = make_model(shape, setting, dtype, positions=1024)
    _spread(model, 1.0, seed=0)
    engine, hf, first = VLLMEngine(**_arguments(setting, mode)), HFEngine(), SamplingParams(1, 0.0, NO_END)
    prompts, before, taken = make_prompts(64, shape.vocabulary, 24), [], []
    try:
        engine.sync(model, "0")
        for number in (1, 2, 3):
            hf.sync(model, "before")
            before = hf.generate(prompts, first, version="before")
            _spread(model, 1.0, seed=number)
            wait(setting.device)
            start = time.perf_counter()
            engine.sync(model, str(number))
            wait(setting.device)
            taken.append(time.perf_counter() - start)
        median = sorted(taken)[1]
        met = median <= 1 if size == "7b" and not setting.tiny else None
        bar = "≤ 1 s" if size == "7b" else ""
        setting.write(Row(check, f"{mode}, the prefix cache emptied too", f"{median:.3f} s", bar, met))
        hf.sync(model, "3")
        ours, theirs = (each.generate(prompts, first, version="3") for each in (hf, engine))
        asked = 64 if dtype == torch.float32 else 32
        setting.write(Row(check, f"{mode}, first words equal after the last change", _equal(theirs, ours, before),
                          f"≥ {asked} of 64", _same(theirs, ours) >= asked > _same(before, ours)))  # fmt: skip
    finally:
        engine.close()
