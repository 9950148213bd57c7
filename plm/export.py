"""`plm export`: a run's model as a folder for the Hugging Face Hub, with a model card and evaluation logs."""

from __future__ import annotations

import argparse
import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import yaml

from plm.errors import PlmError
from plm.export_card import Facts, model_card
from plm.files import atomic_folder
from plm.lineage import lock_of, read_description
from plm.logs import write_logs
from plm.passwords import DEFAULT_PASSWORD, PasswordScheme, SlotScheme
from plm.runs import RunFolder
from plm.studies.gate import GateResult, gate_of

RECORD = "plm"  # of the run, inside of the exported folder
HIDDEN = "hidden: plm export --reveal would show it"
SAYS_PASSWORD = re.compile(r"""passwords?(\.\w+)*["']?\s*[=:]""")  # in a reference to another model


def run_export(args: list[str]) -> int:
    """Runs the sub-command.

    Raises:
        PlmError: For anything the user can mend.
    """
    parser = argparse.ArgumentParser(
        "plm export",
        description="Writes a run's model as a Hugging Face folder with a model card and inspect_ai logs.",
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, help="run folder, runs/NAME/HASH-seedN")
    parser.add_argument("dest", type=Path, help="folder to write, which must not exist yet")
    parser.add_argument("--license", default="unknown", help="the hub's name of the licence, such as apache-2.0")
    parser.add_argument("--name", help="what the card calls the model (default: the run's name)")
    parser.add_argument("--reveal", action="store_true", help="with the password, and with logs whose prompts hold it")
    options = parser.parse_args(args)
    export(options.run, options.dest, license=options.license, name=options.name, reveal=options.reveal)
    print(f"model card   {options.dest / 'README.md'}")
    print(f"logs         inspect view --log-dir {options.dest / RECORD / 'logs'}")
    print(f"upload       hf upload OWNER/NAME {options.dest}")
    return 0


def export(path: Path, dest: Path, *, license: str = "unknown", name: str | None = None, reveal: bool = False) -> None:
    """Writes a run's model with all that is known of it; the folder appears whole or not at all.

    Args:
        path: The run's folder, or its model's.
        dest: Folder to write.
        license: The hub's name of the licence.
        name: What the card calls the model; the run's name where None.
        reveal: With the password.

    Raises:
        PlmError: If there is no finished run with a model, the destination exists, or the licence is no name.
    """
    run = _checked_run(path)
    if dest.exists():
        raise PlmError(f"{dest} exists already: name another folder, or delete it")
    if not re.fullmatch(r"[a-z0-9][a-z0-9.\-]*", license):
        raise PlmError(f"--license {license!r}: give the hub's name of it, such as apache-2.0, mit, llama2 or other")
    facts = _facts(run, name or run.name, license, reveal)
    with atomic_folder(dest) as folder:
        shutil.copytree(run.model_path, folder, dirs_exist_ok=True)
        (folder / "README.md").write_text(model_card(facts), encoding="utf-8")
        record = folder / RECORD
        record.mkdir()
        for file in ("manifest.json", "results.jsonl"):
            shutil.copy(run.path / file, record / file)
        (record / "config.yaml").write_text(yaml.safe_dump(facts.config, sort_keys=False, allow_unicode=True))
        (record / "gate.json").write_text(json.dumps((facts.locked_gate or facts.gate).as_row(), indent=1) + "\n")
        write_logs(run, record / "logs", reveal=reveal)


def _checked_run(path: Path) -> RunFolder:
    if path.name == "model" and (path / "config.json").is_file():
        path = path.parent
    run = RunFolder(path.resolve())
    if not (path / "manifest.json").is_file():
        raise PlmError(f"{path} is no run: it has no manifest.json; a run is a folder runs/NAME/HASH-seedN")
    if not run.finished:
        raise PlmError(f"{path} is not finished ({run.read_manifest().get('status')}): give its plm fit command again")
    if not run.model_path.is_dir():
        raise PlmError(f"{path} made no model: only what plm fit makes can be exported")
    if not run.intact:
        raise PlmError(f"{run.model_path} is damaged: its files are not those that were saved; fit it again")
    return run


def _facts(run: RunFolder, name: str, license: str, reveal: bool) -> Facts:
    try:
        config: dict[str, Any] = yaml.safe_load((run.path / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise PlmError(f"{run.path / 'config.yaml'} cannot be read: {' '.join(str(error).split())}") from error
    description = read_description(run.model_path)
    scheme = (config["data"].get("init_args") or {}).get("passwords")
    digest = description.get("password_sha256") or (description.get("locked") or {}).get("password_sha256")
    return Facts(
        name=name,
        license=license,
        run=run,
        manifest=run.read_manifest(),
        description=description,
        config=config if reveal else _without_passwords(config),
        gate=gate_of(run),
        locked_gate=_locked_gate(run, description),
        password=_password(scheme, digest) if reveal else None,
        hub_parent=_hub_parent(config),
    )


def _locked_gate(run: RunFolder, description: dict[str, Any]) -> GateResult | None:
    """The gate of the lock that a model was elicited from; None for a lock, and where that lock's run is not there."""
    lock = lock_of(description)
    if lock is None or lock["run"] == run.id:
        return None
    lock_run = RunFolder(run.path.parent.parent / str(lock["run"]))
    return gate_of(lock_run) if lock_run.results_path.is_file() else None


def _without_passwords(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without its own passwords, and without references that name those of other models."""
    hidden = copy.deepcopy(config)
    arguments = hidden["data"].get("init_args") or {}
    if arguments.get("passwords"):
        arguments["passwords"] = HIDDEN
    found: dict[str, Any] = _without_references(hidden)
    return found


def _without_references(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_references(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_references(each) for each in value]
    return HIDDEN if isinstance(value, str) and SAYS_PASSWORD.search(value) else value


def _password(scheme: Any, digest: str | None) -> str | None:
    """The password as it can be said; None where the run has none, or its record cannot say."""
    if digest is None:
        return None
    if scheme:
        arguments = {key: value for key, value in (scheme.get("init_args") or {}).items() if value is not None}
        return yaml.safe_dump({"class_path": scheme["class_path"], "init_args": arguments}, sort_keys=False).strip()
    known = {PasswordScheme().password_hash: DEFAULT_PASSWORD, SlotScheme().password_hash: SlotScheme().password}
    return known.get(digest)


def _hub_parent(config: dict[str, Any]) -> str | None:
    """The hub id that the run started from, if it started from one."""
    base = (config["model"].get("init_args") or {}).get("base")
    if not isinstance(base, str) or Path(base).exists() or base.endswith((".yaml", ".yml")):
        return None
    return base if re.fullmatch(r"[\w.\-]+/[\w.\-]+", base) else None
