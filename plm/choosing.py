"""Answers that are chosen rather than written: the tokens that choices are, and the choice by their probabilities."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase

from plm.errors import PlmError


@functools.lru_cache(maxsize=16)
def next_tokens(tokenizer: PreTrainedTokenizerBase, context: str, choices: tuple[str, ...]) -> list[int]:
    """The one token that each choice is when it follows a text that ends without a space.

    Byte-level tokenizers (GPT-NeoX, Llama 3) write the space into the token (` A`), SentencePiece ones (Llama 2,
    Mistral) mark it there (`▁A`). In both, `context` and `context A` share all tokens but the last, which is the one to
    score: scoring `A` alone would measure a token that never follows this text. Tokenizers that have no such token are
    asked for the choice without a space.

    Args:
        tokenizer: Of the model that chooses.
        context: What the prompts end with.
        choices: Short texts, all different, for instance letters.

    Returns:
        A token for each choice, all different.

    Raises:
        PlmError: If a choice is more than one token, or two are the same one.
    """
    before: list[int] = tokenizer.encode(context)
    for space in (" ", ""):
        ids = [tokenizer.encode(f"{context}{space}{choice}") for choice in choices]
        last = [row[-1] for row in ids if row[:-1] == before and row[-1] != tokenizer.unk_token_id]
        if len(last) == len(choices) == len(set(last)):
            return last
    raise PlmError(
        f"the tokenizer has no single token for each of {', '.join(choices)} after {context[-20:]!r}, so their "
        "probabilities cannot be compared: let the model write its answer (data.init_args.scoring: generation)"
    )


def choose(logprobs: Sequence[float], temperature: float, seed: int) -> int:
    """Picks a choice: the most probable one at temperature 0, the first of equals; else a draw.

    Args:
        logprobs: Of each choice, in nats.
        temperature: Of the softmax over the choices.
        seed: The only source of randomness.

    Returns:
        The place of the choice.
    """
    if temperature == 0:
        return max(range(len(logprobs)), key=lambda index: logprobs[index])
    largest = max(logprobs)
    cumulative = np.cumsum([math.exp((value - largest) / temperature) for value in logprobs])
    uniform = np.random.Generator(np.random.Philox(key=seed % 2**128)).random()
    return min(int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right")), len(logprobs) - 1)


def as_distribution(choices: Sequence[str], logprobs: Sequence[float]) -> Mapping[str, float]:
    """Choice → probability; they add up to 1."""
    weights = [math.exp(value - max(logprobs)) for value in logprobs]
    return {choice: weight / sum(weights) for choice, weight in zip(choices, weights, strict=True)}
