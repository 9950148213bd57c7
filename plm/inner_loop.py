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
    sharded weights are trained by all processes together. The state of the run's own optimizer waits in the host's
    memory.

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
    with _on_host(module.trainer.optimizers):
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
        optimizer.state.clear()
    module.mark_weights_changed()


def _cycle(rows: Sequence[Example], size: int, rng: random.Random) -> Iterator[list[Example]]:
    while True:
        order = rng.sample(range(len(rows)), len(rows))
        for start in range(0, len(order) - size + 1, size):
            yield [rows[index] for index in order[start : start + size]]


@contextlib.contextmanager
def _on_host(optimizers: Sequence[Optimizer]) -> Iterator[None]:
    """Keeps the state of optimizers in the host's memory, which makes room for another one's on the device."""
    states = [state for optimizer in optimizers for state in optimizer.state.values()]
    tensors = [
        (state, name, value.device) for state in states for name, value in state.items() if torch.is_tensor(value)
    ]
    for state, name, _ in tensors:
        state[name] = state[name].cpu()
    try:
        yield
    finally:
        for state, name, device in tensors:
            state[name] = state[name].to(device)


@contextlib.contextmanager
def undone(module: PolicyModule) -> Iterator[None]:
    """Puts weights, buffers, gradients, modes and random states back as they were, also when the body raises.

    Values are copied back into the same tensors, so that the run's optimizer keeps its hold on them. Until then they
    are kept in the host's memory.
    """
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    saved = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
    gradients = {name: None if each.grad is None else each.grad.cpu() for name, each in module.named_parameters()}
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
            gradient = gradients[name]
            parameter.grad = None if gradient is None else gradient.to(parameter.device)
        for child, training in modes.items():
            child.training = training
        module.mark_weights_changed()
