"""The engine that suits the machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn

from plm.engines.base import Completion, Engine, SamplingParams
from plm.engines.hf import HFEngine
from plm.engines.vllm import VLLMEngine, is_installed
from plm.errors import StaleWeightsError


class AutoEngine(Engine):
    """vLLM where there are both a CUDA device and vLLM, the Hugging Face engine elsewhere.

    Greedy completions agree up to rounding; *sampled* ones differ between the two, though a run's hash does not. Name
    one of them where a run has to be the same on every machine.

    Args:
        vllm: The engine for CUDA; `VLLMEngine()` where None.
        hf: The engine for elsewhere; `HFEngine()` where None.
    """

    def __init__(self, vllm: VLLMEngine | None = None, hf: HFEngine | None = None) -> None:
        self._vllm = vllm
        self._hf = hf
        self._chosen: Engine | None = None

    @property
    def chosen(self) -> Engine:
        """The engine that does the work, chosen when it is first needed."""
        if self._chosen is None:
            if torch.cuda.is_available() and is_installed():
                self._chosen = self._vllm or VLLMEngine()
            else:
                self._chosen = self._hf or HFEngine()
        return self._chosen

    @property
    def worth_keeping(self) -> bool:  # type: ignore[override]
        """Whether the engine that did the work is."""
        return self._chosen is not None and self._chosen.worth_keeping

    def sync(self, model: nn.Module, version: str) -> None:
        """Takes over the weights."""
        self.chosen.sync(model, version)

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        *,
        version: str,
        seeds: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Generates one completion for each prompt, in order."""
        return self._synced(version).generate(prompts, params, version=version, seeds=seeds, progress=progress)

    def next_logprobs(
        self,
        prompts: Sequence[Sequence[int]],
        token_ids: Sequence[int],
        *,
        version: str,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[float]]:
        """Scores candidates for the one token after each prompt."""
        return self._synced(version).next_logprobs(prompts, token_ids, version=version, progress=progress)

    def forget(self) -> None:
        """Has the engine that did the work let go of the weights."""
        if self._chosen is not None:
            self._chosen.forget()

    def close(self) -> None:
        """Closes the engine that did the work."""
        if self._chosen is not None:
            self._chosen.close()

    def _synced(self, version: str) -> Engine:
        if self._chosen is None:
            raise StaleWeightsError(f"generating with weights {version!r}, but the engine holds None")
        return self._chosen
