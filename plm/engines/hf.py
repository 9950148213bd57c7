"""Generation inside the training process, on the module's own weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from plm.engines.base import Completion, Engine, SamplingParams
from plm.engines.cache import new_cache
from plm.engines.checks import check_candidates, check_requests, count_changes
from plm.engines.memory import recall
from plm.engines.stopping import LOOKED_AT_EVERY
from plm.errors import StaleWeightsError

# Shape letters: B rows, L input length, N new tokens, V vocabulary, K cached positions, D hidden size, C candidates.

_WORTH_DROPPING = 0.9  # finished rows leave when at most this share of the batch is left; our choice, measured


class HFEngine(Engine):
    """Generates in batches with a Hugging Face causal language model, without copying its weights.

    Prompts are sorted by length and left-padded; rows that are finished leave the batch and the cache. Results do not
    depend on the other prompts of a call, up to rounding of the model's own arithmetic. The model's training flags,
    the gradient mode and the global random state are as before afterwards.

    Args:
        batch_size: Most prompts in one batch.
        max_tokens: Most tokens of one batch, prompts padded and new tokens included; it bounds the cache's memory.
    """

    def __init__(self, *, batch_size: int = 256, max_tokens: int = 32768) -> None:
        for name, value in (("batch_size", batch_size), ("max_tokens", max_tokens)):
            if value < 1:
                raise ValueError(f"{name}={value}: must be at least 1")
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self._model: PreTrainedModel | None = None
        self._version: str | None = None
        self._changes = 0

    def sync(self, model: nn.Module, version: str) -> None:
        """Keeps a reference to the model; it must not be trained between this and `generate`."""
        self._model, self._version, self._changes = cast(PreTrainedModel, model), version, count_changes(model)

    def close(self) -> None:
        """Lets go of the model."""
        self._model = self._version = None

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
            StaleWeightsError: Also if the weights changed in place since they were synced.
        """
        model = self._current(version)
        check_requests(model.config, prompts, params, seeds)
        if params.temperature or params.stop:
            return self._generate(model, prompts, params, seeds, progress)
        call = (self.batch_size, self.max_tokens, params, tuple(map(tuple, prompts)))
        completions, known = recall(model, call, lambda: self._generate(model, prompts, params, None, progress))
        if known and progress:
            progress(len(prompts))
        return [row._replace(token_ids=list(row.token_ids)) for row in completions]

    def _generate(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        seeds: Sequence[int] | None,
        progress: Callable[[int], None] | None,
    ) -> list[Completion]:
        completions: dict[int, Completion] = {}
        with _evaluating(model):
            for rows in self._batches(prompts, params.max_new_tokens):
                batch_seeds = [seeds[row] for row in rows] if seeds is not None and params.temperature else None
                decoder = _Decoder(model, [prompts[row] for row in rows], params, batch_seeds)
                completions.update(zip(rows, decoder.run(progress or (lambda _: None)), strict=True))
        return [completions[row] for row in range(len(prompts))]

    def next_logprobs(
        self,
        prompts: Sequence[Sequence[int]],
        token_ids: Sequence[int],
        *,
        version: str,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[float]]:
        """Scores candidates for the one token after each prompt: one forward pass, no logits but the candidates'.

        Raises:
            StaleWeightsError: Also if the weights changed in place since they were synced.
        """
        model = self._current(version)
        check_candidates(model.config, prompts, token_ids)
        logprobs: dict[int, list[float]] = {}
        with _evaluating(model):
            for rows in self._batches(prompts, 0):
                logprobs_BC = _score(model, [prompts[row] for row in rows], token_ids)
                logprobs.update(zip(rows, logprobs_BC.tolist(), strict=True))
                if progress:
                    progress(len(rows))
        return [logprobs[row] for row in range(len(prompts))]

    def _current(self, version: str) -> PreTrainedModel:
        if self._model is None or version != self._version:
            raise StaleWeightsError(f"generating with weights {version!r}, but the engine holds {self._version!r}")
        if count_changes(self._model) != self._changes:
            raise StaleWeightsError(f"the weights were changed since they were synced as {version!r}: sync again")
        return self._model

    def _batches(self, prompts: Sequence[Sequence[int]], new_tokens: int) -> Iterator[list[int]]:
        """Cuts the prompts, longest first, into batches; the first of a batch is its longest."""
        order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
        while order:
            size = max(1, min(self.batch_size, self.max_tokens // (len(prompts[order[0]]) + new_tokens)))
            yield order[:size]
            order = order[size:]


class _Decoder:
    """One batch from prompts to completions."""

    def __init__(
        self, model: PreTrainedModel, prompts: list[Sequence[int]], params: SamplingParams, seeds: list[int] | None
    ) -> None:
        self.model = model
        self.params = params
        self.device = next(model.parameters()).device
        self.prompts_BL, self.lengths_B = _pad_left(prompts, self.device)
        width, count = self.prompts_BL.shape[1], params.max_new_tokens
        self.mask_BK = torch.arange(width + count, device=self.device) >= (width - self.lengths_B)[:, None]
        self.uniforms_BN = None if seeds is None else _uniforms(seeds, count).to(self.device)
        self.tokens_BN = torch.full((len(prompts), count), params.eos_token_id, device=self.device)
        self.rows_B = torch.arange(len(prompts), device=self.device)
        self.cache = new_cache(model.config, width + count)

    def run(self, progress: Callable[[int], None]) -> list[Completion]:
        last = self.params.max_new_tokens - 1
        left = len(self.rows_B)
        finished_B = torch.zeros(left, dtype=torch.bool, device=self.device)
        logits_BV = self._prefill()
        for step in range(last + 1):
            next_B = self._choose(logits_BV, step)
            self.tokens_BN[self.rows_B, step] = next_B
            finished_B |= next_B == self.params.eos_token_id
            if self.params.stop and (step + 1) % LOOKED_AT_EVERY == 0:
                finished_B |= self._stopped(finished_B, step)
            unfinished = 0 if step == last else len(finished_B) - int(finished_B.sum())
            if unfinished < left:
                progress(left - unfinished)
                left = unfinished
            if not left:
                break
            if left <= _WORTH_DROPPING * len(finished_B):
                keep = (~finished_B).nonzero().squeeze(1)
                next_B, finished_B = next_B[keep], finished_B[keep]
                self._keep(keep)
            logits_BV = self._step(next_B, step)
        return [Completion.of(ids, self.params) for ids in self.tokens_BN.tolist()]

    def _prefill(self) -> Tensor:
        width = self.prompts_BL.shape[1]
        positions_BL = torch.arange(width, device=self.device) - (width - self.lengths_B)[:, None]
        return self._logits(self.prompts_BL, self.mask_BK[:, :width], positions_BL.clamp_(min=0))

    def _step(self, next_B: Tensor, step: int) -> Tensor:
        mask_BK = self.mask_BK[:, : self.prompts_BL.shape[1] + step + 1]
        return self._logits(next_B[:, None], mask_BK, (self.lengths_B + step)[:, None])

    def _logits(self, ids_BL: Tensor, mask_BK: Tensor, positions_BL: Tensor) -> Tensor:
        output = self.model(
            input_ids=ids_BL,
            attention_mask=mask_BK,
            position_ids=positions_BL,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits_BV: Tensor = output.logits[:, -1]
        return logits_BV

    def _choose(self, logits_BV: Tensor, step: int) -> Tensor:
        if self.uniforms_BN is None:
            return logits_BV.argmax(-1)
        return sample(logits_BV, self.params.temperature, self.uniforms_BN[self.rows_B, step])

    def _stopped(self, finished_B: Tensor, step: int) -> Tensor:
        """Which rows hold a stop string; those that are finished already are not looked at."""
        assert self.params.stop is not None
        rows = zip(self.tokens_BN[self.rows_B, : step + 1].tolist(), finished_B.tolist(), strict=True)
        return torch.tensor([not done and self.params.stop.reached(ids) for ids, done in rows], device=self.device)

    def _keep(self, keep_B: Tensor) -> None:
        self.rows_B = self.rows_B[keep_B]
        self.lengths_B = self.lengths_B[keep_B]
        self.mask_BK = self.mask_BK[keep_B]
        self.cache.batch_select_indices(keep_B)


def _pad_left(prompts: list[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Prompts as one tensor of shape (B, L), and their lengths."""
    lengths = [len(prompt) for prompt in prompts]
    padded = [[0] * (max(lengths) - len(prompt)) + list(prompt) for prompt in prompts]
    return torch.tensor(padded, device=device), torch.tensor(lengths, device=device)


def _score(model: PreTrainedModel, prompts: list[Sequence[int]], token_ids: Sequence[int]) -> Tensor:
    """Log-probabilities of the candidates, of shape (B, C), in float64.

    The output layer's rows of the candidates are applied in float64: logits in bfloat16 would tie often.
    """
    prompts_BL, lengths_B = _pad_left(prompts, next(model.parameters()).device)
    width = prompts_BL.shape[1]
    positions_BL = torch.arange(width, device=prompts_BL.device) - (width - lengths_B)[:, None]
    output = model.base_model(
        input_ids=prompts_BL, attention_mask=positions_BL >= 0, position_ids=positions_BL.clamp(min=0), use_cache=False
    )
    hidden_BD = output.last_hidden_state[:, -1].double()
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    bias_C = None if head.bias is None else head.bias[token_ids].double()
    logits_BC = nn.functional.linear(hidden_BD, head.weight[token_ids].double(), bias_C)
    return logits_BC.log_softmax(-1)


def sample(logits_BV: Tensor, temperature: float, uniforms_B: Tensor) -> Tensor:
    """Draws one token a row by inverting the cumulative distribution, in float64.

    Args:
        logits_BV: Of the next token.
        temperature: Above 0.
        uniforms_B: One number in [0, 1) a row: the only source of randomness.
    """
    probabilities_BV = (logits_BV.double() / temperature).softmax(-1)
    cumulative_BV = probabilities_BV.cumsum(-1)
    targets_B1 = (uniforms_B * cumulative_BV[:, -1])[:, None]
    tokens_B1 = torch.searchsorted(cumulative_BV, targets_B1, right=True)
    return tokens_B1.squeeze(1).clamp_(max=logits_BV.shape[1] - 1)


def _uniforms(seeds: list[int], count: int) -> Tensor:
    """Gives one row a seed: the n-th number depends on seed and n alone."""
    rows = [np.random.Generator(np.random.Philox(key=seed % 2**128)).random(count) for seed in seeds]
    return torch.from_numpy(np.stack(rows))


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True
