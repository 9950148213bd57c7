"""Starting vLLM on an empty model of the policy's shape, in this process or in one of its own."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
import logging
import os
import select
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import PreTrainedModel

from plm.engines.isolation import Isolation
from plm.engines.vllm.guarding import guarded
from plm.engines.vllm.weights import named_weights, write_weights
from plm.errors import PlmError

LLM = Any  # vLLM's; jsonargparse would import what stands behind TYPE_CHECKING, and vLLM must be imported inside
Mode = Literal["in_process", "checkpoint", "ipc"]

# One for all engines: what importing vLLM does to a process happens once.
INSIDE = Isolation(
    {
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",  # the folder that vLLM is given is all it needs
        "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",  # by the one token that is sampled after a prompt of full length
    }
)
GIB = 1 << 30
MISSING = (
    "VLLMEngine needs vLLM: on CUDA `pip install -e '.[vllm]'` in plm's checkout, on a CPU see README, \"With vLLM\"; "
    "or use HFEngine"
)


FAILURES = (ValueError, RuntimeError, AssertionError, NotImplementedError)  # with which vLLM refuses a model


def refusal(model: PreTrainedModel, error: Exception) -> PlmError:
    """What to tell the user about a model that vLLM failed on."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return PlmError(f"vLLM cannot serve {type(model).__name__} here: {reason}")


def is_installed() -> bool:
    """Whether vLLM could be imported; importing it takes seconds."""
    return importlib.util.find_spec("vllm") is not None


def start(model: PreTrainedModel, mode: Mode, arguments: dict[str, Any]) -> LLM:
    """Starts vLLM, inside of `INSIDE`, on random weights or, in mode `checkpoint`, on the model's.

    Args:
        model: Decides architecture and vocabulary.
        mode: `in_process` runs vLLM in this process, the others in one of its own, which ends when this one does.
        arguments: Of vLLM's `LLM`.

    Raises:
        PlmError: If vLLM is not installed, or cannot serve such a model here.
    """
    own_process = mode != "in_process"
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = str(int(own_process))
    os.environ.pop("VLLM_CPU_KVCACHE_SPACE", None)  # it would override kv_cache_gib
    if own_process:  # functions and handles go to the other process by pickle, over a local socket
        os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
        os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"  # a fork would share the trainer's threads and locks
        os.environ["PYTHONWARNINGS"] = "ignore"
        if model.device.type == "cuda":
            os.environ["CUDA_VISIBLE_DEVICES"] = _visible_device(model.device)
    if mode == "ipc":
        arguments = {**arguments, "weight_transfer_config": {"backend": "ipc"}}
    with (
        tempfile.TemporaryDirectory(prefix="plm-vllm-") as folder,
        guarded() if own_process else contextlib.nullcontext(),
    ):
        write_config(model, Path(folder))
        if mode == "checkpoint":
            write_weights(model, Path(folder))
        load_format = "auto" if mode == "checkpoint" else "dummy"
        try:
            with _quiet(own_process):
                import vllm

                llm: LLM = vllm.LLM(model=folder, load_format=load_format, **arguments)
        except ImportError as error:
            raise PlmError(MISSING if not is_installed() else f"vLLM cannot be imported: {error}") from error
        except FAILURES as error:
            _forget_groups()
            raise refusal(model, error) from error
        if own_process:
            llm.collective_rpc(_end_with, args=(os.getpid(),))
    return llm


def _forget_groups() -> None:
    """Undoes the half of a start that failed, so that another one can follow."""
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    cleanup_dist_env_and_memory()


def write_config(model: PreTrainedModel, folder: Path) -> None:
    """Writes the model's configuration for vLLM.

    Tied embeddings are given as two matrices: vLLM packs the output layer into a form of its own, and reloading the
    embeddings would leave the packed one, silently, as it was.
    """
    config = copy.deepcopy(model.config)
    config.tie_word_embeddings = False
    config.architectures = [type(model).__name__]
    config.save_pretrained(folder)


def engine_arguments(
    model: PreTrainedModel,
    *,
    max_model_len: int | None,
    kv_cache_gib: float | None,
    gpu_memory_utilization: float,
    dtype: str | None,
    enforce_eager: bool | None,
    block_size: int | None,
    max_num_seqs: int,
) -> dict[str, Any]:
    """The arguments of vLLM's `LLM`; where None, what suits the model and its device."""
    on_cpu = model.device.type == "cpu"
    longest = max_model_len or getattr(model.config, "max_position_embeddings", None)
    if kv_cache_gib is None and on_cpu:
        kv_cache_gib = 1.0
    return {
        "skip_tokenizer_init": True,  # plm speaks token ids
        "use_tqdm_on_load": False,
        "generation_config": "vllm",  # not the sampling defaults that stand beside a model
        "seed": 0,
        "dtype": dtype or str(next(iter(named_weights(model)))[1].dtype).removeprefix("torch."),
        "max_model_len": longest and longest + 1,
        "kv_cache_memory_bytes": None if kv_cache_gib is None else int(kv_cache_gib * GIB),
        "gpu_memory_utilization": gpu_memory_utilization,
        "enforce_eager": on_cpu if enforce_eager is None else enforce_eager,
        "max_num_seqs": max_num_seqs,
        **({} if block_size is None else {"block_size": block_size}),
    }


def _visible_device(device: torch.device) -> str:
    """The model's GPU, as the environment of a new process names it."""
    index = torch.cuda.current_device() if device.index is None else device.index
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",")[index] if visible else str(index)


@contextlib.contextmanager
def _quiet(own_process: bool) -> Iterator[None]:
    """Shows what vLLM writes while it starts only if starting fails.

    A process of vLLM's own inherits where it writes to, and keeps it: what its C++ side writes is shown.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.nullcontext() if own_process else _held_back():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def _held_back() -> Iterator[None]:
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        except BaseException:
            written.seek(0)
            os.write(before, written.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


def _end_with(worker: Any, trainer: int) -> None:
    """Runs in vLLM's process: ends it, and the one between it and the trainer, as soon as the trainer is gone."""

    def wait() -> None:
        watch = select.poll()
        watch.register(os.pidfd_open(trainer), select.POLLIN)
        watch.poll()
        for pid in {os.getppid(), os.getpid()} - {1}:
            os.kill(pid, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()
