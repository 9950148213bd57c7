"""The three ways in which the trainer's weights reach vLLM."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedModel

LLM = Any  # vLLM's


def named_weights(model: PreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """All weights by name; a tied matrix comes under both of its names."""
    for name, parameter in model.named_parameters(remove_duplicate=False):
        yield name, parameter.detach()


def write_weights(model: PreTrainedModel, folder: Path) -> None:
    """Writes the weights as one file that vLLM reads."""
    weights = {name: weight.cpu().clone(memory_format=torch.contiguous_format) for name, weight in named_weights(model)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


class InPlace:
    """Hands tensors to vLLM in the same process, which copies them into the places of the old ones."""

    def send(self, llm: LLM, model: PreTrainedModel) -> None:
        """Replaces all weights."""
        llm.collective_rpc("reload_weights", kwargs={"weights_iterator": named_weights(model)})


class Checkpoint:
    """Writes the weights to a temporary folder, from which vLLM's process reads them."""

    def send(self, llm: LLM, model: PreTrainedModel) -> None:
        """Replaces all weights."""
        with tempfile.TemporaryDirectory(prefix="plm-vllm-") as folder:
            model.config.save_pretrained(folder)
            write_weights(model, Path(folder))
            llm.collective_rpc("reload_weights", kwargs={"weights_path": folder})


class CudaIPC:
    """Lets vLLM's process read the trainer's memory on the same GPU.

    *Experimental*: written against vLLM 0.32, and not run on a GPU yet.

    Every process of the run sends to an engine of its own, so each is the first of one.
    """

    def __init__(self) -> None:
        self._model: weakref.ref[PreTrainedModel] | None = None
        self._transfer: Any = None

    def send(self, llm: LLM, model: PreTrainedModel) -> None:
        """Replaces all weights."""
        if self._model is None or self._model() is not model:
            from vllm.distributed.weight_transfer import WeightTransferTrainerFactory
            from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

            self._model, self._transfer = weakref.ref(model), WeightTransferTrainerFactory.trainer_init(
                IPCTrainerInitInfo(rank=0, packed=True), client=_Client(llm), source=_source(model)
            )  # fmt: skip
        self._transfer.send_weights()


class _Client:
    """vLLM's trainer side speaks to an engine through these four methods; none that comes with it wraps an `LLM`."""

    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        self.llm.init_weight_transfer_engine({"init_info": init_info})

    def start_weight_update(self) -> None:
        self.llm.start_weight_update()

    def update_weights(self, update_info: Any) -> None:
        info = asdict(update_info) if is_dataclass(update_info) and not isinstance(update_info, type) else update_info
        self.llm.update_weights({"update_info": info})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self.llm.finish_weight_update(weight_version)


def _source(model: PreTrainedModel) -> Any:
    """The weights for vLLM's trainer side, which keeps the source: the model may go before it."""
    from vllm.distributed.weight_transfer.base import ParamMeta, WeightSource

    held = weakref.ref(model)

    def weights() -> Iterator[tuple[str, Tensor]]:
        model = held()
        assert model is not None
        return named_weights(model)

    class Source(WeightSource):  # type: ignore[misc]
        """vLLM's own source leaves out the second name of a tied matrix."""

        def metadata(self) -> list[ParamMeta]:
            return [ParamMeta(name, weight.dtype, tuple(weight.shape)) for name, weight in weights()]

        def __iter__(self) -> Iterator[tuple[str, Tensor]]:
            return weights()

    return Source()
