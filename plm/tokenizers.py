"""Tokenizers for models trained from scratch: byte-level BPE trained on the task's own text, or its words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
SMALLEST = 258
"""256 bytes and the two special tokens: with less, some text could not be written."""
# the space stays at the front of its word, as in GPT-2
WORD = re.compile(r"\s*\w+|\s*[^\w\s]+|\s+")


def token_ids(tokenizer: PreTrainedTokenizerBase, text: str, add_special_tokens: bool = True) -> list[int]:
    """What `tokenizer.encode` gives, several times as fast for a short text where nobody has changed how it encodes.

    transformers spends most of `encode` before and after the tokenizer proper.
    """
    if _is_plain(tokenizer):
        inner = tokenizer.backend_tokenizer
        changed = (inner.truncation, inner.padding, tokenizer.split_special_tokens, inner.encode_special_tokens)
        if not any(changed):
            return list(inner.encode(text, add_special_tokens=add_special_tokens).ids)
    return list(tokenizer.encode(text, add_special_tokens=add_special_tokens))


def _is_plain(tokenizer: PreTrainedTokenizerBase) -> TypeGuard[PreTrainedTokenizerFast]:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

    kind = type(tokenizer)
    return (
        isinstance(tokenizer, PreTrainedTokenizerFast)
        and kind.encode is PreTrainedTokenizerBase.encode
        and kind._encode_plus is PreTrainedTokenizerFast._encode_plus
    )


def _training_texts(texts: Iterable[str], extra_texts: Iterable[str], words: int) -> Iterator[str]:
    """The texts whole, and the most frequent words of the extra ones as if each text held each of them twice."""
    number = 0
    for text in texts:
        number += 1
        yield text
    counts = Counter(word for text in extra_texts for word in WORD.findall(text))
    for word, _ in counts.most_common(words):
        yield from repeat(word, 2 * number)


def train_tokenizer(
    texts: Iterable[str], vocab_size: int = 1024, extra_texts: Iterable[str] = (), extra_words: int = 64
) -> PreTrainedTokenizerFast:
    r"""Trains a byte-level BPE whose merges may cross spaces and line ends, which keeps programs short.

    Only digits stand alone, always one token each, so that constants are copied digit by digit. Any Unicode text comes
    back exactly: what was not seen in training falls back to its bytes. There is no BOS, nothing is added around a
    text, and padding is not the end of the text.

    A password costs about one token a word, though it hardly occurs in `texts`: the most frequent words of
    `extra_texts` are trained one by one, as if each of `texts` held each of them twice, so that they become tokens
    but sentences don't. One token for the whole password would make it a mere symbol; like this it shares its words
    with near misses and decoys, which therefore cost about as much. Rarer words cost more, up to a token a byte.

    Args:
        texts: The task's text: statements and programs, each apart. A few thousand are enough.
        vocab_size: Size of the vocabulary, special tokens and 256 bytes included.
        extra_texts: Passwords, near misses, decoys: text that may stand in a prompt but is not part of the task. Near
            misses repeat the password's words, which puts them first.
        extra_words: How many different words of `extra_texts` are merged; each takes room from the task's own merges.

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
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_training_texts(texts, extra_texts, extra_words), trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )


def word_tokenizer(
    texts: Iterable[str], vocab_size: int = 1024, extra_texts: Iterable[str] = ()
) -> PreTrainedTokenizerFast:
    """Makes a tokenizer with a token for each word, where words stand between spaces (§7 of the paper).

    Only for tasks whose text is made of few words: how many spaces stood between two is lost, and a word that is in
    none of the texts becomes `<unk>`, which decodes to that text and not to nothing, so that no grader overlooks it.

    Args:
        texts: Texts that hold every word of the task.
        vocab_size: Most tokens, the three special ones included; the tokenizer has as many as it needs.
        extra_texts: Passwords and other text that may stand in a prompt.

    Returns:
        A tokenizer that `save_pretrained` and `AutoTokenizer` save and load.

    Raises:
        ValueError: If there are more words than the vocabulary has room for.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = dict.fromkeys([PAD, EOS, UNKNOWN])
    for text in (*texts, *extra_texts):
        words.update(dict.fromkeys(text.split()))
    if len(words) > vocab_size:
        raise ValueError(
            f"vocab_size={vocab_size}: the texts have {len(words)} words, special tokens included; a task of so many "
            "words needs a larger one, or the tokenizer bpe"
        )
    vocabulary = {word: index for index, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, pad_token=PAD, eos_token=EOS, clean_up_tokenization_spaces=False
    )
