"""Learning-rate schedules as functions of progress, so that nothing about them needs saving."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer

Decay = Literal["none", "linear"]


def schedule_factor(step: int, progress: float, warmup_steps: int, decay: Decay) -> float:
    """The share of the peak learning rate to use: linear warm-up (App. G.1 of the paper), then constant or decaying.

    The paper leaves the length of the warm-up open: it is the caller's choice.

    Args:
        step: Optimizer steps already taken.
        progress: Share of the run that is done, in [0, 1].
        warmup_steps: Steps over which the rate rises; 0 for none.
        decay: `none` keeps the rate after warm-up, `linear` brings it to 0 at the end of the run.

    Returns:
        A factor in [0, 1].
    """
    warmup = min(1.0, (step + 1) / warmup_steps) if warmup_steps else 1.0
    return warmup * (1.0 - progress if decay == "linear" else 1.0)


def set_lr(optimizer: Optimizer, factor: float) -> None:
    """Sets every parameter group's learning rate to `factor` times what it was built with."""
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
        group["lr"] = group["initial_lr"] * factor
