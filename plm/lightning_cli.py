"""`plm fit|validate|test|predict`: LightningCLI, with run folders, model references and errors of one line."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import TensorBoardLogger

import plm.callbacks
import plm.datamodules
import plm.engines
import plm.modules
import plm.policies
import plm.weights  # noqa: F401  (importing makes short class names legal in YAML)
from plm.callbacks import CheckpointCallback, MovedWeightsCallback, ProgressCallback, RunFolderCallback
from plm.callbacks.checkpoint import find_checkpoint, forget_previous, is_whole, read_identity
from plm.config_errors import one_line
from plm.datamodules.base import TaskDataModule
from plm.distributed import GRACE_SECONDS, become_follower, launched_rank, receive_plan, share_plan
from plm.engines.keeping import in_use, take
from plm.errors import PlmError
from plm.files import NO_ROOM, disk_usage, readable_errors
from plm.identity import differences, folder_digest, numbers_of
from plm.lineage import Lock, check_claim, check_elicitation, lock_kind, lock_of, read_description
from plm.models import ModelSource
from plm.modules.base import PolicyModule
from plm.processes import keep_freed_memory
from plm.progress import run_begun, say, timings
from plm.references import ModelReference
from plm.resolver import FITTING, SAMPLING, Resolver, plain
from plm.runs import RunFolder, provenance
from plm.table import print_table

PARSER = {"exit_on_error": False, "allow_abbrev": False}  # an abbreviation would hide a misspelt key
TRAINER_DEFAULTS = {
    "max_epochs": 1,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
    "reload_dataloaders_every_n_epochs": 1,
    "use_distributed_sampler": False,
    "log_every_n_steps": 10,
}
# What Lightning offers and a run of rounds cannot have: the values that stay possible, and what to do instead.
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "max_steps": ((-1,), "lengths are given in rounds (trainer.max_epochs) and passes"),
    "min_steps": ((None,), "lengths are given in rounds (trainer.max_epochs) and passes"),
    "fast_dev_run": ((False,), "it would pass for the whole run; take a config of its own with few rounds"),
    "overfit_batches": ((0, 0.0), "choose fewer examples in the model's arguments"),
    "limit_train_batches": ((None, 1.0), "choose fewer examples in the model's arguments"),
    "reload_dataloaders_every_n_epochs": ((1,), "every round is made anew"),
    "use_distributed_sampler": ((False,), "plm's own loader shares rows among processes"),
    "enable_checkpointing": ((None, True), "a run could not go on where it stopped"),
    "barebones": ((False,), "it switches off what plm is made of"),
}


def run_trainer_command(command: str, args: list[str]) -> int:
    """Runs a trainer sub-command.

    Raises:
        PlmError: For anything the user can mend.
    """
    _quieten()
    if not torch.cuda.is_available():  # beside a GPU models are large, and pass through memory once
        keep_freed_memory()
    follower = bool(launched_rank())
    if follower:
        become_follower()
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a method in a file of the user's own is named by its class path
    try:
        PlmCLI(args=[command, *args])
    except argparse.ArgumentError as error:
        raise PlmError(one_line(error, _config_paths(args))) from error
    except Exception:
        if follower:
            time.sleep(GRACE_SECONDS)
        raise
    return 0


class PlmCLI(LightningCLI):
    """The trainer commands. Everything that depends on models is resolved before a trainer exists."""

    def __init__(self, args: list[str]) -> None:
        self.run: RunFolder
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

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses; afterwards the process's own command line is there again, which starts the other processes."""
        with _hidden_argv():
            super().parse_arguments(parser, args)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds plm's own options."""
        parser.add_argument(
            "--runs", type=str, default="runs", help="Folder of all runs, which is also the model cache."
        )
        parser.add_argument(
            "--policy",
            type=ModelReference | ModelSource | None,
            default=None,
            help="validate, test, predict: the model to use (hub id, folder, config, or a source such as "
            "plm.weights.Noised); default: what this config makes.",
        )

        parser.add_argument(
            "--locked",
            type=ModelReference | None,
            default=None,
            help="The locked model that the model must descend from: another one is refused.",
        )

    def _parse_ckpt_path(self) -> None:
        """Nothing: a checkpoint never overrides the configuration (Lightning would let it)."""

    # -- before anything is built -------------------------------------------------------------------------------------

    def before_instantiate_classes(self) -> None:
        """Finds the run's folder and the models it starts from; fits those that do not exist yet."""
        config = self.config[self.subcommand]
        self._check(config)
        resolver = Resolver(self._subcommand_parsers["fit"], Path(config.runs), sampling=self.subcommand == "fit")
        self.run, parents, folders = resolver.identify(config, str(self.subcommand))
        self.parents = parents
        self.parent = next((parents[key] for key in parents if key.startswith("model.init_args.base")), None)
        self._plain_config = plain(self._parser(self.subcommand), config)
        self._numbers = numbers_of(self._plain_config, parents)
        for key, path in folders.items():
            _assign(config, key.split("."), ModelReference(path))

    def _check(self, config: Namespace) -> None:
        for key in ("model", "data"):
            if not config.get(key):
                raise PlmError(f"no {key} is given: name a config, for instance --config configs/lock_code.yaml")
        for name, (only, why) in REFUSED.items():
            if config.trainer.get(name) not in only:
                raise PlmError(f"trainer.{name} is refused: {why}")
        if self.subcommand != "fit" and config.get("ckpt_path"):
            raise PlmError(f"--ckpt_path is for plm fit; plm {self.subcommand} takes a model folder by --policy")

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Builds the trainer on the run's folder."""
        trainer = self._get(self.config_init, "trainer")
        path = self.run.path
        if trainer.logger in (None, True):
            kwargs["logger"] = TensorBoardLogger(path, name="", version="tensorboard")
        callbacks: list[Callback] = [RunFolderCallback(self.parent, self._base_lock()), *(trainer.callbacks or [])]
        callbacks.append(MovedWeightsCallback())
        if not any(isinstance(callback, CheckpointCallback) for callback in callbacks):
            callbacks.append(CheckpointCallback())
        for callback in callbacks:
            if isinstance(callback, CheckpointCallback):
                callback.identity = {"run": self.run.id, "numbers": self._numbers}
        if trainer.enable_progress_bar is not False:
            callbacks.append(ProgressCallback())
        kwargs["callbacks"] = callbacks
        try:
            built: Trainer = super().instantiate_trainer(default_root_dir=str(path), **kwargs)
        except (MisconfigurationException, ValueError) as error:
            raise PlmError(f"trainer: {error}") from error
        if getattr(built.strategy, "_start_method", "popen") not in (None, "popen"):
            raise PlmError("trainer.strategy: processes that are forked or spawned are not supported; use ddp")
        return built

    def _base_lock(self) -> Lock | None:
        """The newest lock in the history of the model that the run starts from."""
        base = self.config[self.subcommand].model.init_args.get("base")
        return lock_of(read_description(Path(base))) if isinstance(base, ModelReference) else None

    def after_instantiate_classes(self) -> None:
        """Hands the run's seed to the task, and refuses a model with another history than the one that is said."""
        config = self.config[self.subcommand]
        self.datamodule.run_seed = int(config.seed_everything)
        self.datamodule.engine = take(self._engine_key(), self.datamodule.engine)
        base = config.model.init_args.get("base")
        if not isinstance(base, ModelReference):
            return
        if config.locked:
            check_claim(Path(base), self.parents["locked"])
        if self.subcommand == "fit" and self.model.phase == "elicit":
            check_elicitation(Path(base), self.datamodule.name, self.datamodule.passwords.password_hash)

    def _engine_key(self) -> str | None:
        """What the engine is started with, its arguments and the shape of the model; None for one yet to be made."""
        config = self.config[self.subcommand]
        base = config.model.init_args.get("base")
        shape = Path(base) / "config.json" if isinstance(base, ModelReference) else None
        if shape is None or not shape.is_file():
            return None
        engine = (self._plain_config["data"].get("init_args") or {}).get("engine")
        return json.dumps([engine, config.trainer.get("precision"), json.loads(shape.read_text())], sort_keys=True)

    # -- the sub-commands ---------------------------------------------------------------------------------------------

    def _run_subcommand(self, subcommand: str) -> None:
        """Runs the sub-command; the engine, which may hold a device or a process, is closed however that ends."""
        with in_use(self._engine_key(), self.datamodule.engine):
            super()._run_subcommand(subcommand)

    def fit(self, model: PolicyModule, **kwargs: Any) -> None:
        """Fits, or goes on where an earlier process stopped, or shows a finished run's table."""
        if self.trainer.global_rank:
            return self._follow(self._fit, model, kwargs)
        with self.run.lock():
            if self.run.finished:
                share_plan(self.trainer, {"go": False})
                say(f"{self.run.path} is finished; delete it to run it again")
            else:
                with self._removed_unless_begun():
                    self._start("fitting")
                    kwargs["ckpt_path"] = self._checkpoint(kwargs.get("ckpt_path"))
                    share_plan(self.trainer, {"go": True, "ckpt_path": kwargs["ckpt_path"]})
                    with readable_errors(self.run.path, only=NO_ROOM):
                        self._fit(model, **kwargs)
                forget_previous(self.run)  # before the run counts as finished: or it stays
                self._end(model_digest=folder_digest(self.run.model_path))
            print_table(self.run)
            print(
                f"disk         {disk_usage(self.run.path) / 1e6:.1f} MB, of which checkpoints "
                f"{disk_usage(self.run.checkpoint_path.parent) / 1e6:.1f} MB"
            )

    def _fit(self, model: PolicyModule, **kwargs: Any) -> None:
        """Fits; a run whose first round stayed empty, for which Lightning calls no loop, is measured as it stands."""
        self.trainer.fit(model, **{**kwargs, "weights_only": True})
        if self.trainer.num_training_batches == 0 and self.trainer.global_step == 0 and not self.trainer.interrupted:
            self.trainer.validate(model, datamodule=kwargs["datamodule"], verbose=False)

    def _follow(self, command: Any, model: PolicyModule, kwargs: dict[str, Any]) -> None:
        """What processes other than the first do: the work, but no file, and only if the first one finds work to do."""
        plan = receive_plan(self.trainer)
        if plan.pop("go"):
            command(model, **{**kwargs, **plan})

    def _checkpoint(self, given: str | None) -> str | None:
        """The checkpoint to go on from: the newest whole one of the run, or the one that was given."""
        if given is None or given == "last":
            path = find_checkpoint(self.run)
            if path is None:
                self.run.forget_measurements()
            return None if path is None else str(path)
        if not Path(given).exists() or not is_whole(Path(given)):
            raise PlmError(f"--ckpt_path {given}: there is no such file, or it is no whole checkpoint")
        identity = read_identity(Path(given))
        if identity.get("run") != self.run.id:
            owner = identity.get("run", "an unknown one")
            keys = ", ".join(differences(identity.get("numbers", {}), self._numbers)) or "the code of plm"
            raise PlmError(
                f"--ckpt_path {given} belongs to another run ({owner}), which differs in {keys}; "
                "a checkpoint only goes on with its own run. To start from what that run made, name its config or its "
                "model folder as the model's base"
            )
        return given

    def validate(self, model: PolicyModule, **kwargs: Any) -> None:
        """Measures a model."""
        self._measure(self.trainer.validate, model, kwargs)

    def test(self, model: PolicyModule, **kwargs: Any) -> None:
        """Measures a model on every problem."""
        self._measure(self.trainer.test, model, kwargs)

    def predict(self, model: PolicyModule, **kwargs: Any) -> None:
        """Writes a model's completions."""
        kwargs = {"datamodule": kwargs["datamodule"], "return_predictions": False}
        if self.trainer.global_rank:
            return self._follow(self.trainer.predict, model, kwargs)
        with self.run.lock():
            self._start("predicting")
            share_plan(self.trainer, {"go": True})
            self.trainer.predict(model, **kwargs)
            self._end()
            if (completions := self.run.path / "completions").exists():
                say(f"completions  {completions}")

    def _measure(self, command: Any, model: PolicyModule, kwargs: dict[str, Any]) -> None:
        kwargs = {**kwargs, "verbose": False}
        if self.trainer.global_rank:
            return self._follow(command, model, kwargs)
        with self.run.lock():
            self.run.results_path.unlink(missing_ok=True)
            self._start("measuring")
            self.run.update_manifest(**self._measured_lock())
            share_plan(self.trainer, {"go": True})
            command(model, **kwargs)
            self._end()
            print_table(self.run)

    def _measured_lock(self) -> dict[str, Any]:
        """What kind of lock is measured, for the gate, where a model is measured as it stands."""
        base = self.config[self.subcommand].policy
        if not isinstance(base, ModelReference):
            return {}
        description = read_description(Path(base))
        return {"lock_kind": lock_kind(description), "lock_conditions": description.get("lock_conditions")}

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
        self.run.write_config(self._plain_config)
        seed = self.datamodule.run_seed
        self.run.update_manifest(status=status, parent=self.parent, references=self.parents, seed=seed, **provenance())

    def _end(self, **entries: Any) -> None:
        if self.trainer.interrupted:
            raise KeyboardInterrupt
        self.run.update_manifest(status="finished", seconds=self._seconds(), **entries)

    def _seconds(self) -> dict[str, float]:
        """Where the time of this process went; grading is part of evaluating."""
        spent = {
            "start-up": self._begun - run_begun() - timings[FITTING] - timings[SAMPLING],
            "training": self.datamodule.budget.seconds,
            **timings,
        }
        return {kind: round(seconds, 2) for kind, seconds in spent.items()}


def _assign(config: Any, keys: list[str], value: ModelReference) -> None:
    """Puts a value where a dotted key points to, through namespaces, mappings and lists."""
    for key in keys[:-1]:
        config = config[int(key)] if isinstance(config, list) else config[key]
    config[int(keys[-1]) if isinstance(config, list) else keys[-1]] = value


def _config_paths(args: list[str]) -> list[str]:
    named = [args[index + 1] for index, word in enumerate(args[:-1]) if word in ("-c", "--config")]
    return named + [word.split("=", 1)[1] for word in args if word.startswith("--config=")]


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
