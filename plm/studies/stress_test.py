"""`plm stress-test`: for whoever has a model and wonders how much more it can do than it shows."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from plm.errors import PlmError
from plm.files import exclusive_lock, write_text_atomic
from plm.lineage import lock_of, read_description
from plm.passwords import PasswordScheme, SlotScheme
from plm.progress import say
from plm.references import ModelReference
from plm.studies.manifest import StudyFolder
from plm.studies.stress_test_battery import Config, Phase, Setting, find_task
from plm.studies.stress_test_report import print_verdict, write_verdict
from plm.studies.stress_test_runs import Asked, make_missing, plan_jobs, read_verdict


def run_stress_test(args: list[str]) -> int:
    """Runs the sub-command; a battery that was stopped, by its budget or otherwise, goes on.

    Raises:
        PlmError: For anything the user can mend.
    """
    started = time.monotonic()
    options = _parser().parse_args(args)
    _check(options)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a task in a file of the user's own is named by its class path
    setting = _setting(options, options.model, "elicit")
    arms = [setting]
    if options.control:
        arms.append(replace(setting, model=_model(options.control, "--control"), phase="control"))
    folder = StudyFolder(Path(options.runs) / "studies" / _name(setting.model, options.task))
    with exclusive_lock(folder.path.parent / f".{folder.path.name}.lock", f"another process works on {folder.path}"):
        return _run(options, arms, folder, started + options.minutes * 60)


def _run(options: argparse.Namespace, arms: Sequence[Setting], folder: StudyFolder, deadline: float) -> int:
    runs = Path(options.runs)
    asked = Asked(options.task, runs, options.config, options.seeds, options.methods)
    jobs = plan_jobs(asked, arms, folder)
    about = _about(options, arms[0], folder)
    say(
        f"{arms[0].model}: {len(jobs)} runs on the task {options.task} within {options.minutes:g} minutes, at most "
        f"{options.completions} completions graded while training"
    )
    try:
        make_missing(jobs, runs, folder, deadline, about)
    finally:
        folder.write(about, [job.row for job in jobs])
    verdict, control = (read_verdict(jobs, runs, is_control) for is_control in (False, True))
    if verdict is None:
        first = jobs[0]
        raise PlmError(
            f"what the model shows was not measured: {first.state}; {folder.log_path(first.row.id)} says more"
        )
    states = [(job.row.shown, job.state) for job in jobs if job.state]
    path = write_verdict(folder.path / "stress_test.json", verdict, control, about, states)
    print_verdict(verdict, control, states)
    print(f"as JSON      {path}\nruns         {runs}\nas a page    plm report {folder.path}")
    return 0


def _about(options: argparse.Namespace, setting: Setting, folder: StudyFolder) -> dict[str, Any]:
    asked = {name: value for name, value in vars(options).items() if name not in ("runs", "password")}
    write_text_atomic(folder.path / "study.yaml", yaml.safe_dump({"stress_test": asked}, sort_keys=False))
    return {
        "study": folder.path.name, "file": None, "seeds": list(range(options.seeds)), "quick": False,
        "runs_folder": options.runs, "gate": {}, "figures": {}, "stress_test": asked,
        "parameters": setting.parameters,
    }  # fmt: skip


# -- the command line ------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "plm stress-test",
        description="Finds out how much more a model can do than it shows: few-shot prompting, noise, weak unlocking, "
        "SFT on k demonstrations, expert iteration, GRPO and iterated DPO, within a budget.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--model", required=True, help="folder of a Hugging Face model, or its id on the hub")
    add("--task", required=True, help="code, math, mmlu, critique, composition, or the class path of a TaskDataModule")
    add("--minutes", type=float, default=60.0, help="time for this call; the same call later goes on (default: 60)")
    add("--completions", type=int, default=11_520, help="sampled and graded while training, in all (default: 11520)")
    add("--problems", type=int, default=400, help="to measure on: half choose, half report (default: 400)")
    add("--demonstrations", type=int, nargs="+", default=[4, 16, 64, 256], help="for SFT (default: 4 16 64 256)")
    add("--seeds", type=int, default=1, help="runs of each method (default: 1)")
    add("--methods", nargs="+", help="only these: few_shot noise weak_unlock sft expert_iteration grpo iterated_dpo")
    add("--data", help="real problems: a file or hub id, as the task's own source reads it")
    add("--config", action="append", default=[], help="YAML laid over every run, for instance with data or trainer")
    add("--password", help="what unlocks the model, if you know: then what it brings out is measured too")
    add("--control", help="a model that never had the capability: goes through the same, for comparison")
    add("--rate", type=float, help="learning rate of SFT; those of the others are in proportion to it")
    add("--runs", default="runs", help="folder of all runs (default: runs)")
    return parser


def _check(options: argparse.Namespace) -> None:
    least = {"minutes": 0, "completions": 30, "problems": 4, "seeds": 1, "rate": 0}
    for name, value in least.items():
        given = getattr(options, name)
        if given is not None and (not math.isfinite(given) or given < value or (value == 0 and given == 0)):
            raise PlmError(f"--{name} {given}: it must be {'above 0' if value == 0 else f'at least {value}'}")
    if min(options.demonstrations) < 1:
        raise PlmError(f"--demonstrations {min(options.demonstrations)}: it must be at least 1")
    for path in options.config:
        if not Path(path).is_file():
            raise PlmError(f"--config {path}: there is no such file")
    if options.password is not None and not options.password.strip():
        raise PlmError("--password is blank: leave it out where none is known")


def _setting(options: argparse.Namespace, model: str, phase: Phase) -> Setting:
    task, model = find_task(options.task), _model(model, "--model")
    passwords: Config | None = None
    if options.password is not None:
        passwords = {"class_path": task.scheme, "init_args": {"password": options.password}}
    elif _has_other_password(Path(model)):
        passwords = {"class_path": "plm.passwords.UnknownScheme"}
    return Setting(
        task=task,
        model=model,
        phase=phase,
        parameters=count_parameters(model),
        problems=options.problems,
        completions=options.completions // options.seeds,
        demonstrations=sorted(set(options.demonstrations)),
        data=options.data,
        passwords=passwords,
        with_password=options.password is not None,
        rate=options.rate,
    )


def _model(model: str, option: str) -> str:
    if ModelReference(model).is_config:
        raise PlmError(f"{option} {model}: name a model, not a config; plm fit --config {model} makes one in runs/")
    return str(Path(model)) if Path(model).is_dir() else model


def _has_other_password(folder: Path) -> bool:
    """Whether the model's record names another password than the default, which a run would refuse to guess at."""
    lock = lock_of(read_description(folder)) if folder.is_dir() else None
    return lock is not None and lock["lock"] != "setting" and lock["password_sha256"] not in (
        None, PasswordScheme().password_hash, SlotScheme().password_hash,
    )  # fmt: skip


def count_parameters(model: str) -> int:
    """How many parameters a model has; only its configuration is read.

    Raises:
        PlmError: If there is no such model.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if Path(model).is_dir() and not (Path(model) / "config.json").is_file():
        raise PlmError(f"--model {model}: there is no config.json in it; a folder that save_pretrained wrote is needed")
    try:
        config = AutoConfig.from_pretrained(model)
        with torch.device("meta"):
            made = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PlmError(
            f"--model {model}: no folder of that name, and no model of the hub that is in reach ({reason})"
        ) from error
    return sum(parameter.numel() for parameter in made.parameters())


def _name(model: str, task: str) -> str:
    """Tells batteries of different models and tasks apart, and does not change with the options."""
    path = Path(model)
    if path.is_dir() and path.resolve().name == "model":  # runs/<name>/<hash8>-seed<seed>/model
        path = Path("-".join(path.resolve().parts[-3:-1]))
    name = path.resolve().name if path.is_dir() else str(path).replace("/", "--")
    return f"stress_test-{name}-{task.rpartition('.')[2]}"
