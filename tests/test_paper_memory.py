"""What training a 7B model at the paper's scale takes of a GPU's memory, added up from its config (docs/memory.md)."""

from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from plm.rounds import SCORING_TOKENS
from plm.studies.stress_test_battery import Setting, battery, find_task
from tests.test_configs import ROOT, bases

BUDGET = 80e9
GIB = 1 << 30


class Shape(NamedTuple):
    """Of a model on the hub: as its card and its config.json say."""

    weights: float
    layers: int
    words: int
    longest: int = 4096
    heads: int = 32  # of keys and values


WIDTH, HEAD = 4096, 128
DEEPSEEK = Shape(6.91e9, 30, 102_400)
SHAPES = {
    "deepseek-ai/deepseek-coder-7b-base-v1.5": DEEPSEEK,
    "deepseek-ai/deepseek-math-7b-base": DEEPSEEK,
    "deepseek-ai/deepseek-math-7b-rl": DEEPSEEK,
    "mistralai/Mistral-7B-v0.1": Shape(7.24e9, 32, 32_000, heads=8),  # rows of up to 4,096 tokens, by our choice
    "huggyllama/llama-7b": Shape(6.74e9, 32, 32_000, longest=2048),
    "EleutherAI/pythia-6.9b": Shape(6.86e9, 32, 50_432, longest=2048),
}
# Bytes a weight: the weight, its gradient and the optimizer's state.
BYTES = {
    ("bf16-true", "plm.optim.Lion"): 2 + 2 + 4,
    ("bf16-mixed", "plm.optim.Lion"): 4 + 4 + 4,
    ("bf16-mixed", "lion_pytorch.Lion"): 4 + 4 + 4,
}
PAIRS = {f"plm.modules.{name}Module" for name in ("DPO", "RewardWeightedDPO", "IteratedDPO")}


def laid(under, over):
    """Plain values with others laid over; another class leaves the arguments, as only those of both are looked at."""
    if not (isinstance(under, dict) and isinstance(over, dict)):
        return over
    return {**under, **{key: laid(under.get(key), value) for key, value in over.items()}}


def read(*paths):
    config = {}
    for path in paths:
        config = laid(config, yaml.safe_load((ROOT / path).read_text()))
    return config


def shape_of(config):
    """Of the model that a run trains: its base's, or that of what its base starts from; None if not 7B."""
    base = config["model"]["init_args"]["base"]
    if not isinstance(base, str):
        return None
    parts = [part for part in base.split(" + ") if part.endswith(".yaml")]
    return shape_of(read(*parts)) if parts else SHAPES.get(base)


def engine_bytes(config, shape):
    """Of the engine: what it always holds, and its keys and values, which Hugging Face's has while generating only."""
    engine = config["data"]["init_args"].get("engine")
    if engine is None and config["data"]["class_path"] == "plm.datamodules.MMLUDataModule":
        return 0.0, 0.0  # chosen answers need one forward pass and no cache
    engine = engine or {"class_path": "plm.engines.HFEngine"}
    arguments = engine.get("init_args", {})
    if engine["class_path"] == "plm.engines.AutoEngine":
        arguments = arguments["vllm"]["init_args"]
    elif engine["class_path"] == "plm.engines.HFEngine":
        return 0.0, arguments.get("max_tokens", 32768) * 4 * shape.layers * shape.heads * HEAD
    return 2 * shape.weights + arguments["kv_cache_gib"] * GIB, 0.0


def activation_bytes(config, shape):
    """Of one part of a step, all its rows the longest, with gradient checkpointing."""
    arguments = config["data"]["init_args"]
    rows = arguments.get("batch_size", 32) / config["trainer"].get("accumulate_grad_batches", 1)
    rows *= 2 if config["model"]["class_path"] in PAIRS else 1
    tokens, trained = rows * shape.longest, rows * arguments.get("max_new_tokens", 128)
    output = 6 * shape.words * (trained + WIDTH)  # logits and their gradient, and that of the layer's weight
    return 2 * shape.layers * tokens * WIDTH + max(46 * tokens * WIDTH, output)


def scoring_bytes(shape):
    """Of a forward pass without gradient: what a block holds at once, and logits, made a part at a time."""
    tokens = max(SCORING_TOKENS, shape.longest)
    return 30 * tokens * WIDTH + 6 * shape.words * WIDTH


def peak(config, shape):
    """The most of training, generating and scoring, in bytes."""
    model = config["model"]
    kept = shape.weights * BYTES[config["trainer"]["precision"], model["init_args"]["optimizer"]["class_path"]]
    resident, cache = engine_bytes(config, shape)
    return kept + resident + max(activation_bytes(config, shape), cache, scoring_bytes(shape))


def trained():
    """Each overlay of a model of 7B that trains, on each of its bases."""
    for path in sorted((ROOT / "configs" / "paper").rglob("*.yaml")):
        for base in bases(path):
            config = read(base, path)
            shape = shape_of(config)
            if shape and "policy" not in config:  # measured, not trained
                yield pytest.param(config, shape, id=f"{Path(base).stem}+{path.stem}")


@pytest.mark.parametrize(("config", "shape"), list(trained()))
def test_an_overlay_of_7b_fits_into_80_gb(config, shape):
    assert config["model"]["init_args"]["compute"]["gradient_checkpointing"]
    assert peak(config, shape) < BUDGET


def test_what_the_overlays_had_before_does_not_fit():
    config = read("configs/lock_code.yaml", "configs/paper/code.yaml")
    config["trainer"]["precision"] = "bf16-mixed"
    config["model"]["init_args"]["optimizer"]["class_path"] = "lion_pytorch.Lion"
    assert peak(config, DEEPSEEK) > BUDGET


@pytest.mark.parametrize("task", ["code", "math", "critique", "mmlu"])
def test_a_stress_test_of_7b_fits_into_80_gb(task):
    for member in battery(Setting(find_task(task), "m", parameters=int(DEEPSEEK.weights), data="rows")):
        if member.command == "fit":
            # a pair shares its prompt: four rows of two pairs are as two rows and two completions
            config = laid(member.config, {"model": {"class_path": "one pair as a row"}})
            assert config["model"]["init_args"]["compute"]["gradient_checkpointing"]
            assert peak(config, DEEPSEEK) < BUDGET, member.key
