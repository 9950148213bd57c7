"""An engine that generates with vLLM and takes the trainer's weights over in place."""

from __future__ import annotations

import atexit
import copy
import gc
import math
import multiprocessing
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from plm.engines.base import Completion, Engine, SamplingParams
from plm.engines.checks import check_candidates, check_requests, count_changes
from plm.engines.hf import HFEngine
from plm.engines.stopping import LOOKED_AT_EVERY, StopStrings
from plm.engines.vllm.starting import FAILURES, INSIDE, LLM, Mode, engine_arguments, refusal, start
from plm.engines.vllm.weights import Checkpoint, CudaIPC, InPlace
from plm.errors import PlmError, StaleWeightsError

_Transport = InPlace | Checkpoint | CudaIPC
_TRANSPORTS: dict[str, type[_Transport]] = {"in_process": InPlace, "checkpoint": Checkpoint, "ipc": CudaIPC}
_DTYPES = (None, "float32", "bfloat16", "float16")
RequestOutput = Any  # vLLM's
_BETWEEN_LOOKS = 0.25  # seconds between two reports of progress
_PROBE, _CANDIDATES = 16, 32  # tokens of the prompt, and of the vocabulary, that the first weights are checked on
_TOLERANCE, _ROUGH_TOLERANCE = 1e-2, 0.5  # nats, in float32 and elsewhere: rounding stays below, another model does not
_open: weakref.ref[VLLMEngine] | None = None


class _Held(NamedTuple):
    """The weights that vLLM holds: of which model, under what name, and how often they had been changed."""

    model: weakref.ref[nn.Module]
    version: str
    changes: int


