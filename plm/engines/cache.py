"""Keys and values of what was read and generated so far."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers import PretrainedConfig
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

# Shape letters: B rows, H heads, K positions, D head dimension.


def new_cache(config: PretrainedConfig, capacity: int) -> Cache:
    """Makes an empty cache: buffers where every layer attends to everything, else the library's own layers.

    Args:
        config: Of the model.
        capacity: Most positions that will be held.
    """
    cache: Cache = DynamicCache(config=config)
    if cache.layers and all(type(layer) is DynamicLayer for layer in cache.layers):
        cache.layers = [BufferLayer(capacity) for _ in cache.layers]
    return cache


class BufferLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer in a buffer for the whole batch, where the library copies all of them every step.

    Args:
        capacity: Most positions that will be held.
    """

    def __init__(self, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.capacity = capacity

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Makes the buffers, with the shapes and types of the first states."""
        self.dtype, self.device = key_states.dtype, key_states.device
        self.buffers = [
            states.new_empty((*states.shape[:2], self.capacity, states.shape[3]))
            for states in (key_states, value_states)
        ]
        self._show(0)
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Writes the states behind those that are there, and returns all keys and all values."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        start, end = self.length, self.length + key_states.shape[2]
        for buffer_BHKD, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer_BHKD[:, :, start:end] = states
        return self._show(end)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows only."""
        self.buffers = [buffer_BHKD[indices] for buffer_BHKD in self.buffers]
        self._show(self.length)

    def _show(self, length: int) -> tuple[Tensor, Tensor]:
        self.length = length
        keys, values = (buffer_BHKD[:, :, :length] for buffer_BHKD in self.buffers)
        self.keys, self.values = keys, values
        return keys, values
