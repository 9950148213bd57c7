"""Attention of one line that holds many rows, as an attention function of transformers (`AttentionInterface`).

Shape letters: B rows, H heads, T tokens of the line, E dimensions of a head; S, F, L, Q, K as in `plm.layout`.

The model's own code runs unchanged: it hands queries, keys and values to the function that its configuration names,
with whatever else its forward pass was given, here `rows`. Without it, while generating for instance, the function is
transformers' own for SDPA. With it no mask is made that is as wide and high as the line, and nothing is asked of the
device, which `transformers.masking_utils` does before every forward pass ("are these positions packed?").
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from plm.layout import Segments

NAME = "plm_rows"
PADDED = "padded"
"""Rows padded on the right: a causal model needs no mask for their real tokens."""
MODELS = frozenset(("gemma", "gpt2", "gpt_neox", "llama", "mistral", "olmo", "olmo2", "phi", "phi3", "qwen2", "qwen3"))
"""Whose code hands `rows` on and uses the mask for attention alone: OPT reads positions off it, StableLM hands nothing
on. All of them are tested."""
_OTHER_ATTENTION = ("sliding_window", "attn_logit_softcapping", "attention_chunk_size", "reorder_and_upcast_attn")


def knows_rows(model: PreTrainedModel) -> bool:
    """Lets a model compute attention by rows, where it can.

    It can where it is of a known kind, would use SDPA, and is causal over everything before.
    """
    config = model.config
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    special = [name for name in _OTHER_ATTENTION if getattr(config, name, None)]
    if config.model_type not in MODELS or special or kinds != {"full_attention"}:
        return False
    if config._attn_implementation == "sdpa":
        config._attn_implementation = NAME
    return bool(config._attn_implementation == NAME)


def no_mask(tokens: int, device: torch.device) -> Tensor:
    """A mask that needs no memory: being there, and of rank 4, it keeps transformers from making one, (1, 1, T, T)."""
    return torch.ones((), dtype=torch.bool, device=device).expand(1, 1, tokens, tokens)


def attention_by_rows(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    rows: Segments | str | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """Attention of padded rows, or of the rows in one line; transformers' own where `rows` is None.

    Args:
        module: The attention layer.
        query: Shape (B, H, T, E), B = 1 for a line.
        key: The same, with the heads that the layer has for keys.
        value: The same.
        attention_mask: Not read where `rows` is given.
        dropout: Share of weights to drop.
        scaling: Of the products; E^-0.5 where None.
        rows: Which tokens belong together, or `PADDED`.
        given: What else transformers hands over.

    Returns:
        The output, shape (B, T, H, E), and no weights.
    """
    if rows is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **given)
    if isinstance(rows, str):
        return sdpa_attention_forward(module, query, key, value, None, dropout, scaling, **given)
    if _has_variable_lengths(query, value, dropout):
        return _variable_lengths(query, key, value, scaling, rows), None
    return _filled(module, query, key, value, dropout, scaling, rows), None


AttentionInterface.register(NAME, attention_by_rows)
AttentionMaskInterface.register(NAME, sdpa_mask)


def _filled(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None, rows: Segments
) -> Tensor:
    """Stretches as rows of equal length: one call for those that begin a group, and one for those that follow."""
    query_THE, key_THE, value_THE = (x[0].transpose(0, 1) for x in (query, key, value))
    if rows.in_order:
        lead = [x.reshape(*rows.lead_SL.shape, *x.shape[1:]) for x in (query_THE, key_THE, value_THE)]
    else:
        lead = [_at(x, rows.lead_SL) for x in (query_THE, key_THE, value_THE)]
    outputs = [_sdpa(module, lead, None, dropout, scaling)]
    if rows.follow_FQ.shape[0]:
        follow = [_at(query_THE, rows.follow_FQ), _at(key_THE, rows.seen_FK), _at(value_THE, rows.seen_FK)]
        outputs.append(_sdpa(module, follow, rows.mask_F1QK, dropout, scaling))
    flat = torch.cat([output.flatten(0, 1) for output in outputs])
    return (flat if rows.in_order else _at(flat, rows.back_T))[None]


def _sdpa(
    module: nn.Module, of_rows: list[Tensor], mask: Tensor | None, dropout: float, scaling: float | None
) -> Tensor:
    query, key, value = (x.transpose(1, 2) for x in of_rows)
    output: Tensor = sdpa_attention_forward(module, query, key, value, mask, dropout, scaling)[0]
    return output


def _at(values_THE: Tensor, indexes: Tensor) -> Tensor:
    """Values at indexes, of the indexes' shape + (H, E). An embedding, whose backward pass is the fastest there is."""
    flat = nn.functional.embedding(indexes, values_THE.reshape(values_THE.shape[0], -1))
    return flat.view(*indexes.shape, *values_THE.shape[1:])


def _has_variable_lengths(query: Tensor, value: Tensor, dropout: float) -> bool:
    """Whether torch has a kernel for it: in 16 bits on CUDA, without dropout, for heads of up to 256 dimensions."""
    kind = query.dtype if query.dtype == value.dtype else None
    return query.is_cuda and kind in (torch.bfloat16, torch.float16) and not dropout and query.shape[-1] <= 256


def _variable_lengths(query: Tensor, key: Tensor, value: Tensor, scaling: float | None, rows: Segments) -> Tensor:
    """Flash attention over stretches of any length; the causal mask ends at each stretch's last key."""
    from torch.nn.attention.varlen import varlen_attn

    query_THE, key_THE, value_THE = (x[0].transpose(0, 1) for x in (query, key, value))
    if rows.keys is not None:
        key_THE, value_THE = _at(key_THE, rows.keys), _at(value_THE, rows.keys)
    group = query.shape[1] // key.shape[1]
    grouped: dict[str, Any] = {"enable_gqa": True} if group > 1 and _knows_groups(varlen_attn) else {}
    if group > 1 and not grouped:
        key_THE, value_THE = (x.repeat_interleave(group, 1) for x in (key_THE, value_THE))
    output_THE = varlen_attn(
        query_THE.contiguous(),
        key_THE.contiguous(),
        value_THE.contiguous(),
        rows.starts_q,
        rows.starts_k,
        rows.longest_q,
        rows.longest_k,
        scale=scaling,
        window_size=(-1, 0),
        **grouped,
    )
    assert isinstance(output_THE, Tensor)
    return output_THE[None]


@functools.cache
def _knows_groups(function: Callable[..., Any]) -> bool:
    """Whether it takes fewer heads for keys than for queries: since torch 2.12."""
    return "enable_gqa" in inspect.signature(function).parameters
