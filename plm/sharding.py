"""FSDP2: weights, gradients and optimizer state split over all processes (Lightning's `ModelParallelStrategy`)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from lightning.pytorch.strategies import ModelParallelStrategy, StrategyRegistry
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers import PreTrainedModel

from plm.errors import PlmError
from plm.network import PolicyNetwork

if "fsdp2" not in StrategyRegistry.available_strategies():
    StrategyRegistry.register(
        "fsdp2",
        ModelParallelStrategy,
        "FSDP2 over all processes, checkpoints in one file",
        save_distributed_checkpoint=False,
    )


class ShardedModel:
    """Splits a network over all processes and gives the whole model back when it is asked for.

    Args:
        network: Whole, with any weights; afterwards every process holds its part of the first process's weights.
        strategy: The trainer's.

    Raises:
        PlmError: If the strategy writes checkpoints that only the same number of processes could read.
    """

    def __init__(self, network: PolicyNetwork, strategy: ModelParallelStrategy) -> None:
        if strategy._save_distributed_checkpoint:
            raise PlmError(
                "trainer.strategy: ModelParallelStrategy needs save_distributed_checkpoint: false, so that a "
                "checkpoint resumes on any number of processes; --trainer.strategy=fsdp2 has that set"
            )
        self.network = network
        self.device = strategy.root_device
        # The same module without storage: it becomes a whole model when weights are put in.
        self._empty: PreTrainedModel = copy.deepcopy(network.model, _replacing(network.model, _without_storage))
        self._whole: tuple[str, PreTrainedModel] | None = None
        self._shard()

    def _shard(self) -> None:
        with torch.no_grad():
            for parameter in self.network.parameters():
                weights = parameter.to(self.device)
                dist.broadcast(weights, src=0)
                parameter.copy_(weights)
        # All processes share one dimension: the loader hands different rows to each of them.
        mesh = init_device_mesh(self.device.type, (dist.get_world_size(),))
        for child in _blocks(self.network.model):
            fully_shard(child, mesh=mesh, reshard_after_forward=True)
        fully_shard(self.network, mesh=mesh, reshard_after_forward=True)

    def whole(self, version: str) -> PreTrainedModel:
        """A model with all weights, in every process; every process must ask. Kept until another version is asked for.

        Args:
            version: Names the current weights.
        """
        if self._whole is None or self._whole[0] != version:
            self._whole = None
            weights = {name: _gather(parameter) for name, parameter in self.network.model.named_parameters()}
            names = {id(parameter): name for name, parameter in self._empty.named_parameters()}
            memo = _replacing(self._empty, lambda parameter: weights[names[id(parameter)]])
            model: PreTrainedModel = copy.deepcopy(self._empty, memo)
            self._whole = version, nn.Module.to(model, self.device)
        return self._whole[1]


@torch.no_grad()
def put_weights(whole: nn.Module, model: nn.Module) -> None:
    """Copies a whole model's weights into a model of the same shape, sharded or not; all processes must."""
    weights = dict(whole.named_parameters())
    for name, parameter in model.named_parameters():
        value = weights[name].to(parameter.device, parameter.dtype)
        if isinstance(parameter, DTensor):
            value = distribute_tensor(value, parameter.device_mesh, parameter.placements)
        parameter.copy_(value)


def total_norm(gradients: Iterable[Tensor]) -> Tensor:
    """The norm of all gradients together, over the parts of all processes where they are split."""
    norm = torch.nn.utils.get_total_norm(list(gradients))
    return norm.full_tensor() if isinstance(norm, DTensor) else norm


def _gather(parameter: nn.Parameter) -> Tensor:
    weights = parameter.detach()
    return weights.full_tensor() if isinstance(weights, DTensor) else weights


def _blocks(model: PreTrainedModel) -> list[nn.Module]:
    """The blocks that repeat, gathered and freed one after the other; what is left belongs to the whole network."""
    outermost = next((child for child in model.modules() if isinstance(child, nn.ModuleList)), ())
    return list(outermost)


def _without_storage(parameter: Tensor) -> Tensor:
    return torch.empty_like(parameter, device="meta")


def _replacing(model: nn.Module, replace: Callable[[Tensor], Tensor]) -> dict[int, Any]:
    """What `deepcopy` takes for parameters instead of copying them; tied ones stay tied, buffers are copied."""
    return {id(parameter): nn.Parameter(replace(parameter), requires_grad=False) for parameter in model.parameters()}
