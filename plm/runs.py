"""The folder of a run: what it leaves on disk is a contract that other programs read (docs/concepts.md lists it)."""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import yaml

from plm import __version__
from plm.files import append_jsonl, atomic_folder, exclusive_lock, read_jsonl, write_text_atomic
from plm.identity import folder_digest
from plm.records import Answer, Graded
from plm.tables import write_parquet

if TYPE_CHECKING:
    from lightning import Trainer

    from plm.examples import Example

VERSIONED = ("torch", "lightning", "transformers", "tokenizers", "jsonargparse", "numpy", "lion-pytorch", "vllm")


class RunFolder:
    """Reads and writes the files of one run.

    Args:
        path: `runs/<name>/<hash8>-seed<seed>`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, trainer: Trainer) -> Self:
        """The folder of the run that a trainer works on."""
        return cls(Path(trainer.default_root_dir))

    @property
    def name(self) -> str:
        """The run's name: the first config's file name."""
        return self.path.parent.name

    @property
    def id(self) -> str:
        """What manifests and checkpoints call the run."""
        return f"{self.name}/{self.path.name}"

    @property
    def results_path(self) -> Path:
        """One line an evaluation."""
        return self.path / "results.jsonl"

    @property
    def model_path(self) -> Path:
        """The final model, a Hugging Face folder."""
        return self.path / "model"

    @property
    def checkpoint_path(self) -> Path:
        """The last checkpoint."""
        return self.path / "checkpoints" / "last.ckpt"

    # -- manifest ---------------------------------------------------------------------------------------------------

    def read_manifest(self) -> dict[str, Any]:
        """The manifest, empty for a run that has not started."""
        path = self.path / "manifest.json"
        return json.loads(path.read_text()) if path.exists() else {}

    def update_manifest(self, **entries: Any) -> None:
        """Adds entries to the manifest."""
        text = json.dumps({**self.read_manifest(), **entries}, indent=2, default=str)
        write_text_atomic(self.path / "manifest.json", text + "\n")

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.read_manifest().get("status") == "finished"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lets one process at a time work on the run."""
        path = self.path
        with exclusive_lock(path.parent / f".{path.name}.lock", f"another process works on {path}: waiting for it"):
            yield

    @property
    def intact(self) -> bool:
        """Whether a finished run's model is byte for byte what was saved."""
        digest = self.read_manifest().get("model_digest")
        return self.model_path.is_dir() and (digest is None or digest == folder_digest(self.model_path))

    def forget_measurements(self) -> None:
        """Deletes what no checkpoint knows, before the run begins again; rounds stay, they would come out equal."""
        self.results_path.unlink(missing_ok=True)
        for name in ("completions", "tensorboard"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Writes the resolved configuration."""
        write_text_atomic(self.path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))

    # -- results ----------------------------------------------------------------------------------------------------

    def append_result(self, row: Mapping[str, Any]) -> None:
        """Appends one evaluation, flushed to disk."""
        append_jsonl(self.results_path, [row])

    def read_results(self) -> list[dict[str, Any]]:
        """All evaluations so far."""
        return read_jsonl(self.results_path)

    def write_completions(self, name: str, rows: Sequence[Answer | Graded]) -> None:
        """Writes completions to `completions/<name>.parquet`; those that were graded with score and reason."""
        columns: dict[str, list[Any]] = {
            "problem_id": [row.problem.id for row in rows],
            "domain": [row.problem.domain for row in rows],
            "prompt": [row.prompt for row in rows],
            "completion": [row.completion for row in rows],
            "tokens": [row.tokens for row in rows],
            "finished": [row.finished for row in rows],
        }
        graded = [row for row in rows if isinstance(row, Graded)]
        if graded:
            columns["score"] = [row.grade.score for row in graded]
            columns["reason"] = [row.grade.reason for row in graded]
        write_parquet(self.path / "completions" / f"{name}.parquet", pa.table(columns))

    # -- rounds -----------------------------------------------------------------------------------------------------

    def round_path(self, index: int) -> Path:
        """Where a round's examples are."""
        return self.path / "rounds" / f"{index:04d}"

    def read_round(self, index: int) -> list[Example] | None:
        """The examples of a round, None if it was not made yet."""
        folder = self.round_path(index)
        from plm.examples import load_examples  # with torch, which who reads results does not need

        return load_examples(folder / "examples.parquet") if folder.exists() else None

    def read_round_meta(self, index: int) -> dict[str, Any]:
        """What was written beside a round's examples."""
        meta: dict[str, Any] = json.loads((self.round_path(index) / "meta.json").read_text())
        return meta

    def write_round(self, index: int, rows: Sequence[Example], meta: Mapping[str, Any]) -> None:
        """Writes a round; its folder appears whole."""
        with atomic_folder(self.round_path(index)) as folder:
            from plm.examples import save_examples

            save_examples(folder / "examples.parquet", rows)
            (folder / "meta.json").write_text(json.dumps({"rows": len(rows), **meta}, indent=2) + "\n")


def provenance() -> dict[str, Any]:
    """Versions of everything that moves numbers, for the manifest."""
    versions = {"plm": __version__, "python": platform.python_version()}
    for package in VERSIONED:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {"versions": versions, "git": _git_revision(), "machine": platform.machine()}


def _git_revision() -> str | None:
    """The revision of the checkout that plm runs from, `+dirty` when it has changes; None outside a checkout."""
    here = Path(__file__).parent
    describe = ["git", "-C", str(here), "describe", "--always", "--dirty=+dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(describe, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
