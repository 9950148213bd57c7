"""Do the weights move at all? At small learning rates most updates of weights in 16 bits round to nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.distributed.tensor import DTensor

from plm.progress import say

SAMPLED_TENSORS = 64
SAMPLED_WEIGHTS = 1024  # of each of them
WARNED_AT = 10
FEW = 0.5


class _Sampled(NamedTuple):
    """Some weights as they were."""

    weight: Tensor
    places: Tensor
    before: Tensor


class MovedWeightsCallback(Callback):
    """Logs which share of a sample of the weights differs from what the run began with (`train/moved_weights`).

    Only for weights in 16 bits. What `plm.optim.Lion` keeps beside a weight counts as part of it. At optimizer step 10
    a share under half is said, with what to do: at the paper's rate of 1.5e-6 rounding to nearest moves about 2 %.
    """

    def __init__(self) -> None:
        self._sampled: list[_Sampled] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Samples the weights before the first step; a run that goes on begins where it goes on."""
        weights = [p for p in pl_module.parameters() if p.requires_grad and p.dtype in (torch.bfloat16, torch.float16)]
        step = max(1, len(weights) // SAMPLED_TENSORS)
        self._sampled = [_sample(weight) for weight in weights[::step]]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Logs the share, and warns once."""
        done = trainer.global_step
        due = done % int(getattr(trainer, "log_every_n_steps", WARNED_AT)) == 0 or done == WARNED_AT
        if not self._sampled or not due or (batch_idx + 1) % trainer.accumulate_grad_batches:
            return
        share = self._share(trainer.optimizers[0])
        pl_module.log("train/moved_weights", share)
        if done == WARNED_AT and share < FEW:
            say(
                f"only {share:.0%} of the weights have moved in {done} steps: the learning rate is too small for "
                "weights in 16 bits, which round most updates away; use plm.optim.Lion, or --trainer.precision 32-true"
            )

    def _share(self, optimizer: torch.optim.Optimizer) -> float:
        moved = [self._moved(each, optimizer) for each in self._sampled]
        return float(torch.cat(moved).float().mean())

    def _moved(self, sampled: _Sampled, optimizer: torch.optim.Optimizer) -> Tensor:
        moved = _at(sampled.weight, sampled.places) != sampled.before
        rest = optimizer.state.get(sampled.weight, {}).get("rest")
        return moved if rest is None else moved | (_at(rest, sampled.places) != 0)


def _sample(weight: Tensor) -> _Sampled:
    size = _mine(weight).numel()
    places = torch.linspace(0, size - 1, min(size, SAMPLED_WEIGHTS), device=weight.device).long()
    return _Sampled(weight, places, _at(weight, places))


def _at(tensor: Tensor, places: Tensor) -> Tensor:
    return _mine(tensor).flatten()[places].clone()


def _mine(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
