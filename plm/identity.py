"""Which run a configuration is: a hash of everything that moves numbers, and of nothing else."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plm import __version__
from plm.code_digest import class_paths, code_digest

# Where a run computes, what it logs and what it shows; a run moved to another machine is still the same run.
NOT_NUMBERS = {"config", "runs", "policy", "locked", "ckpt_path", "weights_only", "verbose", "return_predictions"}
TRAINER_NOT_NUMBERS = {
    "accelerator", "devices", "num_nodes", "strategy", "logger", "default_root_dir", "enable_progress_bar",
    "enable_model_summary", "enable_checkpointing", "log_every_n_steps", "profiler", "plugins", "barebones",
    "detect_anomaly", "accumulate_grad_batches", "use_distributed_sampler", "sync_batchnorm", "enable_autolog_hparams",
    "fast_dev_run",
}  # fmt: skip
CALLBACKS_NOT_NUMBERS = {"CheckpointCallback"}


def run_hash(config: Mapping[str, Any], command: str, parents: Mapping[str, str]) -> str:
    """The hash of a run: its configuration, the models it starts from, and the code that moves numbers.

    Args:
        config: The resolved configuration of the sub-command, plain values.
        command: The sub-command.
        parents: Identity of the model behind each reference in the configuration, by dotted key.

    Returns:
        8 hexadecimal digits.
    """
    numbers = numbers_of(config, parents)
    numbers.pop("seed_everything", None)  # stands in the folder's name instead
    code = code_digest(class_paths(numbers))
    text = json.dumps([command, numbers, __version__, code], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def numbers_of(config: Mapping[str, Any], parents: Mapping[str, str]) -> dict[str, Any]:
    """The part of a configuration that moves numbers, the seed included.

    Args:
        config: The resolved configuration of the sub-command, plain values.
        parents: Identity of the model behind each reference in the configuration, by dotted key.
    """
    numbers = copy.deepcopy({key: value for key, value in config.items() if key not in NOT_NUMBERS})
    trainer = numbers.get("trainer") or {}
    numbers["trainer"] = {key: value for key, value in trainer.items() if key not in TRAINER_NOT_NUMBERS}
    for key, identity in parents.items():
        if (keys := key.split("."))[0] in numbers:
            _replace(numbers, keys, identity)
    callbacks = [each for each in trainer.get("callbacks") or [] if _class_name(each) not in CALLBACKS_NOT_NUMBERS]
    numbers["trainer"]["callbacks"] = callbacks
    return numbers


def differences(left: Any, right: Any, key: str = "") -> list[str]:
    """Dotted keys at which two plain configurations differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        names = sorted(left.keys() | right.keys())
        return [d for name in names for d in differences(left.get(name), right.get(name), f"{key}.{name}".lstrip("."))]
    if isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        pairs = enumerate(zip(left, right, strict=True))
        return [d for index, (a, b) in pairs for d in differences(a, b, f"{key}.{index}")]
    return [] if left == right else [key]


def _class_name(entry: Any) -> str:
    return str(entry.get("class_path")).rpartition(".")[2] if isinstance(entry, dict) else ""


def _replace(config: Any, keys: list[str], value: str) -> None:
    for key in keys[:-1]:
        config = config[int(key)] if isinstance(config, list) else config[key]
    config[int(keys[-1]) if isinstance(config, list) else keys[-1]] = value


def folder_digest(folder: Path) -> str:
    """Digest of a Hugging Face folder's configuration and weights."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.name == "config.json" or file.suffix in (".safetensors", ".bin"):
            digest.update(file.name.encode())
            with file.open("rb") as stream:
                while chunk := stream.read(1 << 22):
                    digest.update(chunk)
    return digest.hexdigest()[:16]
