"""From model references to folders: a config that was not fitted yet is fitted, a damaged model is made again."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from plm.config_errors import one_line
from plm.distributed import launched_rank
from plm.errors import PlmError
from plm.identity import folder_digest, run_hash
from plm.processes import run_child
from plm.progress import say, timings
from plm.references import ModelReference, find_references
from plm.runs import RunFolder

REMOVED_FROM_CHILD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
LAUNCHER_PREFIXES = ("SLURM_", "PL_", "TORCHELASTIC_", "GROUP_", "ROLE_")
FITTING = "fitting what it starts from"


class Resolver:
    """Turns model references into folders and identities.

    Args:
        parser: Parses the configs that references name.
        runs: Folder of all runs.
    """

    def __init__(self, parser: LightningArgumentParser, runs: Path) -> None:
        self.parser = parser
        self.runs = runs

    def folder(self, config: Namespace, command: str, name: str, parents: dict[str, str]) -> RunFolder:
        """The folder of the run that a configuration describes."""
        identity = run_hash(plain(self.parser, config), command, parents)
        return RunFolder(self.runs / name / f"{identity}-seed{int(config.seed_everything)}")

    def resolve_all(self, config: Namespace, stack: list[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Identity and folder of the model behind every reference in a configuration, by dotted key."""
        found = {key: self.resolve(key, reference, stack) for key, reference in find_references(config.as_dict())}
        return {key: pair[0] for key, pair in found.items()}, {key: pair[1] for key, pair in found.items()}

    def resolve(self, key: str, reference: ModelReference, stack: list[str]) -> tuple[str, str]:
        """Identity and folder (or hub id) of one reference; a config that was not fitted yet is fitted first."""
        if not reference.is_config:
            path = Path(reference)
            return (folder_digest(path), str(path)) if path.is_dir() else (str(reference), str(reference))
        path = Path(reference)
        if not path.is_file():
            raise PlmError(f"{key}: there is no config {str(reference)!r} (looked in {Path.cwd()})")
        if str(path.resolve()) in stack:
            chain = " → ".join(Path(step).name for step in [*stack, str(path)])
            raise PlmError(f"{key}: the model reference leads back to itself: {chain}")
        run = self.run_of(path, stack)
        if launched_rank():  # the first process does what follows; it ends this one where that fails
            while not (run.finished and run.intact):
                time.sleep(1)
        if run.finished and not run.intact:
            self._discard_model(run)
        if not run.finished:
            self._fit(path, run)
        return run.id, str(run.model_path)

    def run_of(self, path: Path, stack: list[str]) -> RunFolder:
        """The run that a config describes; what it starts from is resolved, and fitted, first."""
        try:
            config = self.parser.parse_args(["--config", str(path)])
        except argparse.ArgumentError as error:
            raise PlmError(f"{path}: {one_line(error, [str(path)])}") from error
        parents, _ = self.resolve_all(config, [*stack, str(path.resolve())])
        return self.folder(config, "fit", path.stem, parents)

    def _fit(self, path: Path, run: RunFolder) -> None:
        say(f"{path} is not fitted yet: fitting it first")
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in REMOVED_FROM_CHILD and not name.startswith(LAUNCHER_PREFIXES)
        }
        start = time.monotonic()
        code = run_child(["fit", "--config", str(path), "--runs", str(self.runs)], environment)
        timings[FITTING] += time.monotonic() - start
        if code or not run.finished:
            raise PlmError(f"fitting {path} failed with exit code {code}; what went wrong stands above")

    def _discard_model(self, run: RunFolder) -> None:
        """Marks a run whose model was damaged as unfinished, so that fitting it saves the model again."""
        with run.lock():
            if run.finished and not run.intact:  # another process may have mended it meanwhile
                say(f"{run.model_path} is damaged: its files are not those that were saved; making it again")
                run.update_manifest(status="model damaged")


class Itself:
    """The model that a configuration makes when it is fitted, for measuring it."""

    def __init__(self, config: Namespace, resolver: Resolver, name: str, stack: list[str]) -> None:
        self.config, self.resolver, self.name, self.stack = config, resolver, name, stack

    def reference(self) -> ModelReference:
        """The folder of the model; fitting it is the user's decision."""
        fitted = self.config.clone()
        parents, _ = self.resolver.resolve_all(fitted, self.stack)
        run = self.resolver.folder(fitted, "fit", self.name, parents)
        if not run.finished:
            raise PlmError(
                f"there is no finished run of {self.name} ({run.path}): plm fit it first, or name a model by --policy"
            )
        return ModelReference(run.model_path)


def config_name(config: Namespace) -> tuple[str, list[str]]:
    """The name of a run, after its first config, and the paths of all its configs."""
    paths = [str(path) for path in config.get("config") or [] if path is not None]
    return (Path(paths[0]).stem if paths else "run"), paths


def plain(parser: LightningArgumentParser, config: Namespace) -> dict[str, Any]:
    """The configuration as plain values."""
    values: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_unset=False, format="yaml", skip_validation=True))
    return values
