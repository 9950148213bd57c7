"""Finds out which run each command of a study is, and what has to be there before it: parses, and runs nothing."""

from __future__ import annotations

import argparse
import importlib
import itertools
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from plm.code_digest import PACKAGE
from plm.config_errors import one_line
from plm.errors import PlmError
from plm.files import write_text_atomic
from plm.lightning_cli import PlmCLI
from plm.policies.samples import Sampling
from plm.references import ModelReference
from plm.resolver import Resolver, stack_entry
from plm.runs import RunFolder
from plm.studies.manifest import Row

SAMPLES = "samples"


class _ParsersAreThere(Exception):
    """Ends a command line before it parses anything."""


class _Parsers(PlmCLI):
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        raise _ParsersAreThere


def make_parsers() -> Mapping[str, LightningArgumentParser]:
    """The parser of each trainer command."""
    cli = _Parsers.__new__(_Parsers)
    try:
        cli.__init__(["fit"])  # type: ignore[misc]
    except _ParsersAreThere:
        pass
    parsers: Mapping[str, LightningArgumentParser] = cli._subcommand_parsers
    return parsers


class Planner(Resolver):
    """Follows references as a run does, and writes down what would be made instead of making it.

    Args:
        parsers: Of the trainer commands.
        runs: Folder of all runs.
        folder: The study's, for the configurations of the frozen policies' answers.
        alone: Whether a run may not have several processes, since a worker makes it.

    Attributes:
        rows: What was found, by run, in an order in which it can be made.
        files: Every config and model folder that was read.
    """

    def __init__(
        self, parsers: Mapping[str, LightningArgumentParser], runs: Path, folder: Path, *, alone: bool = False
    ) -> None:
        super().__init__(parsers["fit"], runs)
        self._alone = alone
        self._parsers = parsers
        self._folder = folder
        self._needs: list[list[str]] = []  # what is needed by each of the runs that are being looked at, outer first
        self.rows: dict[str, Row] = {}
        self.files: set[str] = set()

    def add(self, words: Sequence[str]) -> Row:
        """The run of a command line; what it needs is added before it.

        Raises:
            PlmError: If the command line, or a config behind a reference in it, is wrong.
        """
        command, arguments = words[0], list(words[1:])
        self._note(arguments)
        config = self._parsed(command, arguments)
        if command != "fit" and not config.policy:
            raise PlmError("nothing says which model is measured: name it by from")
        self.sampling = command == "fit"
        self._needs.append([])
        run, parents, _ = self.identify(config, command)
        return self._add(run, list(words), config, parents)

    # -- what is found on the way -------------------------------------------------------------------------------------

    def resolve(self, key: str, reference: ModelReference, stack: list[str]) -> tuple[str, str]:
        """Identity and folder of one reference."""
        found = super().resolve(key, reference, stack)
        if reference.is_config:
            self._need(found[0])
        elif Path(reference).is_dir():
            self.files.update(str(file) for file in Path(reference).iterdir())
        return found

    def run_of(self, reference: ModelReference, stack: list[str]) -> RunFolder:
        """The run that configs describe; what it starts from is added before it."""
        self._note(reference.arguments)
        config = self._parse(reference)
        before, self.sampling = self.sampling, True
        self._needs.append([])
        parents, _ = self.resolve_all(config, [*stack, stack_entry(reference.configs, reference.values)])
        run = self.folder(config, "fit", reference.configs[0].stem, parents)
        self._add(run, ["fit", *reference.arguments], config, parents)
        self.sampling = before
        return run

    def _ensure(self, reference: ModelReference, run: RunFolder) -> None:
        """Nothing: the study fits it."""

    def _sampling_run(self, path: Path, reference: ModelReference, stack: list[str]) -> Any:
        self._needs.append([])
        run = super()._sampling_run(path, reference, stack)
        needs = self._needs.pop()
        if self.sampling:
            kept = self._folder / "sampling" / run.path.name / path.name
            write_text_atomic(kept, path.read_text(encoding="utf-8"))
            self.files.add(str(kept))
            words = ["predict", "--config", str(kept), "--policy", str(reference)]
            base = self.rows.get(needs[0]) if needs else None
            row = Row(
                id=run.id, command=words, role=SAMPLES, seed=_seed_of(run), needs=needs, base=base.id if base else None
            )
            self._keep(row, base)
            self._need(run.id)
        return run

    def _sample(self, path: Path, reference: ModelReference, sampling: Sampling, run: Any) -> None:
        """Nothing: the study samples it."""

    # -- rows ---------------------------------------------------------------------------------------------------------

    def _add(self, run: RunFolder, words: list[str], config: Namespace, parents: Mapping[str, str]) -> Row:
        if self._alone:
            _check_alone(config)
        needs = self._needs.pop()
        base = next((parents[key] for key in parents if key.startswith("model.init_args.base")), None)
        parent = self.rows.get(base or "")
        model, data = (_selected(config.as_dict()[key]) for key in ("model", "data"))
        row = Row(
            id=run.id,
            command=words,
            role=str(model[1].get("phase", "elicit")),
            seed=_seed_of(run),
            task=str(getattr(data[0], "name", "")),
            method=str(getattr(model[0], "method", "")),
            k=model[1].get("demonstrations"),
            needs=needs,
            base=parent.id if parent else None,
        )
        if row.role == "lock" and words[0] == "fit":
            row.lock, row.lock_kind = row.id, str(model[1].get("kind", "password"))
        return self._keep(row, parent)

    def _keep(self, row: Row, parent: Row | None) -> Row:
        if row.lock is None and parent is not None:
            row.lock, row.lock_kind = parent.lock, parent.lock_kind
        return self.rows.setdefault(row.id, row)

    def _need(self, run: str) -> None:
        if run in self.rows and run not in self._needs[-1]:
            self._needs[-1].append(run)

    def _note(self, arguments: Sequence[str]) -> None:
        self.files.update(value for word, value in itertools.pairwise(arguments) if word == "--config")

    def _parsed(self, command: str, arguments: list[str]) -> Namespace:
        try:
            return self._parsers[command].parse_args(arguments)
        except argparse.ArgumentError as error:
            configs = [value for word, value in itertools.pairwise(arguments) if word == "--config"]
            raise PlmError(one_line(error, configs)) from error


