"""The vocabulary dimension, a chunk of positions at a time: no array of all positions and all words stays in memory.

Shape letters: N positions, D hidden size, V vocabulary, C positions of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = 2**25  # logits worked on at once; at float32 128 MiB
KEPT_ELEMENTS = 2**26  # logits kept for the backward pass, which has to compute the others again; at float32 256 MiB
ON_CUDA = 8  # there both are so many times larger: small products leave it idle


def log_normalizers(
    hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None = None, targets_N: Tensor | None = None
) -> Tensor:
    """logsumexp(W h + b) at every position, less the logit of its target where there are targets: -log p(target).

    Args:
        hidden_ND: Last hidden states, shape (N, D).
        weight_VD: Output embedding, shape (V, D).
        bias_V: Output bias, shape (V,), or None.
        targets_N: Token ids, shape (N,), or None.

    Returns:
        In nats, at least float32, shape (N,). Gradients of weight and bias are summed over chunks in this type too.
    """
    normalizers_N: Tensor = _LogNormalizers.apply(hidden_ND, weight_VD, bias_V, targets_N)  # type: ignore[no-untyped-call]
    return normalizers_N


def fits(positions: int, words: int) -> bool:
    """Whether all logits fit into one chunk."""
    return positions * words <= CHUNK_ELEMENTS


class _LogNormalizers(torch.autograd.Function):
    """Every chunk's logits are turned into their gradient in place; what is not kept is computed once more."""

    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None, targets_N: Tensor | None
    ) -> Tensor:
        ctx.kind = _compute_type(hidden_ND)
        ctx.kept = {}
        size, results, normalizers = weight_VD.shape[0], [], []
        for chunk in _chunks(hidden_ND, size):
            logits_CV = _logits(hidden_ND[chunk], weight_VD, bias_V, ctx.kind)
            normalizers.append(logits_CV.logsumexp(-1))
            results.append(normalizers[-1])
            if targets_N is not None:
                results[-1] = normalizers[-1] - logits_CV.gather(1, targets_N[chunk, None])[:, 0]
            if any(ctx.needs_input_grad) and chunk.stop * size <= KEPT_ELEMENTS * _larger(hidden_ND):
                ctx.kept[chunk.start] = logits_CV
            del logits_CV  # before the next chunk's are made
        normalizers_N = torch.cat(normalizers)
        ctx.save_for_backward(hidden_ND, weight_VD, bias_V, targets_N, normalizers_N)
        return torch.cat(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient_N: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        hidden_ND, weight_VD, bias_V, targets_N, normalizers_N = ctx.saved_tensors
        weight = weight_VD.to(ctx.kind)
        by_hidden_ND = torch.empty_like(hidden_ND)
        by_weight_VD = torch.zeros_like(weight_VD, dtype=normalizers_N.dtype)
        by_bias_V = None if bias_V is None else torch.zeros_like(bias_V, dtype=normalizers_N.dtype)
        for chunk in _chunks(hidden_ND, weight_VD.shape[0]):
            logits_CV = ctx.kept.pop(chunk.start, None)
            if logits_CV is None:
                logits_CV = _logits(hidden_ND[chunk], weight_VD, bias_V, ctx.kind)
            by_logits_CV = logits_CV.sub_(normalizers_N[chunk, None]).exp_().mul_(gradient_N[chunk, None])
            if targets_N is not None:
                by_logits_CV.scatter_add_(1, targets_N[chunk, None], -gradient_N[chunk, None])
            if by_bias_V is not None:
                by_bias_V += by_logits_CV.sum(0)
            lean_CV = by_logits_CV.to(ctx.kind)
            by_hidden_ND[chunk] = (lean_CV @ weight).to(hidden_ND.dtype)
            _add_product(by_weight_VD, lean_CV.mT, hidden_ND[chunk].to(ctx.kind))
            del logits_CV, by_logits_CV, lean_CV
        by_bias = by_bias_V if by_bias_V is None else by_bias_V.to(bias_V.dtype)
        return by_hidden_ND, by_weight_VD.to(weight_VD.dtype), by_bias, None


def _chunks(hidden_ND: Tensor, words: int) -> Iterator[slice]:
    rows = max(1, CHUNK_ELEMENTS * _larger(hidden_ND) // words)
    for start in range(0, hidden_ND.shape[0], rows):
        yield slice(start, min(start + rows, hidden_ND.shape[0]))


def _larger(hidden_ND: Tensor) -> int:
    return ON_CUDA if hidden_ND.is_cuda else 1


def _compute_type(hidden_ND: Tensor) -> torch.dtype:
    device = hidden_ND.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden_ND.dtype


def _logits(hidden_CD: Tensor, weight_VD: Tensor, bias_V: Tensor | None, kind: torch.dtype) -> Tensor:
    bias = None if bias_V is None else bias_V.to(kind)
    logits_CV = torch.nn.functional.linear(hidden_CD.to(kind), weight_VD.to(kind), bias)
    return logits_CV.to(torch.promote_types(kind, torch.float32))


def _add_product(total_VD: Tensor, left_VC: Tensor, right_CD: Tensor) -> None:
    """Adds a product to a total of at least float32: rounding every chunk's product to 16 bits first biases the sum."""
    if left_VC.dtype == total_VD.dtype:
        total_VD.addmm_(left_VC, right_CD)
    elif left_VC.is_cuda and total_VD.dtype == torch.float32:
        torch.addmm(total_VD, left_VC, right_CD, out_dtype=torch.float32, out=total_VD)
    else:
        total_VD.addmm_(left_VC.to(total_VD.dtype), right_CD.to(total_VD.dtype))
