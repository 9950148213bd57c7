"""Finds runs on disk and reads what they measured, for `plm report`."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from plm.errors import PlmError
from plm.files import read_jsonl
from plm.lineage import lock_of, read_description
from plm.runs import RunFolder

Row = Mapping[str, Any]
NEEDED = ("epoch", "step", "phase", "method", "task", "split", "password", "domain", "n", "correct", "seed")
INSIDE_A_RUN = {"completions", "rounds", "tensorboard", "checkpoints", "model"}
DEEPEST = 3  # folders below what was named: a folder of several runs folders
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Run:
    """One run folder, read.

    Attributes:
        folder: Where it is.
        manifest: `manifest.json`.
        rows: The usable lines of `results.jsonl`.
        planned: Its row in a study's manifest; empty for a run on its own.
    """

    folder: RunFolder
    manifest: dict[str, Any]
    rows: list[Row]
    planned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """`<name>/<hash8>-seed<seed>`."""
        return self.folder.id

    @property
    def name(self) -> str:
        """The first config's file name."""
        return self.folder.name

    @property
    def seed(self) -> int:
        """Of the run."""
        return int(self.manifest.get("seed") or 0)

    @property
    def finished(self) -> bool:
        """Whether it came to its end."""
        return self.manifest.get("status") == "finished"

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved configuration; empty where there is none.

        Raises:
            PlmError: If it cannot be read.
        """
        path = self.folder.path / "config.yaml"
        try:
            loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise PlmError(f"{path}: it cannot be read ({error})") from error
        return loaded if isinstance(loaded, dict) else {}

    @cached_property
    def description(self) -> dict[str, Any]:
        """`plm.json` of the model; empty where the run made none."""
        return read_description(self.folder.model_path)

    @property
    def role(self) -> str:
        """What it is for: `base`, `weak`, `strong`, `lock`, `elicit`, `control` or `samples`."""
        if self.planned.get("role"):
            return str(self.planned["role"])
        own = [row["phase"] for row in self.rows if row["method"] != "policy" and row["phase"] != "probe"]
        return str(own[-1]) if own else "unknown"


@dataclass
class Collection:
    """Everything that a report is about.

    Attributes:
        title: What was reported on.
        runs: By id.
        planned: A study's rows, those without a finished run too.
        study: The rest of a study's manifest; empty without a study.
        notices: What the reader has to know: what was left out, torn or unfinished.
        copies: How many runs of a folder were read elsewhere already.
    """

    title: str
    runs: dict[str, Run] = field(default_factory=dict)
    planned: list[Mapping[str, Any]] = field(default_factory=list)
    study: dict[str, Any] = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)
    copies: Counter[Path] = field(default_factory=Counter)

    def lock_of(self, run: Run) -> str | None:
        """Run id of the newest lock in a run's history, itself included; None where there is none."""
        seen: set[str] = set()
        current: Run | None = run
        while current is not None and current.id not in seen:
            seen.add(current.id)
            if current.planned.get("lock"):
                return str(current.planned["lock"])
            if current.role == "lock":
                return current.id
            lock = lock_of(current.description)
            if lock is not None:
                return str(lock["run"])
            parent = current.manifest.get("parent")
            if parent is not None and parent not in self.runs:
                return None
            current = self.runs.get(parent) if parent else None
        return None


def collect(paths: Sequence[Path]) -> Collection:
    """Reads run folders, folders of runs, and studies.

    Args:
        paths: Any mix of them.

    Raises:
        PlmError: If a path does not exist or cannot be listed, or if there is no run anywhere.
    """
    collection = Collection(", ".join(path.resolve().name for path in paths))
    for path in paths:
        if not path.is_dir():
            raise PlmError(f"{path}: no such folder; name run folders, a folder of runs, or a study's folder")
        if study := _read_study(path):
            _add_study(collection, path, study)
            continue
        found = _find(path)
        if not found:
            raise PlmError(
                f"{path} holds no runs; a run is a folder NAME/HASH-seedN with manifest.json and results.jsonl"
            )
        for folder in found:
            _add(collection, folder)
    for folder, count in collection.copies.items():
        collection.notices.append(f"{folder}: {count} of its runs were read elsewhere already, and are left out here")
    if not any(run.rows for run in collection.runs.values()):
        raise PlmError(f"no run of {collection.title} has measured anything yet: results.jsonl is empty or missing")
    return collection


