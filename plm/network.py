"""The policy as a torch module: token ids in, log-probabilities of the trained tokens out.

Shape letters: B rows, L tokens a row, D hidden size, N trained tokens.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel

from plm.errors import PlmError
from plm.examples import IGNORED, Batch
from plm.losses import token_logprobs


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

    def forward(self, batch: Batch) -> Tensor:
        """Log-probability of every trained token, in nats; 0 for prompt and padding. Shape (B, L)."""
        # Rows are padded on the right, so a causal model needs no attention mask for the real tokens.
        hidden_BLD = self.model.base_model(input_ids=batch.input_ids_BL, use_cache=False).last_hidden_state
        trained_BL = batch.labels_BL[:, 1:] != IGNORED
        head = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        logprobs_N = token_logprobs(
            hidden_BLD[:, :-1][trained_BL], head.weight, batch.labels_BL[:, 1:][trained_BL], getattr(head, "bias", None)
        )
        logprobs_BL = logprobs_N.new_zeros(batch.labels_BL.shape)
        logprobs_BL[:, 1:][trained_BL] = logprobs_N
        return logprobs_BL
