"""Keeps the run folder true: what a checkpoint knows and what results.jsonl says never differ; saves the model."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from lightning import Callback, LightningModule, Trainer
from transformers import PreTrainedModel

from plm import __version__
from plm.callbacks.reporting import close_curves, resume_curves
from plm.errors import PlmError
from plm.files import truncate_durably
from plm.lineage import DESCRIPTION, Lock, lock_kind
from plm.models import save_model
from plm.runs import RunFolder

if TYPE_CHECKING:
    from plm.modules.base import PolicyModule


class RunFolderCallback(Callback):
    """Cuts results back to the checkpoint on resume, and writes the final model with its description.

    Args:
        parent: Run id of the model that the run started from, None for one from scratch.
        locked: The newest lock in that model's history.
    """

    def __init__(self, parent: str | None = None, locked: Lock | None = None) -> None:
        self.parent = parent
        self.locked = locked
        self._folder: RunFolder | None = None
        self._results_bytes = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Finds the run's folder."""
        self._folder = RunFolder.of(trainer)

    def state_dict(self) -> dict[str, Any]:
        """How long results.jsonl is when the checkpoint is taken."""
        path = self._folder.results_path if self._folder else None
        return {"results_bytes": path.stat().st_size if path and path.exists() else 0}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remembers where to cut."""
        self._results_bytes = state_dict["results_bytes"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Drops results and curves that came after the checkpoint: they will be made again.

        Raises:
            PlmError: If results that the checkpoint knows are missing.
        """
        path = RunFolder.of(trainer).results_path
        size = path.stat().st_size if path.exists() else 0
        if size < self._results_bytes:
            raise PlmError(
                f"{path} has lost lines that the checkpoint knows: put it back, or delete {path.parent} to begin again"
            )
        if trainer.is_global_zero and size > self._results_bytes:
            truncate_durably(path, self._results_bytes)
        if trainer.is_global_zero and trainer.global_step:
            resume_curves(trainer)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Closes the curves."""
        close_curves()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Closes the curves of a run that failed, for which Lightning tears no callback down."""
        with contextlib.suppress(OSError):  # of a disk that is full, or a folder that is gone
            close_curves()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes the final model."""
        if trainer.interrupted:
            return
        module: PolicyModule = pl_module  # type: ignore[assignment]
        model = module.whole_model()  # every process takes part in gathering it
        if trainer.is_global_zero:
            self._export(trainer, module, model)

    def _export(self, trainer: Trainer, module: PolicyModule, model: PreTrainedModel) -> None:
        folder = RunFolder.of(trainer)
        description = {
            "plm": __version__,
            "run": folder.id,
            "method": module.method,
            "task": module.task.name,
            "parent": self.parent,
            "lock": module.lock_kind,
            "lock_conditions": None if module.lock_kind in (None, "none") else list(module.task.passwords.evaluated),
            "password_sha256": None if module.lock_kind in (None, "none") else module.task.passwords.password_hash,
            "locked": self.locked,
            "budget": module.task.budget.as_row(),
        }
        files = {DESCRIPTION: json.dumps(description, indent=2) + "\n"}
        save_model(model, module.tokenizer, folder.model_path, files)
        folder.update_manifest(lock_kind=lock_kind(description), lock_conditions=description["lock_conditions"])
