"""Asking a model: prompts go to the task's engine, which writes an answer or scores the choices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from plm.choosing import choose
from plm.engines.base import SamplingParams
from plm.engines.stopping import StopStrings

if TYPE_CHECKING:
    from plm.datamodules.base import TaskDataModule
    from plm.modules.base import PolicyModule

Choices = tuple[str, ...]


class Request(NamedTuple):
    """A question to the model.

    Attributes:
        prompt: The text that is shown.
        seed: Its own, for a temperature above 0.
        choices: What the answer is chosen from; None where it is written.
    """

    prompt: str
    seed: int
    choices: Choices | None


class Written(NamedTuple):
    """What came back: text, number of tokens, and whether it is whole."""

    text: str
    tokens: int
    finished: bool


class Asker:
    """The current weights, handed over to the task's engine, and questions to them.

    A prompt that does not fit into the model's context together with the longest answer is not asked.

    Args:
        task: Its engine answers; its tokenizer and its longest completion hold.
        module: Its current weights answer. All processes must make an asker together.
        temperature: 0 is greedy; else the softmax temperature, over tokens or over choices.
        progress: Called with the number of questions that have just been answered.
    """

    def __init__(
        self,
        task: TaskDataModule,
        module: PolicyModule,
        temperature: float,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        model, self.version = module.whole_model(), module.weights_version
        task.engine.sync(model, self.version)
        self.task = task
        self.room: int | None = getattr(model.config, "max_position_embeddings", None)
        stop = StopStrings(task.stop, task.decode) if task.stop else None
        self.params = SamplingParams(task.max_new_tokens, temperature, task.eos_token_id, stop)
        self.progress = progress

    def write(self, share: Sequence[Request]) -> list[Written]:
        """An answer to each question: the most probable choice (or a draw), or a completion; nothing without room."""
        written = [Written("", 0, False)] * len(share)
        for choices, rows, ids in self._by_choices(share):
            seeds = [share[row].seed for row in rows]
            made = self._generate(ids, seeds) if choices is None else self._choose(ids, seeds, choices)
            for row, text in zip(rows, made, strict=True):
                written[row] = text
        return written

    def score(self, share: Sequence[Request]) -> list[list[float]]:
        """The log-probability of each question's choices, in nats, adding up to probability 1; none without room."""
        scored: list[list[float]] = [[] for _ in share]
        for choices, rows, ids in self._by_choices(share):
            for row, logprobs in zip(rows, self._logprobs(ids, choices or ()), strict=True):
                scored[row] = logprobs
        return scored

    def _by_choices(self, share: Sequence[Request]) -> Iterator[tuple[Choices | None, list[int], list[list[int]]]]:
        """The questions that fit, with their token ids, in groups that share their choices: one call of the engine."""
        groups: dict[Choices | None, tuple[list[int], list[list[int]]]] = {}
        for row, request in enumerate(share):
            ids = self.task.encode_prompt(request.prompt)
            new_tokens = self.params.max_new_tokens if request.choices is None else 1
            if self.room is None or len(ids) + new_tokens <= self.room:
                rows, prompts = groups.setdefault(request.choices, ([], []))
                rows.append(row)
                prompts.append(ids)
            elif self.progress:
                self.progress(1)
        return ((choices, rows, prompts) for choices, (rows, prompts) in groups.items())

    def _generate(self, ids: Sequence[Sequence[int]], seeds: Sequence[int]) -> list[Written]:
        made = self.task.engine.generate(ids, self.params, version=self.version, seeds=seeds, progress=self.progress)
        return [Written(self._text(row.token_ids), len(row.token_ids), row.finished) for row in made]

    def _text(self, token_ids: Sequence[int]) -> str:
        text = self.task.decode(token_ids)
        return self.params.stop.cut(text) if self.params.stop else text

    def _choose(self, ids: Sequence[Sequence[int]], seeds: Sequence[int], choices: Choices) -> list[Written]:
        rows = zip(self._logprobs(ids, choices), seeds, strict=True)
        places = [choose(logprobs, self.params.temperature, seed) for logprobs, seed in rows]
        return [Written(choices[place], 1, True) for place in places]

    def _logprobs(self, ids: Sequence[Sequence[int]], choices: Choices) -> list[list[float]]:
        tokens = self.task.choice_ids(choices)
        return self.task.engine.next_logprobs(ids, tokens, version=self.version, progress=self.progress)
