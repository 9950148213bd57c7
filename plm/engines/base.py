"""Who turns prompts into completions: what the Hugging Face and vLLM engines have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from plm.engines.stopping import StopStrings


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to generate.

    Args:
        max_new_tokens: Most tokens to generate for a prompt, the end token included.
        temperature: 0 is greedy decoding; else the softmax temperature.
        eos_token_id: The token that ends a completion.
        stop: Texts that end a completion too; none where None.
    """

    max_new_tokens: int
    temperature: float
    eos_token_id: int
    stop: StopStrings | None = None


class Completion(NamedTuple):
    """What an engine generated for one request, without the end token.

    Attributes:
        token_ids: The generated tokens; with a stop string, up to and with the one that completes it, and
            `params.stop.cut` takes it off their text.
        finished: True when the end token or a stop string was generated, False when `max_new_tokens` cut the
            completion off.
    """

    token_ids: list[int]
    finished: bool

    @classmethod
    def of(cls, token_ids: list[int], params: SamplingParams) -> Completion:
        """What counts of the tokens that an engine generated: those before the end token, up to a stop string."""
        ended = params.eos_token_id in token_ids
        kept = token_ids[: token_ids.index(params.eos_token_id)] if ended else token_ids
        stopped = params.stop.shortened(kept) if params.stop else None
        return cls(kept, ended) if stopped is None else cls(stopped, True)


class Engine(ABC):
    """Generates completions with weights that were handed over explicitly."""

    worth_keeping: bool = False
    """Whether starting it takes so long that the next run in this process should have it."""

    @abstractmethod
    def sync(self, model: nn.Module, version: str) -> None:
        """Takes over the weights of a Hugging Face causal language model and remembers them as `version`."""

    @abstractmethod
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        params: SamplingParams,
        *,
        version: str,
        seeds: Sequence[int] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        """Generates one completion for each prompt, in order.

        Args:
            prompts: Token ids of each prompt; none may be empty.
            params: Shared by all prompts.
            version: The weights the caller means to use.
            seeds: One for each prompt, needed when the temperature is above 0: the same seed, prompt and weights give
                the same completion, whatever else is in the call.
            progress: Called with the number of completions that have just been finished.

        Raises:
            StaleWeightsError: If `version` is not what was last synced.
            ValueError: If a prompt is empty, or an argument is out of range.
            PlmError: If a prompt and its completion may be too long for the model.
        """

    @abstractmethod
    def next_logprobs(
        self,
        prompts: Sequence[Sequence[int]],
        token_ids: Sequence[int],
        *,
        version: str,
        progress: Callable[[int], None] | None = None,
    ) -> list[list[float]]:
        """Scores candidates for the one token after each prompt, as multiple-choice tasks need it.

        Args:
            prompts: Token ids of each prompt; none may be empty.
            token_ids: The candidates, different from each other, the same for all prompts.
            version: The weights the caller means to use.
            progress: Called with the number of prompts that have just been scored.

        Returns:
            For each prompt, in order, the log-probability of each candidate, in nats, *renormalised over the
            candidates*: the exponentials of a row add up to 1.

        Raises:
            StaleWeightsError: If `version` is not what was last synced.
            ValueError: If a prompt is empty, or the candidates are none or not different.
            PlmError: If a prompt is too long for the model.
        """

    def forget(self) -> None:
        """Lets go of the weights, whose names may come again in the next run; what takes long to start stays."""
        self.close()

    @abstractmethod
    def close(self) -> None:
        """Frees what the engine holds; generating afterwards raises."""
