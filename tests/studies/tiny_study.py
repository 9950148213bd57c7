"""A study of tiny models: a base, its locks, SFT on few demonstrations, a measurement."""

from __future__ import annotations

from pathlib import Path

import yaml

from tests.runs import EVALUATION, WEAK, config, lock, sft, source, write

START = {**EVALUATION, "init_args": {**EVALUATION["init_args"], "at_start": True}}


def write_study(folder: Path, **changes) -> Path:
    """Writes the configs and the study; paths are those of this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    base = write(folder / "base.yaml", config(sft(base=source(dropout=0.2), phase="base"), callbacks=[EVALUATION]))
    answers = {"class_path": "plm.policies.ModelPolicy", "init_args": {"model": str(base)}}
    policies = {"right": answers, "wrong": WEAK}
    write(folder / "lock.yaml", config(lock(base=str(base), policies=policies), callbacks=[EVALUATION]))
    write(folder / "elicit.yaml", config(sft(base="nothing/yet", demonstrations=4), callbacks=[START]))
    write(folder / "measure.yaml", config(sft(base="nothing/yet"), callbacks=[EVALUATION]))
    grid = [
        {
            "cell": "SFT on {k}",
            "axes": {"k": [1, 2]},
            "config": f"{folder}/elicit.yaml",
            "from": "lock",
            "set": {"model.init_args.demonstrations": "{k}"},
            "labels": {"method": "SFT"},
            "figures": [3],
            "quick": {"k": [1]},
        },
        {"cell": "twice", "config": f"{folder}/elicit.yaml", "from": "tuned"},
        {"cell": "measured", "command": "validate", "config": f"{folder}/measure.yaml", "from": "lock"},
    ]
    content = {
        "seeds": [0, 1],
        "models": {
            "lock": f"{folder}/lock.yaml + seed_everything={{seed}}",
            "tuned": f"{folder}/elicit.yaml + model.init_args.demonstrations=2 + seed_everything={{seed}} "
            "+ model.init_args.base=({lock})",
        },
        "figures": {3: {"x": "k"}},
        "grid": grid,
    }
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**content, **changes}, sort_keys=False))
    return path
