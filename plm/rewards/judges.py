"""Who grades answers for `JudgeReward`: a model behind an endpoint, or a frozen second model in this process."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch

from plm.datamodules.chat import chat_prompt, encode_chat
from plm.engines.base import Engine
from plm.engines.hf import HFEngine
from plm.errors import PlmError
from plm.models import LoadedModel, load_pretrained
from plm.references import ModelReference
from plm.teacher.client import Client
from plm.teacher.replies import Reply, chat_request

DIGITS = 5
LISTED = 20  # the most that OpenAI's endpoint lists, and vLLM's by default
VERSION = "judge"  # its weights never change

Grades = list[float]
"""Log-probabilities of the grades 1 to 5, in nats; minus infinity for one that the judge did not list."""


class Unusable(NamedTuple):
    """A reply without a grade.

    Attributes:
        reason: What is the matter with it.
    """

    reason: str


class Judge(ABC):
    """Says how probable it finds each grade."""

    @abstractmethod
    def grades(
        self, prompts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Grades | Unusable]:
        """Log-probabilities of the digits 1 to 5 as the one token after each prompt, or why there are none.

        Args:
            prompts: Questions that end where the digit is due.
            progress: Called with the number of questions that have just been answered.
        """


class EndpointJudge(Judge):
    """A chat model behind an OpenAI-compatible endpoint that reports log-probabilities (extra `api`).

    Args:
        model: As the endpoint names it.
        client: Server, key, cache of the replies, pace.
    """

    def __init__(self, model: str, client: Client) -> None:
        self.model = model
        self.client = client

    def grades(
        self, prompts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Grades | Unusable]:
        """What the 20 most probable first tokens say about each digit; blanks around a digit do not count.

        Raises:
            PlmError: If the server fails (see `Client.ask`).
        """
        more = {"logprobs": True, "top_logprobs": LISTED}
        requests = [
            chat_request(self.model, prompt.encode("utf-8", "replace").decode(), max_tokens=1, more=more)
            for prompt in prompts
        ]
        replies = self.client.ask(requests, progress and (lambda _: progress(1)))
        return [_read(reply) for reply in replies]


class ModelJudge(Judge):
    """A frozen Hugging Face model in this process, loaded once, at its first use.

    It takes its own memory beside the model that is trained: 2 bytes a parameter in bfloat16 (14 GB for 7B parameters)
    on its device, in every process of the run.

    Args:
        model: A hub id, a directory, or a config, meaning the model that this config makes. One with a chat template
            gets the question as a user message.
        dtype: Type of the weights, as torch names it.
        device: Where it computes, as torch names it.
        engine: Who computes; an engine of its own, the Hugging Face one, where None.
    """

    def __init__(
        self,
        model: ModelReference,
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        device: str = "cpu",
        engine: Engine | None = None,
    ) -> None:
        self.model = model
        self.dtype = dtype
        self.device = device
        self.engine: Engine = engine or HFEngine()
        self._loaded: LoadedModel | None = None

    def grades(
        self, prompts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Grades | Unusable]:
        """The model's log-probabilities, renormalised over the five digits; a space before a digit does not count.

        Raises:
            PlmError: If there is no such model, or its tokenizer has no single token for each digit.
        """
        different = list(dict.fromkeys(prompts))  # in another batch, equal ones would differ in the last digits
        made = dict(zip(different, self._grade(different, progress), strict=True))
        if progress:
            progress(len(prompts) - len(different))
        return [made[prompt] for prompt in prompts]

    def _grade(self, prompts: Sequence[str], progress: Callable[[int], None] | None) -> list[Grades | Unusable]:
        loaded = self._load()
        shown = [chat_prompt(loaded.tokenizer, each) if loaded.tokenizer.chat_template else each for each in prompts]
        ids = [encode_chat(loaded.tokenizer, each) for each in shown]
        room = getattr(loaded.model.config, "max_position_embeddings", None)
        fit = [row for row, prompt in enumerate(ids) if prompt and (room is None or len(prompt) < room)]
        grades: list[Grades | Unusable] = [Unusable(f"a question longer than the judge's {room} tokens")] * len(ids)
        if fit:
            tokens = self._tokens(loaded, shown[fit[0]])
            flat = [token for digit in tokens for token in digit]
            made = self.engine.next_logprobs([ids[row] for row in fit], flat, version=VERSION, progress=progress)
            for row, logprobs in zip(fit, made, strict=True):
                left = iter(logprobs)
                grades[row] = [_log_sum([next(left) for _ in digit]) for digit in tokens]
        if progress:
            progress(len(ids) - len(fit))
        return grades

    def _tokens(self, loaded: LoadedModel, prompt: str) -> list[list[int]]:
        """The tokens of each digit after a question, with and without a space before it, where these are one token.

        All questions end alike, and what a digit is after them depends on their end only.
        """
        end, tokenizer = prompt.rsplit("\n", 1)[-1] or "\n", loaded.tokenizer
        before: list[int] = tokenizer.encode(end)
        found: list[list[int]] = []
        for digit in range(1, DIGITS + 1):
            rows = [tokenizer.encode(f"{end}{space}{digit}") for space in (" ", "")]
            ids = [row[-1] for row in rows if row[:-1] == before and row[-1] != tokenizer.unk_token_id]
            found.append(list(dict.fromkeys(ids)))
        flat = [token for ids in found for token in ids]
        if not all(found) or len(set(flat)) < len(flat):
            raise PlmError(f"the tokenizer of the judge {self.model} has no single token for each digit after {end!r}")
        return found

    def _load(self) -> LoadedModel:
        if self._loaded is None:
            loaded = load_pretrained(str(self.model), getattr(torch, self.dtype))
            try:
                loaded.model.to(self.device)  # type: ignore[arg-type]
            except (RuntimeError, AssertionError) as error:
                raise PlmError(f"ModelJudge's device {self.device!r}: {' '.join(str(error).split())[:200]}") from error
            loaded.model.requires_grad_(False)
            self.engine.sync(loaded.model, VERSION)
            self._loaded = loaded
        return self._loaded


def _read(reply: Reply) -> Grades | Unusable:
    """The digits' log-probabilities in a reply of the chat endpoint."""
    if reply.error:
        return Unusable(reply.error)
    try:
        listed = reply.body["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        tokens = [(str(each["token"]).strip(), float(each["logprob"])) for each in listed]
    except (TypeError, ValueError, LookupError):
        return Unusable("a reply without log-probabilities")
    found = [[value for token, value in tokens if token == str(digit)] for digit in range(1, DIGITS + 1)]
    grades = [_log_sum(values) for values in found]
    return grades if math.isfinite(max(grades)) else Unusable("a reply that is not a digit from 1 to 5")


def _log_sum(values: Sequence[float]) -> float:
    """The logarithm of a sum of exponentials; minus infinity for no values."""
    usable = [value for value in values if math.isfinite(value)]
    if not usable:
        return -math.inf
    largest = max(usable)
    return largest + math.log(sum(math.exp(value - largest) for value in usable))
