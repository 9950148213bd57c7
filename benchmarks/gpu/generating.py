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


def same_tokens(setting: Setting) -> None:
    """Greedy tokens of both engines, before and after the weights change, in float32 and bfloat16."""
    if not is_installed():
        setting.write(Row("same tokens", "vLLM beside the embedded engine", "not installed"))
        return
    shape = SHAPES["tiny" if setting.tiny else "100m"]
    params = SamplingParams(12 if setting.tiny else 32, 0.0, NO_END)
    for dtype in (torch.float32, torch.bfloat16)[: 1 if setting.device == "cpu" else 2]:
        model = make_model(shape, setting, dtype, positions=512)
        _spread(model)
        prompts = make_prompts(64, shape.vocabulary, 24)
        engine, hf = VLLMEngine(**_arguments(setting)), HFEngine()
        try:
            for version in ("first", "changed"):
                engine.sync(model, version)
                hf.sync(model, version)
                ours, theirs = (each.generate(prompts, params, version=version) for each in (hf, engine))
                equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
                exact = dtype == torch.float32
                what = f"greedy completions equal, {str(dtype).removeprefix('torch.')}, weights {version}"
                setting.write(Row("same tokens", what, f"{equal} of 64", "64 of 64" if exact else "",
                                  equal == 64 if exact else None))  # fmt: skip
                with torch.no_grad():
                    for parameter in model.parameters():
                        parameter.mul_(1.25)
        finally:
            engine.close()


def _spread(model: Any) -> None:
    """Larger weights: predictions of a model with the library's own are nearly the same for every prompt."""
    generator = torch.Generator(model.device).manual_seed(4)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0.0, 2.0 * parameter.shape[1] ** -0.5, generator=generator)


def sync(setting: Setting, size: str, mode: str) -> None:
    """How long weights take to reach vLLM, in place or from its own process over CUDA IPC."""
    name = "tiny" if setting.tiny else size
    check = f"weight sync {name}"
    if not is_installed():
        setting.write(Row(check, mode, "vLLM is not installed"))
        return
    if mode == "ipc" and setting.device != "cuda":
        setting.write(Row(check, mode, "needs CUDA"))
        return
    shape = SHAPES[name]
    dtype = torch.float32 if setting.device == "cpu" else torch.bfloat16
    model = make_model(shape, setting, dtype, positions=1024)
    engine, params = VLLMEngine(**_arguments(setting, mode)), SamplingParams(8, 0.0, NO_END)
    try:
        engine.sync(model, "0")
        taken = []
        for version in ("1", "2", "3"):
            with torch.no_grad():
                next(model.parameters()).mul_(1.5)
            wait(setting.device)
            start = time.perf_counter()
            engine.sync(model, version)
            wait(setting.device)
            taken.append(time.perf_counter() - start)
        median = sorted(taken)[1]
        met = median <= 1 if size == "7b" and not setting.tiny else None
        bar = "≤ 1 s" if size == "7b" else ""
        setting.write(Row(check, f"{mode}, the prefix cache emptied too", f"{median:.3f} s", bar, met))
        hf = HFEngine()
        hf.sync(model, "3")
        prompts = make_prompts(8, shape.vocabulary, 16)
        ours, theirs = (each.generate(prompts, params, version="3") for each in (hf, engine))
        equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
        setting.write(Row(check, f"{mode}, completions equal after the last change", f"{equal} of 8"))
    finally:
        engine.close()