def _find(path: Path, depth: int = 0) -> list[Path]:
    """Run folders at or below a path."""
    try:
        entries = sorted(path.iterdir())
    except OSError as error:
        raise PlmError(f"cannot read {path}: {error.strerror}") from error
    names = {entry.name for entry in entries}
    if "results.jsonl" in names or {"manifest.json", "config.yaml"} <= names:
        return [path]
    if depth == DEEPEST:
        return []
    folders = [entry for entry in entries if entry.is_dir() and entry.name not in INSIDE_A_RUN and entry.name[0] != "."]
    return [run for folder in folders for run in _find(folder, depth + 1)]


def _add(collection: Collection, folder: Path, planned: Mapping[str, Any] | None = None) -> None:
    """Reads one run; a run that cannot be read is named on the page, so that one torn run does not hide 300 others."""
    run_folder = RunFolder(folder.resolve())
    if run_folder.id in collection.runs:
        other = collection.runs[run_folder.id].folder.path
        if other != run_folder.path:
            collection.copies[run_folder.path.parent.parent] += 1
        return
    try:
        manifest = run_folder.read_manifest()
        rows = read_jsonl(run_folder.results_path)
    except (PlmError, OSError, ValueError) as error:
        collection.notices.append(f"{run_folder.id}: left out, it cannot be read ({error})")
        return
    run = Run(run_folder, manifest, _usable(collection, run_folder, rows), planned or {})
    try:
        _ = run.config, run.description
    except PlmError as error:
        collection.notices.append(f"{run_folder.id}: left out ({error})")
        return
    if not run.finished:
        collection.notices.append(
            f"{run.id}: not finished ({manifest.get('status', 'no manifest')}); shown as far as it came"
        )
    collection.runs[run.id] = run


def _usable(collection: Collection, folder: RunFolder, rows: list[dict[str, Any]]) -> list[Row]:
    good: list[Row] = [row for row in rows if _is_usable(row)]
    if len(good) < len(rows):
        collection.notices.append(f"{folder.id}: {len(rows) - len(good)} lines of results.jsonl are no evaluations")
    path = folder.results_path
    if path.exists() and (data := path.read_bytes()) and not data.endswith(b"\n"):
        collection.notices.append(f"{folder.id}: the last line of results.jsonl is torn; it is not counted")
    return good


def _is_usable(row: Row) -> bool:
    if any(key not in row for key in NEEDED):
        return False
    numbers = (row["correct"], row["n"], row["epoch"], row["step"])
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers):
        return False
    return bool(0 <= row["correct"] <= 1 and row["n"] > 0)


def _read_study(path: Path) -> dict[str, Any] | None:
    manifest = path / "manifest.json"
    if not (path / "study.yaml").is_file() or not manifest.is_file():
        return None
    try:
        study = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlmError(f"{manifest}: it cannot be read ({error})") from error
    if not isinstance(study, dict) or not isinstance(study.get("runs"), list):
        raise PlmError(f"{manifest}: no list of runs in it; `plm study run` writes it")
    return study


def _add_study(collection: Collection, path: Path, study: dict[str, Any]) -> None:
    collection.title = str(study.get("study") or path.name)
    collection.study = {key: value for key, value in study.items() if key != "runs"}
    root = next(
        (each for each in (path.resolve().parent.parent, Path(study.get("runs_folder") or "runs")) if each.is_dir()),
        None,
    )
    for planned in study["runs"]:
        collection.planned.append(planned)
        folder = root / str(planned["folder"]) if root else None
        if folder is not None and folder.is_dir():
            _add(collection, folder, planned)
        elif planned.get("status") == "finished":
            collection.notices.append(f"{planned['id']}: finished, but its folder {folder} is not there")
