"""The policy as a torch module: token ids in, log-probabilities of the trained tokens out.

Shape letters: B rows, L tokens a row, T tokens of all that is computed together, D hidden size, N trained tokens.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from plm.attention import PADDED, knows_rows, no_mask
from plm.errors import PlmError
from plm.examples import Batch
from plm.layout import Segments
from plm.losses import choices_kl, distribution_kl, token_logprobs


@dataclass
class SoftTargets(ABC):
    """Rows of a batch that learn a whole distribution over tokens instead of the tokens that stand there.

    A dataclass and no tuple: sharded strategies cast every tensor of a tuple to their compute type.

    Attributes:
        rows: Which rows of the batch, on the host: of length B.
    """

    rows: Sequence[bool]

    @abstractmethod
    def divergence(self, rows_N: Tensor, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
        """KL(q || p) in nats at each trained position of these rows, shape (N,); `rows_N` says in which row it is."""


@dataclass
class OneDistribution(SoftTargets):
    """The same distribution over the vocabulary at every position, as fixedrdm has.

    Attributes:
        distribution_V: Probabilities, shape (V,).
    """

    distribution_V: Tensor

    def divergence(self, rows_N: Tensor, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
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

    def divergence(self, rows_N: Tensor, hidden_ND: Tensor, weight_VD: Tensor, bias_V: Tensor | None) -> Tensor:
        """KL over the choices of the row that each position is in."""
        return choices_kl(hidden_ND, weight_VD, self.choice_ids_BK[rows_N], self.probabilities_BK[rows_N], bias_V)


class PolicyNetwork(nn.Module):
    """A Hugging Face causal language model whose `forward` gives log-probabilities instead of logits.

    Everything that trains or scores goes through this one call, so that sharded strategies, whose hooks hang on
    `forward`, work, and so that logits are never made for prompt tokens.

    Args:
        model: A causal language model with a linear output layer.

        gradient_checkpointing: Keep only what enters each block, and compute the rest again in the backward pass.

    Raises:
        PlmError: If the model transforms its logits after the output layer (soft-capping, scaling), or cannot
            checkpoint.
    """

    def __init__(self, model: PreTrainedModel, *, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(model.config, name, None) not in (None, 1, 1.0):
                raise PlmError(f"models whose config has {name} are not supported: their logits are not W·h")
        self.model = model
        self.knows_rows = knows_rows(model)
        if gradient_checkpointing:
            if not model.supports_gradient_checkpointing:
                raise PlmError(f"{model.config.model_type} models do not support gradient_checkpointing")
            model.gradient_checkpointing_enable({"use_reentrant": False})

    def forward(self, batch: Batch, soft: SoftTargets | None = None) -> Tensor:
        """Log-probability of every trained token, in nats; 0 for prompt and padding. Shape (B, L).

        Where `soft` says so, minus the divergence to its distribution stands in place of the token's log-probability:
        as 0 is the best that both can be, a loss may sum them.
        """
        hidden_TD, source_N = self._hidden(batch)
        head = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        weight_VD, bias_V = head.weight, getattr(head, "bias", None)
        where_N, soft_N = batch.trained_N, None
        if soft is not None:
            (where_N, soft_N), (source_N, soft_source_N) = (
                _parted(values_N, batch.trained, soft.rows) for values_N in (batch.trained_N, source_N)
            )
        targets_N = batch.labels_BL.flatten()[where_N]
        logprobs_N = token_logprobs(hidden_TD[source_N], weight_VD, targets_N, bias_V)
        scores = logprobs_N.new_zeros(batch.labels_BL.numel())
        scores[where_N] = logprobs_N
        if soft is not None and soft_N is not None:
            rows_N = soft_N.div(batch.labels_BL.shape[1], rounding_mode="floor")
            divergence_N = soft.divergence(rows_N, hidden_TD[soft_source_N], weight_VD, bias_V)
            scores[soft_N] = -divergence_N.to(scores.dtype)
        return scores.view(batch.labels_BL.shape)

    def _hidden(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Hidden states, of whatever layout, and which of them predicts each trained token: shapes (T, D) and (N,)."""
        layout = batch.layout
        if batch.required and not self.knows_rows:
            config = self.model.config
            raise PlmError(
                "packing needs a model of a known kind (plm.attention.MODELS) with ordinary attention by SDPA; this "
                f"{config.model_type} has {config._attn_implementation}: set model.init_args.compute.packing to false"
            )
        if layout is None or not self.knows_rows:
            hidden_BLD = self._backbone(batch.input_ids_BL, None, PADDED)
            return hidden_BLD.flatten(0, 1), batch.trained_N - 1
        return self._backbone(layout.input_ids_1T, layout.positions_1T, layout.segments)[0], layout.source_N

    def _backbone(self, input_ids_BT: Tensor, positions_BT: Tensor | None, rows: Segments | str) -> Tensor:
        model = self.model.base_model
        if not self.knows_rows:
            # Rows are padded on the right, so a causal model needs no attention mask for the real tokens.
            hidden_BTD: Tensor = model(input_ids=input_ids_BT, use_cache=False).last_hidden_state
            return hidden_BTD
        mask = no_mask(input_ids_BT.shape[1], input_ids_BT.device)
        output = model(
            input_ids=input_ids_BT, position_ids=positions_BT, attention_mask=mask, use_cache=False, rows=rows
        )
        hidden_BTD = output.last_hidden_state
        return hidden_BTD


def _parted(values_N: Tensor, trained: Sequence[int], chosen: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Values of trained tokens, of the rows that are not chosen and of those that are."""
    parts = list(zip(torch.split(values_N, list(trained)), chosen, strict=True))
    hard, soft = ([part for part, is_soft in parts if is_soft == wanted] for wanted in (False, True))
    nothing = values_N[:0]
    return torch.cat([nothing, *hard]), torch.cat([nothing, *soft])
