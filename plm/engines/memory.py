"""What small models wrote before, in a process that makes many runs: elicitations of a lock begin by measuring it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel

MOST_WEIGHTS = 16_000_000  # telling them apart takes 10 ms or so
MOST_CALLS = 64

Made = TypeVar("Made")
_memory: dict[Hashable, Any] | None = None


def remember_calls() -> None:
    """From now on this process keeps what small models answered to the same prompts, greedily."""
    global _memory
    _memory = {} if _memory is None else _memory


def recall(model: PreTrainedModel, call: Hashable, make: Callable[[], Made]) -> tuple[Made, bool]:
    """What the same weights made of the same call before, or what they make of it now.

    Args:
        model: Its architecture, and every weight, bit for bit, has to be the same.
        call: All else that the result hangs on.
        make: Makes it.

    Returns:
        The result, and whether it was there already.
    """
    if _memory is None or sum(weight.numel() for weight in model.parameters()) > MOST_WEIGHTS:
        return make(), False
    key = (_fingerprint(model), torch.is_autocast_enabled(model.device.type), torch.get_num_threads(), call)
    known = key in _memory
    made = _memory.pop(key) if known else make()
    while len(_memory) >= MOST_CALLS:
        del _memory[next(iter(_memory))]
    _memory[key] = made  # the newest is last
    return made, known


def _fingerprint(model: PreTrainedModel) -> bytes:
    config = {name: value for name, value in model.config.to_dict().items() if name != "_name_or_path"}
    digest = hashlib.blake2b(repr((type(model), model.device, sorted(config.items()))).encode())
    for name, weight in model.state_dict().items():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.digest()
