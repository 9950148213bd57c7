"""The terminal while a model trains: rounds, steps, remaining time."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar

from plm.progress import Stage, close_stage, open_stage, say
from plm.runs import RunFolder

REFRESH_BATCHES = 5


class ProgressCallback(ProgressBar):
    """Shows the run as a bar of rounds with a bar of steps below; evaluations and probes nest under them."""

    def __init__(self) -> None:
        super().__init__()
        self._rounds: Stage | None = None
        self._steps: Stage | None = None
        self._enabled = True

    def disable(self) -> None:
        """Stops showing, on processes other than the first."""
        self._enabled = False

    def enable(self) -> None:
        """Shows again."""
        self._enabled = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens both bars."""
        if self._enabled:
            name = RunFolder.of(trainer).name
            self._rounds = open_stage(f"{name}: rounds", trainer.max_epochs)
            self._rounds.advance(trainer.current_epoch)
            self._steps = open_stage("training", None)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts the bar of steps again."""
        if self._steps:
            say(f"{RunFolder.of(trainer).name} · round {trainer.current_epoch + 1} of {trainer.max_epochs}")
            self._steps.restart(int(trainer.num_training_batches))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Moves the bar of steps."""
        if self._steps and (batch_idx + 1) % REFRESH_BATCHES == 0:
            loss = trainer.callback_metrics.get("train/loss")
            note = "" if loss is None else f"loss {float(loss):.4f}"
            self._steps.advance(batch_idx + 1 - self._steps.done, note)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Moves the bar of rounds."""
        if self._rounds:
            self._rounds.advance(1)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Takes both bars off the screen."""
        self._close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Takes both bars off the screen, so that the error can be read."""
        self._close()

    def _close(self) -> None:
        for stage in (self._steps, self._rounds):
            if stage:
                close_stage(stage)
        self._rounds = self._steps = None
