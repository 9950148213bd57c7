"""Runs the real command line on tiny configurations, in this process."""

from __future__ import annotations

import copy
from pathlib import Path

import yaml
from safetensors.torch import load_file

from plm.cli import run
from plm.runs import RunFolder

ADAMW = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01, "weight_decay": 0.0}}
WEAK = {"class_path": "plm.policies.DatasetPolicy", "init_args": {"name": "weak"}}
REFERENCE = {"class_path": "plm.policies.ReferencePolicy"}
EVALUATION = {"class_path": "plm.callbacks.EvaluationCallback", "init_args": {"n": 4}}
PROBE = {"class_path": "plm.callbacks.WeakUnlockCallback", "init_args": {"optimizer": ADAMW, "steps": 3, "n": 4}}


def source(**arguments):
    return {"class_path": "tests.tiny.TinySource", "init_args": arguments}


def sft(**arguments):
    settings = {"base": source(), "optimizer": ADAMW, "policy": REFERENCE, **arguments}
    return {"class_path": "plm.modules.SFTModule", "init_args": settings}


def lock(**arguments):
    settings = {"base": source(), "optimizer": ADAMW, "policies": {"right": REFERENCE, "wrong": WEAK}, **arguments}
    return {"class_path": "plm.modules.SFTLockModule", "init_args": settings}


def config(model, *, callbacks=(EVALUATION,), rounds=2, data=None, **trainer):
    content = {
        "model": model,
        "data": {
            "class_path": "tests.tiny.TinyTask",
            "init_args": {"batch_size": 4, "max_new_tokens": 4, **(data or {})},
        },
        "trainer": {"max_epochs": rounds, "accelerator": "cpu", "callbacks": list(callbacks), **trainer},
    }
    return copy.deepcopy(content)  # tests change it


def write(path: Path, content) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def plm(command: str, path: Path, *more: str) -> int:
    """Runs `plm COMMAND --config PATH` with the runs beside the config."""
    return run([command, "--config", str(path), "--runs", str(path.parent / "runs"), *more])


def only_run(path: Path, name: str | None = None) -> RunFolder:
    """The one run that a config left."""
    (folder,) = (path.parent / "runs" / (name or path.stem)).glob("[!.]*-seed*")
    return RunFolder(folder)


def fit(path: Path, content, *more: str) -> RunFolder:
    """Fits a configuration and returns its run."""
    assert plm("fit", write(path, content), *more) == 0
    return only_run(path)


def weights(run_folder: RunFolder):
    """The final weights of a run."""
    return load_file(run_folder.model_path / "model.safetensors")


def numbers(run_folder: RunFolder):
    """The results of a run without what may differ between two equal runs."""
    timing = ("seconds", "evaluation_seconds", "run")
    return [{key: value for key, value in row.items() if key not in timing} for row in run_folder.read_results()]