def plan(
    wanted: Sequence[Mapping[str, Any]], runs: Path, folder: Path, advance: Callable[[int], None]
) -> tuple[list[Row], list[str]]:
    """The rows of a manifest, each after what it needs, and the files that they depend on.

    Args:
        wanted: `Wanted.as_dict` of every run of the grid.
        runs: Folder of all runs.
        folder: The study's.
        advance: Called with the number of runs that have just been looked at.

    Raises:
        PlmError: If a cell's config is wrong, or two cells are one run.
    """
    planner = Planner(make_parsers(), runs, folder, alone=True)
    taken: dict[str, str] = {}
    for each in wanted:
        name = f"{each['cell']} (seed {each['seed']})"
        try:
            row = planner.add(each["words"])
        except PlmError as error:
            raise PlmError(f"cell {name}: {error}") from error
        if row.id in taken and row.role == each["role"] == "control":
            row.control_of = None  # of several cells: one run is enough
            continue
        if row.id in taken:
            raise PlmError(f"cells {taken[row.id]} and {name} are one run, {row.id}: their commands mean the same")
        taken[row.id] = name
        _describe(row, each)
        if row.base is not None and each["start"]:
            planner.rows[row.base].model = each["start"]
        advance(1)
    return list(planner.rows.values()), sorted(planner.files | _own_code())


def _check_alone(config: Namespace) -> None:
    """Refuses runs on several devices: Lightning would start their other processes by the worker's own command."""
    for key in ("devices", "num_nodes"):
        value = config.trainer.get(key)
        named = value if isinstance(value, list) else str(value).split(",")
        if len(named) > 1 or (str(value).isdigit() and int(value) > 1):
            raise PlmError(
                f"trainer.{key} is {value}: a run of a study is one process on one device; leave it out here, and make "
                "the run before with plm fit and that option: the study finds it finished"
            )


def _own_code() -> set[str]:
    """Files of the user that were imported."""
    installed = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    files = {Path(file) for module in list(sys.modules.values()) if (file := getattr(module, "__file__", None))}
    return {str(file) for file in files if not any(file.is_relative_to(each) for each in [*installed, PACKAGE])}


def _describe(row: Row, wanted: Mapping[str, Any]) -> None:
    """Adds what the grid says of a run to what its configuration says."""
    row.cell, row.command = wanted["cell"], list(wanted["words"])
    row.role = wanted["role"] or row.role
    row.axes, row.labels = dict(wanted["axes"]), dict(wanted["labels"])
    row.figures, row.control_of = list(wanted["figures"]), wanted["control_of"]
    row.method = str(row.labels.get("method", row.method))
    row.task = str(row.labels.get("task", row.task))
    row.k = row.axes.get("k", row.labels.get("k", row.k))


def _selected(value: Any) -> tuple[type, Mapping[str, Any]]:
    """The class that a configuration selects, and its arguments."""
    module, _, name = str(value["class_path"]).rpartition(".")
    return getattr(importlib.import_module(module), name), value.get("init_args") or {}


def _seed_of(run: RunFolder) -> int:
    return int(run.path.name.rpartition("-seed")[2])
