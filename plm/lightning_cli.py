"""`plm fit|validate|test|predict`: LightningCLI, with run folders, model references and errors of one line."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

import plm.callbacks
import plm.datamodules
import plm.engines
import plm.modules
import plm.policies  # noqa: F401  (importing makes short class names legal in YAML)
from plm.callbacks import ProgressCallback, RunFolderCallback
from plm.cli import STARTED
from plm.config_errors import one_line
from plm.datamodules.base import TaskDataModule
from plm.errors import PlmError
from plm.files import exclusive_lock
from plm.identity import folder_digest, run_hash
from plm.modules.base import PolicyModule
from plm.progress import say, timings
from plm.references import ModelReference, find_references
from plm.runs import RunFolder, provenance
from plm.table import print_table

REMOVED_FROM_CHILD = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
PARSER = {"exit_on_error": False, "allow_abbrev": False}  # an abbreviation would hide a misspelt key
TRAINER_DEFAULTS = {
    "max_epochs": 1,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
    "reload_dataloaders_every_n_epochs": 1,
    "use_distributed_sampler": False,
    "log_every_n_steps": 10,
}


def run_trainer_command(command: str, args: list[str]) -> int:
    """Runs a trainer sub-command.

    Raises:
        PlmError: For anything the user can mend.
    """
    _quieten()
    sys.path.append(os.getcwd())  # a method in a file of the user's own is named by its class path
    try:
        PlmCLI(args=[command, *args])
    except argparse.ArgumentError as error:
        raise PlmError(one_line(error, _config_paths(args))) from error
    return 0


class PlmCLI(LightningCLI):
    """The trainer commands. Everything that depends on models is resolved before a trainer exists."""

    def __init__(self, args: list[str]) -> None:
        self.run: RunFolder
        with _hidden_argv():
            super().__init__(
                PolicyModule,
                TaskDataModule,
                subclass_mode_model=True,
                subclass_mode_data=True,
                save_config_callback=None,
                trainer_defaults=TRAINER_DEFAULTS,
                seed_everything_default=0,
                auto_configure_optimizers=False,
                load_from_checkpoint_support=False,
                parser_kwargs={**PARSER, **{name: dict(PARSER) for name in self.subcommands()}},
                args=args,
            )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds plm's own options."""
        parser.add_argument(
            "--runs", type=str, default="runs", help="Folder of all runs, which is also the model cache."
        )
        parser.add_argument(
            "--policy",
            type=ModelReference | None,
            default=None,
            help="validate, test, predict: the model to use (hub id, folder, config); default: what this config makes.",
        )

    def _parse_ckpt_path(self) -> None:
        """Nothing: a checkpoint never overrides the configuration (Lightning would let it)."""

    # -- before anything is built -------------------------------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Finds the run's folder and the models it starts from; fits those that do not exist yet."""
        config = self.config[self.subcommand]
        self._check(config)
        resolver = Resolver(self._subcommand_parsers["fit"], Path(config.runs))
        name, paths = _config_name(config)
        stack = [str(Path(path).resolve()) for path in paths]
        if self.subcommand != "fit":
            config.policy = config.policy or _Itself(config, resolver, name, stack).reference()
            config.model.init_args.base = config.policy
        parents, folders = resolver.resolve_all(config, stack)
        self.parent = next(iter(parents.values()), None)
        self.run = resolver.folder(config, str(self.subcommand), name, parents)
        self._config_text = _plain(self._parser(self.subcommand), config)
        for key, path in folders.items():
            config[key] = ModelReference(path)

    def _check(self, config: Namespace) -> None:
        for key in ("model", "data"):
            if not config.get(key):
                raise PlmError(f"no {key} is given: name a config, for instance --config configs/lock_code.yaml")
        if config.trainer.max_steps != -1:
            raise PlmError("trainer.max_steps is refused: lengths are given in rounds (trainer.max_epochs) and passes")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the trainer on the run's folder."""
        trainer = self._get(self.config_init, "trainer")
        path = self.run.path
        if trainer.logger in (None, True):
            kwargs["logger"] = TensorBoardLogger(path, name="", version="tensorboard")
        checkpoint = ModelCheckpoint(path / "checkpoints", filename="last", enable_version_counter=False)
        checkpoint.CHECKPOINT_EQUALS_CHAR = "-"
        own: list[Callback] = [RunFolderCallback(self.parent), checkpoint]
        if trainer.enable_progress_bar is not False:
            own.append(ProgressCallback())
        kwargs["callbacks"] = [*(trainer.callbacks or []), *own]
        built: Trainer = super().instantiate_trainer(default_root_dir=str(path), **kwargs)
        return built

    def after_instantiate_classes(self) -> None:
        """Hands the run's seed to the task."""
        self.datamodule.run_seed = int(self.config[self.subcommand].seed_everything)

    # -- the sub-commands ---------------------------------------------------------------------------------------------

    def fit(self, model: PolicyModule, **kwargs: Any) -> None:
        """Fits, or goes on where an earlier process stopped, or shows a finished run's table."""
        with self._locked_run():
            if self.run.finished:
                say(f"{self.run.path} is finished; delete it to run it again")
            else:
                with self._removed_unless_begun():
                    self._start("fitting")
                    resume = self.run.checkpoint_path
                    kwargs["ckpt_path"] = kwargs.get("ckpt_path") or (str(resume) if resume.exists() else None)
                    self.trainer.fit(model, **{**kwargs, "weights_only": False})
                self._end(model_digest=folder_digest(self.run.model_path))
            print_table(self.run)

    def validate(self, model: PolicyModule, **kwargs: Any) -> None:
        """Measures a model."""
        self._measure(self.trainer.validate, model, kwargs)

    def test(self, model: PolicyModule, **kwargs: Any) -> None:
        """Measures a model on every problem."""
        self._measure(self.trainer.test, model, kwargs)

    def predict(self, model: PolicyModule, **kwargs: Any) -> None:
        """Writes a model's completions."""
        with self._locked_run():
            self._start("predicting")
            self.trainer.predict(model, datamodule=kwargs["datamodule"], return_predictions=False)
            self._end()
            say(f"completions  {self.run.path / 'completions'}")

    def _measure(self, command: Any, model: PolicyModule, kwargs: dict[str, Any]) -> None:
        with self._locked_run():
            self.run.results_path.unlink(missing_ok=True)
            self._start("measuring")
            command(model, **{**kwargs, "verbose": False})
            self._end()
            print_table(self.run)

    @contextmanager
    def _locked_run(self) -> Iterator[None]:
        path = self.run.path
        with exclusive_lock(path.parent / f".{path.name}.lock", f"another process works on {path}: waiting for it"):
            yield

    @contextmanager
    def _removed_unless_begun(self) -> Iterator[None]:
        """Leaves no folder behind when something the user gave stops a run before its first step."""
        new = not self.run.path.exists()
        try:
            yield
        except PlmError:
            if new and self.trainer.global_step == 0:
                shutil.rmtree(self.run.path, ignore_errors=True)
            raise

    def _start(self, status: str) -> None:
        say(f"{self.run.path}")
        self._begun = time.monotonic()
        _ = self.datamodule.grader  # a machine that cannot grade is refused before anything is trained
        self.run.write_config(self._config_text)
        seed = self.datamodule.run_seed
        self.run.update_manifest(status=status, parent=self.parent, seed=seed, **provenance())

    def _end(self, **entries: Any) -> None:
        if self.trainer.interrupted:
            raise KeyboardInterrupt
        self.run.update_manifest(status="finished", seconds=self._seconds(), **entries)

    def _seconds(self) -> dict[str, float]:
        """Where the time of this process went; grading is part of evaluating."""
        spent = {"start-up": self._begun - STARTED, "training": self.datamodule.budget.seconds, **timings}
        return {kind: round(seconds, 2) for kind, seconds in spent.items()}


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
        identity = run_hash(_plain(self.parser, config), command, parents)
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
        if not run.finished:
            self._fit(path, run)
        return f"{run.name}/{run.path.name}", str(run.model_path)

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
            if name not in REMOVED_FROM_CHILD and not name.startswith(("SLURM_", "PL_"))
        }
        command = [sys.executable, "-m", "plm", "fit", "--config", str(path), "--runs", str(self.runs)]
        code = subprocess.run(command, env=environment, check=False).returncode
        if code or not run.finished:
            raise PlmError(f"fitting {path} failed with exit code {code}; what went wrong stands above")


