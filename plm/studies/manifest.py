"""A study's folder: one row a run, and what became of it (docs/studies.md)."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from plm.errors import PlmError
from plm.files import append_jsonl, read_jsonl, write_text_atomic
from plm.runs import RunFolder
from plm.studies.gate import gate_of

Status = Literal["waiting", "running", "finished", "failed", "blocked"]
Keep = Literal["all", "models", "results"]
BETWEEN_WRITES = 3.0  # seconds between two manifests while runs change their status


@dataclass
class Row:
    """One run of a study.

    Attributes:
        id: plm's identity of the run, `<name>/<hash8>-seed<seed>`; its folder below that of all runs.
        command: The command line after `plm`, without the folder of all runs.
        role: `base`, `weak`, `strong`, `lock`, `elicit`, `control` or `samples`.
        seed: Of the run.
        cell: The cell; None for what only other runs need.
        model: The study's name of the model that it makes; None where no cell starts from it by name.
        task: The task's name.
        method: What tables call the method.
        k: Number of demonstrations or shots; None where there is none.
        axes: Label of the cell on each axis.
        labels: What tables and figures call it.
        figures: Figures of the paper that it is a part of.
        needs: Runs that have to be finished first.
        base: The run whose model is trained or measured; None where it is no run.
        lock: The newest lock in its history, itself included.
        lock_kind: That lock's kind.
        control_of: Name of the cell that a control stands beside.
        status: What became of it.
        attempts: Tries in all.
        seconds: Wall time of the last try.
        error: Its last line where it failed.
        stamp: `unverified` where its lock, or the run itself, fails the gate; else empty.
    """

    id: str
    command: list[str]
    role: str
    seed: int
    cell: str | None = None
    model: str | None = None
    task: str = ""
    method: str = ""
    k: Any = None
    axes: dict[str, Any] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    figures: list[str] = field(default_factory=list)
    needs: list[str] = field(default_factory=list)
    base: str | None = None
    lock: str | None = None
    lock_kind: str | None = None
    control_of: str | None = None
    status: Status = "waiting"
    attempts: int = 0
    seconds: float | None = None
    error: str | None = None
    stamp: str = ""

    @property
    def name(self) -> str:
        """The run's name: its first config's file name."""
        return self.id.partition("/")[0]

    @property
    def shown(self) -> str:
        """What a person calls it."""
        return f"{self.cell or self.model or self.name}, seed {self.seed}"


def run_finished(runs: Path, row: Row, needed: bool = True) -> bool:
    """Whether a run came to its end and left what others start from.

    Args:
        runs: Folder of all runs.
        row: The run.
        needed: Whether others start from it: then its weights must be there too.
    """
    folder = runs / row.id
    try:
        status = json.loads((folder / "manifest.json").read_text(encoding="utf-8")).get("status")
    except (OSError, ValueError):
        return False
    if status != "finished" or not needed:
        return bool(status == "finished")
    made = {"fit": "model", "predict": "samples.parquet"}.get(row.command[0], "")
    return (folder / made).exists() and (made != "model" or bool(weight_files(folder)))


def needed_by_others(rows: Iterable[Row]) -> set[str]:
    """Runs that others start from."""
    return {name for row in rows for name in row.needs}


def note_gates(rows: Iterable[Row], runs: Path, thresholds: Mapping[str, Any]) -> None:
    """Stamps the runs whose lock fails its gate; a lock that cannot be judged stamps nothing.

    Args:
        rows: Of a study.
        runs: Folder of all runs.
        thresholds: Of the gate, as the study names them.
    """
    rows = list(rows)
    stamps: dict[str | None, str] = {}
    for row in rows:
        if row.role == "lock" and row.status == "finished" and row.command[:1] == ["fit"]:
            try:
                stamps[row.id] = gate_of(RunFolder(runs / row.id), **thresholds).stamp
            except (PlmError, OSError, ValueError, KeyError):
                continue
    for row in rows:
        row.stamp = stamps.get(row.lock, "")


def weight_files(run: Path) -> list[Path]:
    """The files of a run's model that hold weights."""
    return [file for pattern in ("*.safetensors", "*.bin") for file in (run / "model").glob(pattern)]


def prune(run: Path, keep: Keep, needed: bool) -> None:
    """Deletes what a finished run does not need any more.

    Args:
        run: Its folder.
        keep: `all`; `models`, without checkpoints; `results`, without the weights of models that nothing starts from.
        needed: Whether other runs of the study start from it.
    """
    if keep != "all":
        shutil.rmtree(run / "checkpoints", ignore_errors=True)
    if keep == "results" and not needed:
        for file in weight_files(run):
            file.unlink()


class StudyFolder:
    """Reads and writes the files of one study.

    Args:
        path: `<runs>/studies/<name>`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._written = 0.0

    @property
    def manifest_path(self) -> Path:
        """One row a run."""
        return self.path / "manifest.json"

    @property
    def attempts_path(self) -> Path:
        """One line an attempt."""
        return self.path / "attempts.jsonl"

    def log_path(self, run: str) -> Path:
        """What a run's attempts printed."""
        return self.path / "logs" / f"{run}.log"

    def write(self, about: Mapping[str, Any], rows: Iterable[Row]) -> None:
        """Writes the manifest whole."""
        content = {**about, "runs": [{**asdict(row), "folder": row.id} for row in rows]}
        write_text_atomic(self.manifest_path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
        self._written = time.monotonic()

    def due(self) -> bool:
        """Whether the manifest on disk is a few seconds old."""
        return time.monotonic() - self._written > BETWEEN_WRITES

    def append_attempt(self, entry: Mapping[str, Any]) -> None:
        """Appends one attempt, flushed to disk."""
        append_jsonl(self.attempts_path, [entry])

    def attempts(self) -> dict[str, list[dict[str, Any]]]:
        """What each run's attempts came to, in their order."""
        found: dict[str, list[dict[str, Any]]] = {}
        for entry in read_jsonl(self.attempts_path):
            found.setdefault(entry["run"], []).append(entry)
        return found


def read_manifest(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """What a study's manifest says of the study, and its rows.

    Args:
        path: The study's folder.

    Raises:
        PlmError: If there is none, or it cannot be read.
    """
    file = path / "manifest.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        rows = content.pop("runs")
        known = {each.name for each in fields(Row)}
        return content, [Row(**{key: value for key, value in row.items() if key in known}) for row in rows]
    except FileNotFoundError as error:
        raise PlmError(f"{path} is no study: it has no manifest.json; plm study run makes one") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlmError(f"{file} cannot be read ({error}); plm study run writes it anew") from error


def measured_seconds(studies: Iterable[Path]) -> dict[str, float]:
    """Median wall time of the attempts that ended well, by run name, over the folders of some studies."""
    found: dict[str, list[float]] = {}
    for folder in studies:
        for entry in read_jsonl(folder / "attempts.jsonl"):
            if entry.get("ok"):
                found.setdefault(str(entry["run"]).partition("/")[0], []).append(float(entry["seconds"]))
    return {name: sorted(values)[len(values) // 2] for name, values in found.items()}
