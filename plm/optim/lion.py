"""Lion with weights in bfloat16 that really move: at small learning rates a rounded update of most weights is none."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, overload

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from plm.errors import PlmError
from plm.seeds import derive_seed

Precision = Literal["split", "stochastic"]
MomentumType = Literal["bfloat16", "float32"]
CHUNK = 1 << 24  # weights updated at once: temporaries stay small


class Lion(Optimizer):
    """Lion, Algorithm 2 of Chen et al. 2023 (App. G.1 of the paper), for weights in float32 and in bfloat16.

        u = sign(b1 m + (1 - b1) g);  w = w (1 - lr decay) - lr u;  m = b2 m + (1 - b2) g

    Every weight moves by exactly the learning rate. At 1.5e-6 and weights of ordinary size that is far below half a
    unit in the last place of bfloat16, so that rounding takes almost every step back. Therefore, for such weights:

    - `split` keeps the 16 bits that bfloat16 lacks beside the weight, as an integer. Weight and rest together are the
      float32 weight, bit for bit, and the weight is it, rounded to nearest. 2 bytes a weight.
    - `stochastic` rounds up or down at random, so that the mean is right. No memory.

    Weights in float32 are updated as `lion_pytorch.Lion` updates them, operation by operation. That class rounds
    bfloat16 to nearest after each operation: at the paper's rates it hardly trains.

    Args:
        params: Parameters or groups.
        lr: Learning rate: how far each weight moves in a step.
        betas: b1 of the update and b2 of the momentum, each in [0, 1).
        weight_decay: Decay of a step is lr · weight_decay (decoupled from the gradient, not from the rate).
        precision: How weights in bfloat16 are kept.
        momentum: Type of the momentum of weights in bfloat16: 2 or 4 bytes a weight.
        seed: Of stochastic rounding.

    Raises:
        PlmError: If an argument is out of range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        precision: Precision = "split",
        momentum: MomentumType = "bfloat16",
        seed: int = 0,
    ) -> None:
        if lr <= 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise PlmError(
                f"Lion: lr is {lr}, betas {betas}, weight_decay {weight_decay}; lr must be above 0, betas in [0, 1), "
                "weight_decay at least 0"
            )
        if lr * weight_decay >= 1:
            raise PlmError(f"Lion: lr · weight_decay is {lr * weight_decay}: every step would turn the weights round")
        defaults = {
            "lr": lr, "betas": tuple(betas), "weight_decay": weight_decay, "precision": precision,
            "momentum": momentum, "seed": seed,
        }  # fmt: skip
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Takes one step.

        Raises:
            PlmError: If weights are of a type that is neither float32 nor bfloat16.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for index, weight in enumerate(group["params"]):
                if weight.grad is not None:
                    self._update(weight, weight.grad, group, index)
        return loss

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any], index: int) -> None:
        state = self.state[weight]
        if not state:
            self._begin(weight, state, group)
        state["step"] += 1
        rest = state.get("rest")
        pieces = _chunks(weight, gradient.contiguous(), state["momentum"], *(() if rest is None else (rest,)))
        seeds = (derive_seed(group["seed"], index, int(state["step"]), chunk) for chunk in range(1 << 30))
        for (part, slope, moment, *lower), seed in zip(pieces, seeds, strict=False):
            if part.dtype == torch.float32:
                _lion(part, slope, moment, group)
                continue
            full = _join(part, lower[0]) if lower else part.float()
            _lion(full, slope.float(), moment, group)
            if lower:
                _split(full, part, lower[0])
            else:
                part.copy_(_round_randomly(full, seed))

    def _begin(self, weight: Tensor, state: dict[str, Any], group: dict[str, Any]) -> None:
        if weight.dtype not in (torch.float32, torch.bfloat16):
            raise PlmError(f"Lion: weights are {weight.dtype}; it updates float32 and bfloat16")
        lean = weight.dtype == torch.bfloat16 and group["momentum"] == "bfloat16"
        state["step"] = 0
        state["momentum"] = torch.zeros_like(weight, dtype=torch.bfloat16 if lean else torch.float32)
        if weight.dtype == torch.bfloat16 and group["precision"] == "split":
            state["rest"] = torch.zeros_like(weight, dtype=torch.int16)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state over exactly; torch would convert every tensor of it to the type of its weight."""
        super().load_state_dict(state_dict)
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for number, weight in zip(numbers, weights, strict=True):
            for name, value in state_dict["state"].get(number, {}).items():
                exact = value.to(weight.device, copy=True) if isinstance(value, Tensor) else value
                self.state[weight][name] = exact


def _lion(weight: Tensor, gradient: Tensor, momentum: Tensor, group: dict[str, Any]) -> None:
    """One step in place, in the order of operations of `lion_pytorch`; a momentum in bfloat16 is rounded at the end."""
    lr, (beta1, beta2) = group["lr"], group["betas"]
    weight.mul_(1.0 - lr * group["weight_decay"])
    moment = momentum.to(weight.dtype)
    update = moment.mul(beta1).add_(gradient, alpha=1.0 - beta1).sign_()
    weight.add_(update, alpha=-lr)
    momentum.copy_(moment.mul_(beta2).add_(gradient, alpha=1.0 - beta2))


def _join(upper: Tensor, rest: Tensor) -> Tensor:
    """The float32 whose nearest bfloat16 is `upper`: its bits are upper · 2^16 + rest, the rest from −2^15 to 2^15."""
    bits = upper.float().view(torch.int32).add_(rest)  # a bfloat16 is the upper half of its float32
    return bits.view(torch.float32)


def _split(full: Tensor, upper: Tensor, rest: Tensor) -> None:
    """Puts a float32 into a bfloat16 and what is left of it."""
    bits = full.view(torch.int32)
    upper.view(torch.int16).copy_((bits + 0x8000).bitwise_right_shift_(16))
    rest.copy_(bits)  # its lower 16 bits: that is bits − upper · 2^16, which fits into them


def _round_randomly(full: Tensor, seed: int) -> Tensor:
    """Rounds to bfloat16, up with the probability of the part that is cut off."""
    generator = torch.Generator(device=full.device).manual_seed(seed)
    noise = torch.randint(0, 1 << 16, full.shape, generator=generator, device=full.device, dtype=torch.int32)
    bits = (full.view(torch.int32) + noise) & -(1 << 16)
    return bits.view(torch.float32)


def _chunks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The same parts of several tensors, as views; of sharded ones, this process's part."""
    flat = [(each.to_local() if isinstance(each, DTensor) else each).view(-1) for each in tensors]
    return zip(*(torch.split(each, CHUNK) for each in flat), strict=True)