class _Itself:
    """The model that a configuration makes when it is fitted, for measuring it."""

    def __init__(self, config: Namespace, resolver: Resolver, name: str, stack: list[str]) -> None:
        self.config, self.resolver, self.name, self.stack = config, resolver, name, stack

    def reference(self) -> ModelReference:
        fitted = self.config.clone()
        parents, _ = self.resolver.resolve_all(fitted, self.stack)
        run = self.resolver.folder(fitted, "fit", self.name, parents)
        if not run.finished:
            raise PlmError(
                f"there is no finished run of {self.name} ({run.path}): plm fit it first, or name a model by --policy"
            )
        return ModelReference(run.model_path)


def _config_name(config: Namespace) -> tuple[str, list[str]]:
    paths = [str(path) for path in config.get("config") or [] if path is not None]
    return (Path(paths[0]).stem if paths else "run"), paths


def _config_paths(args: list[str]) -> list[str]:
    named = [args[index + 1] for index, word in enumerate(args[:-1]) if word in ("-c", "--config")]
    return named + [word.split("=", 1)[1] for word in args if word.startswith("--config=")]


def _plain(parser: LightningArgumentParser, config: Namespace) -> dict[str, Any]:
    """The configuration as plain values."""
    values: dict[str, Any] = yaml.safe_load(parser.dump(config, skip_unset=False, format="yaml", skip_validation=True))
    return values


@contextmanager
def _hidden_argv() -> Iterator[None]:
    """LightningCLI warns when it is given arguments while the process has some too."""
    saved, sys.argv = sys.argv, sys.argv[:1]
    try:
        yield
    finally:
        sys.argv = saved


def _quieten() -> None:
    """Leaves plm's own lines on the terminal; warnings that a user can act on stay."""
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    for text in (
        ".*does not have many workers.*",
        ".*train_dataloader.*",
        ".*val_dataloader.*",
        ".*Checkpoint directory.*",
    ):
        warnings.filterwarnings("ignore", text)
    warnings.filterwarnings("ignore", module="lightning")
