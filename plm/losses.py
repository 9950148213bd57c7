"""Losses as pure functions. Each returns the sum over its unit; the base module divides by the units of the whole step.

Shape letters: N trained tokens, D hidden size, V vocabulary, B rows, L tokens a row. Log-probabilities are in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 2**25  # logits held at once; at fp32 128 MiB


def token_logprobs(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, bias_V: Tensor | None = None) -> Tensor:
    """Log-probability of each target token: log softmax(W h + b)[target].

    The only place where the vocabulary dimension exists. Beyond `CHUNK_ELEMENTS` logits it works in chunks and
    recomputes them in the backward pass.

    Args:
        hidden_ND: Last hidden states at the positions that predict the targets, shape (N, D).
        weight_VD: Output embedding, shape (V, D).
        targets_N: Token ids, shape (N,).
        bias_V: Output bias, shape (V,), or None.

    Returns:
        Log-probabilities in nats, float32, shape (N,).
    """
    rows = max(1, CHUNK_ELEMENTS // weight_VD.shape[0])
    if hidden_ND.shape[0] <= rows:
        return _chunk_logprobs(hidden_ND, weight_VD, targets_N, bias_V)
    chunks = zip(torch.split(hidden_ND, rows), torch.split(targets_N, rows), strict=True)
    return torch.cat([checkpoint(_chunk_logprobs, h, weight_VD, t, bias_V, use_reentrant=False) for h, t in chunks])


def _chunk_logprobs(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, bias_V: Tensor | None) -> Tensor:
    logits_NV = torch.nn.functional.linear(hidden_ND, weight_VD, bias_V).float()
    return -torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")


def sft_loss(logprobs_BL: Tensor, weights_BL: Tensor) -> Tensor:
    """Cross-entropy of the completions: -sum_t w_t log p(y_t | x, y_<t), §2 and App. C.1 of Greenblatt et al. 2024.

    Args:
        logprobs_BL: Log-probability of each trained token, 0 elsewhere, shape (B, L).
        weights_BL: Token weights, 0 for prompt and padding, shape (B, L).

    Returns:
        The sum over tokens, in nats, a scalar.
    """
    return -(logprobs_BL * weights_BL).sum()
