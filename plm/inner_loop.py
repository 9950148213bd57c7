"""A plain training loop inside a training run: the weak-unlock probe runs it and undoes it, relocking keeps it.

Not a nested `Trainer.fit`, which would detach the module from its trainer, move random states and tear down devices.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer

from plm.examples import Example, collate
from plm.loader import count_units
from plm.seeds import derive_seed, untouched_rng

if TYPE_CHECKING:
    from plm.modules.base import PolicyModule


def train_steps(
    module: PolicyModule,
    rows: Sequence[Example],
    steps: int,
    make_optimizer: Callable[[Iterable[Any]], Optimizer],
    *,
    batch_size: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Takes optimizer steps on a few rows, cycling through shuffles of them, with an optimizer of its own.

    Every process takes the same steps on the same rows, so that copies of the weights stay equal without being synced;
    sharded weights are trained by all processes together.

    Args:
        module: Whose `loss` to minimise.
        rows: What to train on.
        steps: Optimizer steps.
        make_optimizer: Builds the optimizer, with fresh state.
        batch_size: Rows in a step, at most all of them.
        seed: Decides the order.
        progress: Called after each step.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = make_optimizer(parameters)
    precision = module.trainer.precision_plugin
    batches = _cycle(rows, min(batch_size, len(rows)), random.Random(seed))
    for step in range(steps):
        chosen = next(batches)
        units = count_units(chosen, module.unit)
        batch = collate(chosen, module.task.pad_token_id, units, layout=module.compute.layout)
        batch = module.transfer_batch_to_device(batch, module.device, 0)
        optimizer.zero_grad(set_to_none=True)
        torch.manual_seed(derive_seed(seed, step))  # dropout is the same in every process
        with torch.enable_grad(), precision.forward_context():
            loss = module.loss(batch) / batch.step_units
        loss.backward()
        optimizer.step()
        if progress:
            progress(1)
    optimizer.zero_grad(set_to_none=True)
    module.mark_weights_changed()


def _cycle(rows: Sequence[Example], size: int, rng: random.Random) -> Iterator[list[Example]]:
    while True:
        order = rng.sample(range(len(rows)), len(rows))
        for start in range(0, len(order) - size + 1, size):
            yield [rows[index] for index in order[start : start + size]]


@contextlib.contextmanager
def undone(module: PolicyModule) -> Iterator[None]:
    """Puts weights, buffers, gradients, modes and random states back as they were, also when the body raises.

    Values are copied back into the same tensors, so that the run's optimizer keeps its hold on them.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    saved = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    gradients = {name: parameter.grad for name, parameter in module.named_parameters()}
    modes = {child: child.training for child in module.modules()}
    for parameter in module.parameters():
        parameter.grad = None
    try:
        with untouched_rng():
            yield
    finally:
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(saved[name])
        for name, parameter in module.named_parameters():
            parameter.grad = gradients[name]
        for child, training in modes.items():
            child.training = training
        module.mark_weights_changed()
