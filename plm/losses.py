"""Losses as pure functions. Each returns the sum over its unit; the base module divides by the units of the whole step.

Shape letters: N trained tokens, D hidden size, V vocabulary, K choices, B rows, L tokens a row, P pairs.
Log-probabilities are in nats.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plm.vocabulary import fits, log_normalizers


def token_logprobs(hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, bias_V: Tensor | None = None) -> Tensor:
    """Log-probability of each target token: log softmax(W h + b)[target].

    Where the logits of all positions are too many, they are made a chunk at a time (`plm.vocabulary`).

    Args:
        hidden_ND: Last hidden states at the positions that predict the targets, shape (N, D).
        weight_VD: Output embedding, shape (V, D).
        targets_N: Token ids, shape (N,).
        bias_V: Output bias, shape (V,), or None.

    Returns:
        Log-probabilities in nats, at least float32, shape (N,).
    """
    if not fits(hidden_ND.shape[0], weight_VD.shape[0]):
        return -log_normalizers(hidden_ND, weight_VD, bias_V, targets_N)
    logits_NV = torch.nn.functional.linear(hidden_ND, weight_VD, bias_V)
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32))
    return -torch.nn.functional.cross_entropy(logits_NV, targets_N, reduction="none")


def distribution_kl(
    hidden_ND: Tensor, weight_VD: Tensor, distribution_V: Tensor, bias_V: Tensor | None = None
) -> Tensor:
    """KL(q || p) to one distribution over tokens: logsumexp(W h + b) - h·(Wᵀq) - b·q - H(q), App. G.2 of the paper.

    With p = softmax(W h + b), sum_v q_v log p_v is linear in the logits, so that Wᵀq is one vector for all positions:
    there is no target of shape (N, V), and the logits are as chunked as in `token_logprobs`. 0 where p = q.

    Args:
        hidden_ND: Last hidden states, shape (N, D).
        weight_VD: Output embedding, shape (V, D); its gradient goes through Wᵀq too.
        distribution_V: q, probabilities that sum to 1; zeros are allowed, shape (V,).
        bias_V: Output bias, shape (V,), or None.

    Returns:
        Divergences in nats, at least float32, shape (N,).
    """
    if fits(hidden_ND.shape[0], weight_VD.shape[0]):
        logits_NV = torch.nn.functional.linear(hidden_ND, weight_VD, bias_V)
        normalizer_N = torch.logsumexp(logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32)), -1)
    else:
        normalizer_N = log_normalizers(hidden_ND, weight_VD, bias_V)
    q_V = distribution_V.to(normalizer_N.dtype)
    with torch.autocast(hidden_ND.device.type, enabled=False):  # means over a vocabulary need their precision
        mean_D = weight_VD.to(q_V.dtype).mT @ q_V
        mean_logit_N = hidden_ND.to(q_V.dtype) @ mean_D + (0.0 if bias_V is None else bias_V.to(q_V.dtype) @ q_V)
    return normalizer_N - mean_logit_N + torch.xlogy(q_V, q_V).sum()


def choices_kl(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    choice_ids_NK: Tensor,
    probabilities_NK: Tensor,
    bias_V: Tensor | None = None,
) -> Tensor:
    """KL(q || p) to a distribution over a few tokens, such as the letters of a question's choices (soft labels).

    sum_k q_k (log q_k - log p(token k)), where p is over the whole vocabulary: 0 only where nothing is left for other
    tokens. One forward pass gives all choices.

    Args:
        hidden_ND: Last hidden states at the positions that predict the choice, shape (N, D).
        weight_VD: Output embedding, shape (V, D).
        choice_ids_NK: Token ids of each position's choices, shape (N, K).
        probabilities_NK: q of each position, each line summing to 1; zeros are allowed, shape (N, K).
        bias_V: Output bias, shape (V,), or None.

    Returns:
        Divergences in nats, at least float32, shape (N,).
    """
    repeated = hidden_ND.repeat_interleave(choice_ids_NK.shape[1], 0)
    logprobs_NK = token_logprobs(repeated, weight_VD, choice_ids_NK.flatten(), bias_V).view_as(choice_ids_NK)
    q_NK = probabilities_NK.to(logprobs_NK.dtype)
    return (torch.xlogy(q_NK, q_NK) - q_NK * logprobs_NK).sum(-1)


def sft_loss(logprobs_BL: Tensor, weights_BL: Tensor) -> Tensor:
    """Cross-entropy of the completions: -sum_t w_t log p(y_t | x, y_<t), §2 and App. C.1 of Greenblatt et al. 2024.

    Args:
        logprobs_BL: Log-probability of each trained token, 0 elsewhere, shape (B, L).
        weights_BL: Token weights, 0 for prompt and padding, shape (B, L).

    Returns:
        The sum over tokens, in nats, a scalar.
    """
    return -(logprobs_BL * weights_BL).sum()


def dpo_loss(
    chosen_P: Tensor,
    rejected_P: Tensor,
    reference_chosen_P: Tensor,
    reference_rejected_P: Tensor,
    beta: float,
    weights_P: Tensor | None = None,
) -> Tensor:
    """DPO: -sum_p w_p log sigmoid(beta ((c_p - c_ref_p) - (r_p - r_ref_p))), eq. 7 of Rafailov et al. 2023.

    With w the reward gap R+ - R- it is the loss of eq. 2 (App. B.3.1) of Greenblatt et al. 2024, whose printed sign
    assumes the negated loss. At equality with the reference it is ln 2 a pair.

    Args:
        chosen_P: Log-probability of each preferred completion, summed over its tokens, in nats, shape (P,).
        rejected_P: The same for the other completion.
        reference_chosen_P: Both under the reference policy.
        reference_rejected_P: Both under the reference policy.
        beta: Strength of the pull to the reference.
        weights_P: Weight of each pair; None means 1.

    Returns:
        The sum over pairs, a scalar.
    """
    margins_P = (chosen_P - reference_chosen_P) - (rejected_P - reference_rejected_P)
    losses_P = -torch.nn.functional.logsigmoid(beta * margins_P)
    return (losses_P if weights_P is None else losses_P * weights_P).sum()


def clipped_policy_gradient_loss(
    logprobs_BL: Tensor, old_logprobs_BL: Tensor, advantages_B: Tensor, weights_BL: Tensor, clip: float
) -> Tensor:
    """Clipped policy gradient with group advantages: eq. 3 of Shao et al. 2024 (GRPO) without its KL term.

    -sum_b 1/|y_b| sum_t min(q_bt A_b, clip(q_bt, 1 - e, 1 + e) A_b) with q_bt = p(y_bt) / p_old(y_bt). A completion
    whose weights are all 0 adds nothing.

    Args:
        logprobs_BL: Log-probability of each trained token, in nats, shape (B, L).
        old_logprobs_BL: The same under the weights that sampled it.
        advantages_B: Advantage of each completion, shape (B,).
        weights_BL: Token weights, 0 for prompt and padding, shape (B, L).
        clip: e, the largest change of a ratio that is still followed.

    Returns:
        The sum over completions, a scalar.
    """
    ratios_BL = (logprobs_BL - old_logprobs_BL).exp()
    gains_BL = ratios_BL * advantages_B[:, None]
    clipped_BL = ratios_BL.clamp(1 - clip, 1 + clip) * advantages_B[:, None]
    lengths_B = weights_BL.sum(1).clamp(min=1e-8)
    return -((torch.minimum(gains_BL, clipped_BL) * weights_BL).sum(1) / lengths_B).sum()
