"""Stops or passes over optimizer steps whose loss is far out of line."""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import Any, Literal

from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from plm.errors import PlmError
from plm.progress import say


class SpikeGuardCallback(Callback):
    """Acts when the loss of a step is many times the median of the steps before. Off unless it is named in a config.

    All numbers are our choice. What it knows is part of the checkpoint; its arguments are part of the run's identity.

    Args:
        factor: How many times the running median is too much.
        action: `stop` ends the run with the step untaken; `skip` drops the step's gradients and goes on.
        window: How many steps the median is over; nothing happens before half of them were taken.
    """

    def __init__(self, factor: float = 5.0, action: Literal["stop", "skip"] = "stop", window: int = 64) -> None:
        if factor <= 1:
            raise PlmError(f"SpikeGuardCallback's factor is {factor}; it must be above 1")
        if window < 2:
            raise PlmError(f"SpikeGuardCallback's window is {window}; it must be at least 2")
        self.factor = factor
        self.action = action
        self.losses: deque[float] = deque(maxlen=window)
        self._loss = 0.0

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Adds a micro-batch's share to the loss of the step."""
        self._loss += float(trainer.strategy.reduce(loss.detach(), reduce_op="mean"))

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Compares the step's loss with the median.

        Raises:
            PlmError: If it is too large and the run is to stop.
        """
        loss, self._loss = self._loss, 0.0
        full = len(self.losses) >= (self.losses.maxlen or 2) // 2
        median = statistics.median(self.losses) if full else math.inf
        if not loss > self.factor * median:
            self.losses.append(loss)
            return
        text = (
            f"the loss is {loss:.4g} at optimizer step {trainer.global_step + 1}, {loss / median:.1f} times its median"
        )
        if self.action == "stop":
            raise PlmError(
                f"{text}: the step was not taken; lower the learning rate, or let SpikeGuardCallback skip it"
            )
        say(f"{text}: the step is skipped")
        for parameter in pl_module.parameters():
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The losses that the median is over."""
        return {"losses": list(self.losses)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on with the losses of the checkpoint."""
        self.losses.extend(state_dict["losses"])
