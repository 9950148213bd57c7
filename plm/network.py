"""The policy as a torch module: token ids in, log-probabilities of the trained tokens out.

Shape letters: B rows, L tokens a row, D hidden size, N trained tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn
from transformers import PreTrainedModel

from plm.errors import PlmError
from plm.examples import IGNORED, Batch
from plm.losses import choices_kl, distribution_kl, token_logprobs


@dataclass
class SoftTargets(ABC):
    """Positions of a batch that learn a whole distribution over tokens instead of the token that stands there.

    A dataclass and no tuple: sharded strategies cast every tensor of a tuple to their compute type.

    Attributes:
        where_BL: Which positions of the labels, all of them trained ones, bool, shape (B, L).
    """

    where_BL: Tensor

    @abstractmethod
    def divergence(self, where_BL: Tensor, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
        """KL(q || p) in nats at each of these positions, in the order of `where_BL`, shape (N,)."""


@dataclass
class OneDistribution(SoftTargets):
    """The same distribution over the vocabulary at every position, as fixedrdm has.

    Attributes:
        distribution_V: Probabilities, shape (V,).
    """

    distribution_V: Tensor

    def divergence(self, where_BL: Tensor, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
        """KL by its closed form."""
        return distribution_kl(hidden_ND, weight_VD, self.distribution_V, bias_V)


@dataclass
class ChoiceDistributions(SoftTargets):
    """A distribution of each row's own over a few tokens, as a teacher gives over a question's choices.

    Attributes:
        choice_ids_BK: Token ids of each row's choices, shape (B, K).
        probabilities_BK: Each row's probabilities, shape (B, K).
    """

    choice_ids_BK: Tensor
    probabilities_BK: Tensor

    def divergence(self, where_BL: Tensor, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
        """KL over the choices of the row that each position is in."""
        rows_N = where_BL.nonzero()[:, 0]
        return choices_kl(hidden_ND, weight_VD, self.choice_ids_BK[rows_N], self.probabilities_BK[rows_N], bias_V)


class PolicyNetwork(nn.Module):
    """A Hugging Face causal language model whose `forward` gives log-probabilities instead of logits.

    Everything that trains or scores goes through this one call, so that sharded strategies, whose hooks hang on
    `forward`, work, and so that logits are never made for prompt tokens.

    Args:
        model: A causal language model with a linear output layer.

    Raises:
        PlmError: If the model transforms its logits after the output layer (soft-capping, scaling).
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(model.config, name, None) not in (None, 1, 1.0):
                raise PlmError(f"models whose config has {name} are not supported: their logits are not W·h")
        self.model = model

    def forward(self, batch: Batch, soft: SoftTargets | None = None) -> Tensor:
        """Log-probability of every trained token, in nats; 0 for prompt and padding. Shape (B, L).

        Where `soft` says so, minus the divergence to its distribution stands in place of the token's log-probability:
        as 0 is the best that both can be, a loss may sum them.
        """
        # Rows are padded on the right, so a causal model needs no attention mask for the real tokens.
        hidden_BLD = self.model.base_model(input_ids=batch.input_ids_BL, use_cache=False).last_hidden_state
        head = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        weight_VD, bias_V = head.weight, getattr(head, "bias", None)
        hard_BL = batch.labels_BL != IGNORED
        if soft is not None:
            hard_BL = hard_BL & ~soft.where_BL
        logprobs_N = token_logprobs(_before(hidden_BLD, hard_BL), weight_VD, batch.labels_BL[hard_BL], bias_V)
        scores_BL = logprobs_N.new_zeros(batch.labels_BL.shape)
        scores_BL[hard_BL] = logprobs_N
        if soft is not None:
            hidden_ND = _before(hidden_BLD, soft.where_BL)
            scores_BL[soft.where_BL] = -soft.divergence(soft.where_BL, hidden_ND, weight_VD, bias_V).to(scores_BL.dtype)
        return scores_BL


def _before(hidden_BLD: Tensor, where_BL: Tensor) -> Tensor:
    """The hidden states that predict the tokens at some positions, none of which is a row's first, shape (N, D)."""
    return hidden_BLD[:, :-1][where_BL[:, 1:]]
