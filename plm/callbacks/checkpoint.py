"""Where a run can go on: checkpoints that appear whole, and are read only when they are."""

from __future__ import annotations

import os
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from plm.callbacks.reporting import flush_curves
from plm.errors import PlmError
from plm.files import readable_errors, replace_durably
from plm.progress import say
from plm.runs import RunFolder

ASK_EVERY_STEPS = 10  # processes agree by message on whether it is time
IDENTITY = "plm"


class CheckpointCallback(Checkpoint):
    """Saves after every round, and inside long rounds between two optimizer steps. Moves no number.

    The last checkpoint and the one before it are kept. A run that stops loses at most what came after the last one, and
    makes it again with the same numbers.

    Args:
        every_n_minutes: Save inside a round when this long has passed since the last time; null only after rounds.
        every_n_steps: Save inside a round after every n-th optimizer step of the run too.
    """

    def __init__(self, every_n_minutes: float | None = 30.0, every_n_steps: int | None = None) -> None:
        for name, value in (("every_n_minutes", every_n_minutes), ("every_n_steps", every_n_steps)):
            if value is not None and value <= 0:
                raise PlmError(f"CheckpointCallback's {name} is {value}; it must be above 0, or null")
        self.every_n_minutes = every_n_minutes
        self.every_n_steps = every_n_steps
        self.identity: dict[str, Any] = {}
        self._saved_at = time.monotonic()
        self._fetched = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Writes checkpoints straight to their folder."""
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = _StraightIO()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the clock."""
        self._saved_at = time.monotonic()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Saves inside a round, when the step before is wholly done: counted, and drawn in the curves."""
        if batch_idx and batch_idx % trainer.accumulate_grad_batches == 0 and self._is_due(trainer):
            self._fetched = 1
            self._save(trainer)
            self._fetched = 0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves after a round."""
        self._save(trainer)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Says in the checkpoint whose it is; a micro-batch that is fetched but not trained on is fetched again."""
        checkpoint[IDENTITY] = self.identity
        loop = checkpoint["loops"]["fit_loop"]
        for progress in loop["epoch_loop.batch_progress"]["total"], loop["epoch_loop.batch_progress"]["current"]:
            progress["ready"] -= self._fetched
        for loader in loop["state_dict"].get("combined_loader", []):  # an empty round has none
            loader["position"] -= self._fetched

    def _is_due(self, trainer: Trainer) -> bool:
        if self.every_n_steps and trainer.global_step % self.every_n_steps == 0:
            return True
        if self.every_n_minutes is None or (trainer.world_size > 1 and trainer.global_step % ASK_EVERY_STEPS):
            return False
        return bool(trainer.strategy.broadcast(time.monotonic() - self._saved_at >= 60 * self.every_n_minutes))

    def _save(self, trainer: Trainer) -> None:
        path = RunFolder.of(trainer).checkpoint_path
        temporary = path.with_name(f".{path.name}.tmp")
        with readable_errors(path.parent):
            if trainer.is_global_zero:
                flush_curves(trainer)
                path.parent.mkdir(parents=True, exist_ok=True)
                _remove(temporary)  # of a process that was killed
            trainer.strategy.barrier()
            try:
                trainer.save_checkpoint(temporary)
                if trainer.is_global_zero:
                    _rotate(temporary, path)
            finally:
                if trainer.is_global_zero:
                    _remove(temporary)
            trainer.strategy.barrier()
        self._saved_at = time.monotonic()


class _StraightIO(TorchCheckpointIO):
    """Lightning gathers the whole file in memory and then in the system's temporary folder; this does neither."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with Path(path).open("wb") as file:
            torch.save(checkpoint, file)


def previous_checkpoint(run: RunFolder) -> Path:
    """Where the checkpoint before the last one is kept."""
    return run.checkpoint_path.with_name("previous.ckpt")


def forget_previous(run: RunFolder) -> None:
    """Deletes the checkpoint before the last one."""
    _remove(previous_checkpoint(run))


def find_checkpoint(run: RunFolder) -> Path | None:
    """The newest whole checkpoint of a run, None where there is none; damaged ones are named and passed over."""
    for path in (run.checkpoint_path, previous_checkpoint(run)):
        if not path.exists():
            continue
        if is_whole(path):
            return path
        say(f"{path} is damaged: going on from an earlier state")
    return None


def is_whole(path: Path) -> bool:
    """Whether a checkpoint's bytes are those that were written: torch's files hold checksums of their records."""
    file = path / "meta.pt" if path.is_dir() else path  # a folder holds one file of each process
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except Exception:  # whatever a changed byte makes of the format
        return False


def read_identity(path: Path) -> dict[str, Any]:
    """What a checkpoint says about whose it is, without reading its weights."""
    file = path / "meta.pt" if path.is_dir() else path
    identity: dict[str, Any] = torch.load(file, map_location="cpu", mmap=True, weights_only=True).get(IDENTITY) or {}
    return identity


def _rotate(temporary: Path, path: Path) -> None:
    """Makes the new checkpoint the last one; at every moment a whole one is there under one of the two names."""
    previous = path.with_name("previous.ckpt")
    if path.exists():
        _remove(previous)
        os.rename(path, previous)
    replace_durably(temporary, path)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
