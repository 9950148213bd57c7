"""How a method's numbers are computed, whatever they are: time and memory, not results."""

from __future__ import annotations

from dataclasses import dataclass

from plm.layout import LayoutKind


@dataclass(frozen=True)
class Compute:
    """Choices that change the time and memory of a step, and its numbers by rounding alone.

    Args:
        packing: Put the rows of a micro-batch into one line without padding, each seeing itself only. It pays on GPUs,
            where rows of different lengths would otherwise be padded to the longest one.
        share_prompts: Compute a prompt that several rows of a micro-batch begin with once (the pair of DPO, the group
            of GRPO), where this saves a fifth of the tokens.
        gradient_checkpointing: Keep only what enters each block, and compute the rest again in the backward pass: a
            third more computing for a fraction of the memory.
    """

    packing: bool = False
    share_prompts: bool = True
    gradient_checkpointing: bool = False

    @property
    def layout(self) -> LayoutKind:
        """How rows lie in the model's input."""
        if self.packing:
            return "packed"
        return "shared" if self.share_prompts else "padded"