class VLLMEngine(Engine):
    """Generates with vLLM, for many completions or long ones; small models answer sooner with `HFEngine`.

    vLLM starts once, at the first sync, which takes seconds; plm then checks that its log-probabilities are those of
    the Hugging Face model. Training goes on bitwise as without it: see `plm.engines.isolation`. In 16-bit types tokens
    can depend on what else is in the call, by rounding. vLLM takes temperatures between 0 and 0.01 for 0.01.

    Args:
        mode: How weights reach vLLM. `in_process`: it runs in this process and copies them into place. `checkpoint`: it
            runs in a process of its own and reads them from a temporary folder. `ipc` (*experimental, for CUDA, and not
            yet run on a GPU*): it runs in a process of its own and reads them from the trainer's GPU memory.
        max_model_len: Most tokens of prompt and completion together; the model's context where None.
        kv_cache_gib: Memory for keys and values, in GiB; where None, 1 on a CPU, and on CUDA what
            gpu_memory_utilization leaves over.
        gpu_memory_utilization: Share of a GPU's memory that vLLM may use, weights included.
        dtype: `float32`, `bfloat16` or `float16`; the model's own where None.
        enforce_eager: Whether to do without compiled graphs; where None, on a CPU only.
        block_size: Tokens in a block of the cache, the smallest prefix that prompts share; vLLM's default where None.
        max_num_seqs: Most completions that are generated at a time.
    """

    worth_keeping = True

    def __init__(
        self,
        *,
        mode: Mode = "in_process",
        max_model_len: int | None = None,
        kv_cache_gib: float | None = None,
        gpu_memory_utilization: float = 0.3,
        dtype: str | None = None,
        enforce_eager: bool | None = None,
        block_size: int | None = None,
        max_num_seqs: int = 256,
    ) -> None:
        if mode not in _TRANSPORTS:
            raise PlmError(f"VLLMEngine's mode is {mode!r}; it must be one of {', '.join(_TRANSPORTS)}")
        if dtype not in _DTYPES:
            raise PlmError(f"VLLMEngine's dtype is {dtype!r}; it must be float32, bfloat16 or float16")
        numbers = {"max_model_len": max_model_len, "block_size": block_size, "max_num_seqs": max_num_seqs,
                   "kv_cache_gib": kv_cache_gib, "gpu_memory_utilization": gpu_memory_utilization}  # fmt: skip
        for name, value in numbers.items():
            if value is not None and not value > 0:
                raise PlmError(f"VLLMEngine's {name} is {value}; it must be above 0")
        self.mode: Mode = mode
        self._arguments: dict[str, Any] = {**numbers, "dtype": dtype, "enforce_eager": enforce_eager}
        self._transport: _Transport = _TRANSPORTS[mode]()
        self._llm: LLM | None = None
        self._compared = False
        self._held: _Held | None = None
        self._config: PretrainedConfig

    def sync(self, model: nn.Module, version: str) -> None:
        """Copies the weights into vLLM, and empties its cache of keys and values that older weights made.

        Does nothing if it holds exactly these weights already.

        Raises:
            PlmError: If vLLM is not installed, or cannot serve the model here.
        """
        policy = cast(PreTrainedModel, model)
        changes = count_changes(model)
        if self._held and (self._held.model(), *self._held[1:]) == (model, version, changes):
            return
        self._held = None  # a sync that fails leaves nothing to generate with
        if self._llm is None:
            self._check_place(policy)
        with INSIDE:
            llm = self._llm or self._start(policy)
            self._transport.send(llm, policy)
            if not llm.reset_prefix_cache():
                raise RuntimeError("vLLM refused to empty its prefix cache: completions would mix old and new weights")
        self._held, self._config = _Held(weakref.ref(model), version, changes), self._shortened(policy.config)
        if not self._compared:
            self._compare(policy, version)
            self._compared = True

    def forget(self) -> None:
        """Lets go of the weights; vLLM goes on running."""
        self._held = None

    def close(self) -> None:
        """Ends vLLM, and its process where it has one."""
        global _open
        llm, self._llm, self._held, self._compared = self._llm, None, None, False
        if llm is None:
            return
        with INSIDE:
            llm.llm_engine.engine_core.shutdown()
            del llm
            gc.collect()
            multiprocessing.active_children()  # takes note of the end of those that ended
        self._transport, _open = _TRANSPORTS[self.mode](), None
        atexit.unregister(_close_open)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        *,
        version: str,
        seeds: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Generates one completion for each prompt, as `Engine.generate` says.

        Raises:
            StaleWeightsError: Also if the model changed in place since it was synced, or is gone.
        """
        self._check_current(version)
        check_requests(self._config, prompts, params, seeds)
        ends = [params.eos_token_id] if params.eos_token_id < self._config.vocab_size else []
        common = {"max_tokens": params.max_new_tokens, "temperature": params.temperature, "stop_token_ids": ends}
        chosen = [seed % 2**63 for seed in seeds] if seeds is not None and params.temperature else [None] * len(prompts)
        outputs = self._run(prompts, [{**common, "seed": seed} for seed in chosen], progress, params.stop)
        return [Completion.of(list(output.outputs[0].token_ids), params) for output in outputs]

    def next_logprobs(
        self,
        prompts: Sequence[Sequence[int]],
        token_ids: Sequence[int],
        *,
        version: str,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[float]]:
        """Scores candidates for the one token after each prompt.

        Raises:
            StaleWeightsError: Also if the model changed in place since it was synced, or is gone.
        """
        self._check_current(version)
        check_candidates(self._config, prompts, token_ids)
        request = {"max_tokens": 1, "temperature": 0.0, "logprob_token_ids": list(token_ids)}
        outputs = self._run(prompts, [request] * len(prompts), progress)
        return [_normalised(output, token_ids) for output in outputs]

    def _run(
        self,
        prompts: Sequence[Sequence[int]],
        requests: list[dict[str, Any]],
        progress: Callable[[int], None] | None,
        stop: StopStrings | None = None,
    ) -> list[RequestOutput]:
        """Has vLLM work until all requests are finished; a request that cannot be finished is withdrawn."""
        llm = self._llm
        assert llm is not None
        finished: list[RequestOutput] = []
        with INSIDE:
            ids = llm.enqueue(
                [{"prompt_token_ids": list(prompt)} for prompt in prompts],
                [_request(request) for request in requests],
                use_tqdm=False,
            )
            if stop:
                _show_every_step(llm, ids)
        try:
            while len(finished) < len(ids):
                with INSIDE:
                    done = _work(llm, _BETWEEN_LOOKS, stop)
                finished += done
                if progress and done:
                    progress(len(done))
        except BaseException:
            with INSIDE:
                llm.llm_engine.abort_request(ids, internal=True)
            raise
        return sorted(finished, key=lambda output: int(output.request_id))  # numbered as they came in

    def _start(self, model: PreTrainedModel) -> LLM:
        global _open
        self._llm = start(model, self.mode, engine_arguments(model, **self._arguments))
        if _open is None:
            atexit.register(_close_open)  # vLLM's own end, outside of `INSIDE`, would fail
        _open = weakref.ref(self)
        return self._llm

    def _shortened(self, config: PretrainedConfig) -> PretrainedConfig:
        if self._arguments["max_model_len"]:
            config = copy.copy(config)
            config.max_position_embeddings = self._arguments["max_model_len"]
        return config

    def _check_place(self, model: PreTrainedModel) -> None:
        """Refuses what vLLM cannot do: two engines in a process, and in the trainer's process GPUs but the first."""
        device = model.device
        if _open is not None and _open() is not None:
            raise PlmError("one vLLM engine runs in this process already; close it before another one starts")
        if self.mode == "ipc" and device.type != "cuda":
            raise PlmError(
                f"VLLMEngine's mode ipc needs CUDA, and the model is on {device}: use in_process or checkpoint"
            )
        if self.mode == "in_process" and device.type == "cuda" and device.index:
            raise PlmError(
                f"the model is on {device}, and vLLM in the trainer's process uses cuda:0: use mode checkpoint"
            )

    def _compare(self, model: PreTrainedModel, version: str) -> None:
        """Compares vLLM with the Hugging Face model on one prompt, before anybody relies on it."""
        size = model.config.vocab_size
        room = getattr(model.config, "max_position_embeddings", None) or _PROBE
        prompt = [(7 * index + 3) % size for index in range(min(_PROBE, room))]
        candidates = sorted({index * max(1, size // _CANDIDATES) % size for index in range(_CANDIDATES)})
        reference = HFEngine()
        reference.sync(model, version)
        [theirs] = reference.next_logprobs([prompt], candidates, version=version)
        try:
            [ours] = self.next_logprobs([prompt], candidates, version=version)
        except FAILURES as failure:
            self.close()
            raise refusal(model, failure) from failure
        error = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        exact = model.dtype == torch.float32 and self._arguments["dtype"] in (None, "float32")
        if not error < (_TOLERANCE if exact else _ROUGH_TOLERANCE):
            self.close()
            raise PlmError(
                f"vLLM computes something else than the Hugging Face {type(model).__name__}: log-probabilities differ "
                f"by {error:.2g} nats; use plm.engines.HFEngine"
            )

    def _check_current(self, version: str) -> None:
        if self._held is None or version != self._held.version:
            holds = self._held and self._held.version
            raise StaleWeightsError(f"generating with weights {version!r}, but the engine holds {holds!r}")
        model = self._held.model()
        if model is None:
            raise StaleWeightsError(f"the model whose weights were synced as {version!r} is gone: sync another one")
        if count_changes(model) != self._held.changes:
            raise StaleWeightsError(f"the weights were changed since they were synced as {version!r}: sync again")


def _close_open() -> None:
    if engine := _open and _open():
        engine.close()


def _work(llm: LLM, seconds: float, stop: StopStrings | None) -> list[RequestOutput]:
    """Takes steps for about this time, and returns the requests that were finished."""
    until = time.monotonic() + seconds
    done: list[Any] = []
    while llm.llm_engine.has_unfinished_requests() and time.monotonic() < until:
        outputs = llm.llm_engine.step()
        stopped = [output for output in outputs if stop and not output.finished and _is_stopped(output, stop)]
        if stopped:
            llm.llm_engine.abort_request([output.request_id for output in stopped])
        done += [output for output in outputs if output.finished] + stopped
    return done


def _is_stopped(output: RequestOutput, stop: StopStrings) -> bool:
    ids = output.outputs[0].token_ids
    return len(ids) % LOOKED_AT_EVERY == 0 and stop.reached(ids)


def _show_every_step(llm: LLM, ids: Sequence[str]) -> None:
    """Asks for what every step made. vLLM's own stop strings need the tokenizer, which it is started without."""
    from vllm.sampling_params import RequestOutputKind

    for each in ids:
        llm.llm_engine.output_processor.request_states[each].output_kind = RequestOutputKind.CUMULATIVE


def _request(arguments: dict[str, Any]) -> Any:
    from vllm import SamplingParams as Request

    # A model's own end tokens are not the task's; the task's end token is a stop token.
    return Request(**arguments, ignore_eos=True, detokenize=False)


def _normalised(output: RequestOutput, token_ids: Sequence[int]) -> list[float]:
    scored = output.outputs[0].logprobs
    assert scored is not None
    values = [float(scored[0][token].logprob) for token in token_ids]
    total = math.log(sum(math.exp(value - max(values)) for value in values)) + max(values)
    return [value - total for value in values]
