"""The tiny model, tokenizer, task and engine that the tests share; importable, so that a YAML can name them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from plm.datamodules.base import TaskDataModule
from plm.datamodules.splits import Splits
from plm.engines.base import Completion, Engine, SamplingParams
from plm.errors import StaleWeightsError
from plm.models import LoadedModel, ModelSource
from plm.records import Grade, Problem

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789 .,!?\n"


def character_tokenizer() -> PreTrainedTokenizerFast:
    """One token a character; what is not in the alphabet is `<unk>`."""
    words = ["<pad>", "<eos>", "<unk>", *ALPHABET]
    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def tiny_llama(
    vocab_size: int = 3 + len(ALPHABET), seed: int = 0, scale: float = 0.5, dropout: float = 0.0
) -> LlamaForCausalLM:
    """About 6,000 parameters, with weights large enough that predictions differ."""
    config = LlamaConfig(
        vocab_size=vocab_size, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=256, tie_word_embeddings=True, pad_token_id=0, eos_token_id=1,
        bos_token_id=None, attention_dropout=dropout,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" not in name:
                parameter.normal_(0.0, scale if "embed" not in name else 1.0, generator=generator)
    return model


class TinySource(ModelSource):
    """Makes the tiny Llama; dropout makes training depend on the global random state."""

    def __init__(self, seed: int = 0, dropout: float = 0.0) -> None:
        self.seed = seed
        self.dropout = dropout

    def load(self, texts: Iterable[str], extra_texts: Iterable[str] = (), seed: int = 0) -> LoadedModel:
        return LoadedModel(tiny_llama(seed=self.seed, dropout=self.dropout), character_tokenizer())


class PrefixGrader:
    """Right when the completion starts with the reference; `?` cannot be read, `!` is too slow."""

    def grade(self, problems: Sequence[Problem], completions: Sequence[str], *, progress=None) -> list[Grade]:
        return [self._one(problem, text) for problem, text in zip(problems, completions, strict=True)]

    def _one(self, problem: Problem, text: str) -> Grade:
        right = text.startswith(problem.reference)
        reason = "correct" if right else {"?": "parse", "!": "timeout"}.get(text[:1], "wrong")
        return Grade(right, float(right), text, reason, 0.0)


class TinyTask(TaskDataModule):
    """Eight problems a split: the answer to `w3` is `aw3`."""

    name = "tiny"

    def load_splits(self) -> Splits:
        def problem(prefix: str, index: int) -> Problem:
            text = f"{prefix}{index}"
            return Problem(text, text, "odd" if index % 2 else "even", f"a{text}", group=text, answers={"weak": ("b",)})

        letters = {"corpus": "c", "weak": "w", "lock": "l", "elicit": "e", "val": "v", "val_text": "t"}
        return {name: [problem(letter, index) for index in range(8)] for name, letter in letters.items()}

    def make_grader(self) -> PrefixGrader:
        return PrefixGrader()


class ScriptedEngine(Engine):
    """Answers from a list, over and over, and keeps the protocol's promises about weights."""

    def __init__(self, answers: Sequence[str]) -> None:
        self.answers = answers
        self.version: str | None = None
        self.calls = 0
        self.tokenizer = character_tokenizer()

    def sync(self, model: torch.nn.Module, version: str) -> None:
        self.version = version

    def generate(
        self, prompts: Sequence[Sequence[int]], params: SamplingParams, *, version: str, seeds=None, progress=None
    ) -> list[Completion]:
        if version != self.version:
            raise StaleWeightsError(f"engine holds {self.version}, asked for {version}")
        texts = [self.answers[(self.calls + index) % len(self.answers)] for index in range(len(prompts))]
        self.calls += len(prompts)
        return [Completion(self.tokenizer.encode(text), True) for text in texts]

    def next_logprobs(
        self, prompts: Sequence[Sequence[int]], token_ids: Sequence[int], *, version: str, progress=None
    ) -> list[list[float]]:
        """Prefers the candidate that the next answer starts with, three to one against each of the others."""
        result = []
        for completion in self.generate(prompts, SamplingParams(1, 0.0, 1), version=version):
            weights = [3.0 if completion.token_ids[:1] == [token] else 1.0 for token in token_ids]
            result.append([math.log(weight / sum(weights)) for weight in weights])
        return result

    def close(self) -> None:
        self.version = None
