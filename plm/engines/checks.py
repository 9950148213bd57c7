"""What every engine refuses: arguments out of range, prompts that are too long, weights that were changed meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from transformers import PretrainedConfig

from plm.engines.base import SamplingParams
from plm.errors import PlmError


def check_requests(
    config: PretrainedConfig, prompts: Sequence[Sequence[int]], params: SamplingParams, seeds: Sequence[int] | None
) -> None:
    """Checks the arguments of `Engine.generate`.

    Raises:
        ValueError: If a prompt is empty, or an argument is out of range.
        PlmError: If a prompt and its completion may be too long for the model.
    """
    if params.max_new_tokens < 1:
        raise ValueError(f"max_new_tokens={params.max_new_tokens}: must be at least 1")
    if not params.temperature >= 0:
        raise ValueError(f"temperature={params.temperature}: must be at least 0")
    if params.temperature and (seeds is None or len(seeds) != len(prompts)):
        raise ValueError(f"seeds: sampling needs one for each of the {len(prompts)} prompts")
    _check_prompts(config, prompts, params.max_new_tokens)


def check_candidates(config: PretrainedConfig, prompts: Sequence[Sequence[int]], token_ids: Sequence[int]) -> None:
    """Checks the arguments of `Engine.next_logprobs`.

    Raises:
        ValueError: If a prompt is empty, or the candidates are none or not different.
        PlmError: If a prompt is too long for the model.
    """
    _check_prompts(config, prompts, 0)
    if not token_ids or len(set(token_ids)) < len(token_ids):
        raise ValueError(f"token_ids={list(token_ids)}: must be at least one, all different")


def _check_prompts(config: PretrainedConfig, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    room = getattr(config, "max_position_embeddings", None)
    for row, prompt in enumerate(prompts):
        if not len(prompt):
            raise ValueError(f"prompts[{row}] is empty: must have at least one token")
        if room is not None and len(prompt) + max_new_tokens > room:
            raise PlmError(
                f"a prompt of {len(prompt)} tokens and max_new_tokens={max_new_tokens} do not fit into the "
                f"model's {room} positions: lower max_new_tokens or take a model with more positions"
            )


def count_changes(model: nn.Module) -> int:
    """Counts in-place changes of the parameters, as autograd does."""
    return sum(parameter._version for parameter in model.parameters() if not parameter.is_inference())
