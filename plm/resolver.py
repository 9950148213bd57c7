"""From model references to folders: what was not fitted or sampled yet is, what is damaged is made again."""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from plm.config_errors import one_line
from plm.distributed import launched_rank
from plm.errors import PlmError
from plm.files import exclusive_lock
from plm.identity import folder_digest, run_hash
from plm.policies.samples import SamplesFolder, Sampling, find_sampling, samples_name, sampling_config
from plm.processes import run_child
from plm.progress import say, timings
from plm.references import ModelReference, find_references
from plm.runs import RunFolder

REMOVED_FROM_CHILD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
LAUNCHER_PREFIXES = ("SLURM_", "PL_", "TORCHELASTIC_", "GROUP_", "ROLE_")
FITTING = "fitting what it starts from"
SAMPLING = "sampling frozen policies"


class Identified(NamedTuple):
    """A run, and the identity and folder of every model that it starts from, by dotted key."""

    run: RunFolder
    parents: dict[str, str]
    folders: dict[str, str]


class Resolver:
    """Turns model references into folders and identities.

    Args:
        parser: Parses the configs that references name.
        runs: Folder of all runs.
        sampling: Whether frozen policies are sampled where they were not yet: only training asks them.
    """

    def __init__(self, parser: LightningArgumentParser, runs: Path, sampling: bool = True) -> None:
        self.parser = parser
        self.runs = runs
        self.sampling = sampling
        self._resolved: dict[str, tuple[str, str]] = {}  # chains of references lead to the same model many times

    def folder(self, config: Namespace, command: str, name: str, parents: dict[str, str]) -> RunFolder:
        """The folder of the run that a configuration describes."""
        identity = run_hash(plain(self.parser, config), command, parents)
        return RunFolder(self.runs / name / f"{identity}-seed{int(config.seed_everything)}")

    def identify(self, config: Namespace, command: str) -> Identified:
        """Which run a configuration is; what it starts from is resolved, and fitted where it was not, first."""
        name, paths = config_name(config)
        stack = [stack_entry([Path(path) for path in paths])]
        if command != "fit":
            config.policy = config.policy or Itself(config, self, name, stack).reference()
            config.model.init_args.base = config.policy
        parents, folders = self.resolve_all(config, stack)
        return Identified(self.folder(config, command, name, parents), parents, folders)

    def resolve_all(self, config: Namespace, stack: list[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Identity and folder of the model, or of its samples, behind every reference, by dotted key."""
        values, found = config.as_dict(), {}
        for key, reference in find_references(values):
            sampling = find_sampling(values, key)
            found[key] = (
                self.resolve(key, reference, stack)
                if sampling is None
                else self._resolve_samples(key, reference, sampling, config, stack)
            )
        return {key: pair[0] for key, pair in found.items()}, {key: pair[1] for key, pair in found.items()}

    def resolve(self, key: str, reference: ModelReference, stack: list[str]) -> tuple[str, str]:
        """Identity and folder (or hub id) of one reference; a config that was not fitted yet is fitted first."""
        if not reference.is_config:
            path = Path(reference)
            return (folder_digest(path), str(path)) if path.is_dir() else (str(reference), str(reference))
        for path in reference.configs:
            if not path.is_file():
                raise PlmError(f"{key}: there is no config {str(path)!r} (looked in {Path.cwd()})")
        if stack_entry(reference.configs, reference.values) in stack:
            names = [" + ".join(Path(part).name for part in step.split(" + ")) for step in [*stack, str(reference)]]
            raise PlmError(f"{key}: the model reference leads back to itself: {' → '.join(names)}")
        if reference not in self._resolved:
            run = self.run_of(reference, stack)
            self._ensure(reference, run)
            self._resolved[reference] = run.id, str(run.model_path)
        return self._resolved[reference]

    def _ensure(self, reference: ModelReference, run: RunFolder) -> None:
        """Fits the model where it is not there."""
        self._wait_for_first(run)
        if run.finished and not run.intact:
            self._discard_model(run)
        if not run.finished:
            self._fit(reference, run)

    def run_of(self, reference: ModelReference, stack: list[str]) -> RunFolder:
        """The run that configs describe; what it starts from is resolved, and fitted, first."""
        config = self._parse(reference)
        parents, _ = self.resolve_all(config, [*stack, stack_entry(reference.configs, reference.values)])
        return self.folder(config, "fit", reference.configs[0].stem, parents)

    def _parse(self, reference: ModelReference) -> Namespace:
        try:
            return self.parser.parse_args(reference.arguments)
        except argparse.ArgumentError as error:
            raise PlmError(f"{reference}: {one_line(error, [str(path) for path in reference.configs])}") from error

    def _fit(self, reference: ModelReference, run: RunFolder) -> None:
        say(f"{reference} is not fitted yet: fitting it first")
        code = self._child(["fit", *reference.arguments], FITTING)
        if code or not run.finished:
            raise PlmError(f"fitting {reference} failed with exit code {code}; what went wrong stands above")

    def _child(self, args: list[str], kind: str) -> int:
        """Runs a `plm` command in a process of its own, without what the launcher of this one left behind."""
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in REMOVED_FROM_CHILD and not name.startswith(LAUNCHER_PREFIXES)
        }
        start = time.monotonic()
        try:
            return run_child([*args, "--runs", str(self.runs)], environment)
        finally:
            timings[kind] += time.monotonic() - start

    def _wait_for_first(self, run: RunFolder) -> None:
        """Lets the first process do what follows; it ends this one where that fails."""
        while launched_rank() and not (run.finished and run.intact):
            time.sleep(1)

    # -- frozen policies ----------------------------------------------------------------------------------------------

    def _resolve_samples(
        self, key: str, reference: ModelReference, sampling: Sampling, config: Namespace, stack: list[str]
    ) -> tuple[str, str]:
        """Identity and folder of a frozen model's answers; those that do not exist yet are made first."""
        given = SamplesFolder(Path(reference))
        if given.samples_path.is_file():
            return given.digest(), str(reference)
        self.resolve(key, reference, stack)
        name = samples_name(reference)
        with tempfile.TemporaryDirectory(prefix="plm-") as temporary:
            path = Path(temporary) / f"{name}.yaml"
            content = sampling_config(plain(self.parser, config), str(reference), sampling)
            path.write_text(yaml.safe_dump(content, allow_unicode=True))
            run = self._sampling_run(path, reference, stack)
            if self.sampling:
                self._wait_for_first(run)
                self._sample(path, reference, sampling, run)
        return run.id, str(run.path)

    def _sampling_run(self, path: Path, reference: ModelReference, stack: list[str]) -> SamplesFolder:
        """The folder that `plm predict --policy REFERENCE` makes of a configuration."""
        config = self._parse(ModelReference(path))
        config.policy = config.model.init_args.base = reference
        parents, _ = self.resolve_all(config, stack)
        return SamplesFolder(self.folder(config, "predict", path.stem, parents).path)

    def _sample(self, path: Path, reference: ModelReference, sampling: Sampling, run: SamplesFolder) -> None:
        lock = run.path.parent / f".{run.path.name}.sampling.lock"
        with exclusive_lock(lock, f"another process makes {run.path}: waiting for it"):
            if run.finished and run.intact:
                return
            if run.finished:
                say(f"{run.samples_path} is damaged: it is not what was saved; making it again")
            else:
                say(f"{reference} has not answered the problems of {sampling.split} yet: sampling it first")
            code = self._child(["predict", "--config", str(path), "--policy", str(reference)], SAMPLING)
            if code or not (run.finished and run.intact):
                raise PlmError(f"sampling {reference} failed with exit code {code}; what went wrong stands above")

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


def stack_entry(paths: Sequence[Path], values: Sequence[str] = ()) -> str:
    """How the configs of one run, and single values, are remembered while what it starts from is looked for."""
    return " + ".join([*(str(path.resolve()) for path in paths), *values])


def plain(parser: LightningArgumentParser, config: Namespace) -> dict[str, Any]:
    """The configuration as plain values."""
    values: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_unset=False, format="yaml", skip_validation=True))
    return values
