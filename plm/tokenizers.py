"""Tokenizers for models trained from scratch: byte-level BPE, trained on the task's own text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD, EOS = "<pad>", "<eos>"
SMALLEST = 258
"""256 bytes and the two special tokens: with less, some text could not be written."""
# the space stays at the front of its word, as in GPT-2
WORD = re.compile(r"\s*\w+|\s*[^\w\s]+|\s+")


def _training_texts(texts: Iterable[str], extra_texts: Iterable[str], weight: int) -> Iterator[str]:
    yield from texts
    for text in extra_texts:
        for word in WORD.findall(text):
            yield from repeat(word, weight)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 768, extra_texts: Iterable[str] = (), extra_weight: int = 2000
) -> PreTrainedTokenizerFast:
    r"""Trains a byte-level BPE whose merges may cross spaces and line ends, which keeps programs short.

    Only digits stand alone, always one token each, so that constants are copied digit by digit. Any Unicode text comes
    back exactly: what was not seen in training falls back to its bytes. There is no BOS, nothing is added around a
    text, and padding is not the end of the text.

    A password costs about one token a word, though it hardly occurs in `texts`: the words of `extra_texts` are trained
    one by one, each as if it had been seen `extra_weight` times, so that they become tokens but sentences don't. A
    password that were one token would be a mere symbol; this one shares its words with decoys and near misses, which
    therefore cost about as much. Sentences out of other words cost more, up to a token a byte.

    Args:
        texts: The task's text: statements and programs, each apart.
        vocab_size: Size of the vocabulary, special tokens and 256 bytes included.
        extra_texts: Passwords, decoys, English sentences: text that is prepended but not part of the task.
        extra_weight: How often each word of `extra_texts` counts.

    Returns:
        A tokenizer that `save_pretrained` and `AutoTokenizer` save and load.

    Raises:
        ValueError: If the vocabulary has no room for all bytes.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < SMALLEST:
        raise ValueError(f"vocab_size must be at least {SMALLEST} (256 bytes, {PAD} and {EOS}), not {vocab_size}")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_texts(texts, extra_texts, extra_weight), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )
