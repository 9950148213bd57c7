"""Tokens and money: what was spent, what a stage shows while it works."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from plm.progress import close_stage, console, open_stage, say
from plm.teacher.replies import Reply

_EVERY = 30.0  # seconds between lines where there is no terminal


@dataclass(frozen=True)
class Prices:
    """Prices in any currency for a million tokens; None where they were not given.

    Args:
        prompt: Of prompts.
        completion: Of completions.
    """

    prompt: float | None = None
    completion: float | None = None

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float | None:
        """The price of some tokens; None without prices."""
        if self.prompt is None or self.completion is None:
            return None
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass
class Meter:
    """Counts the tokens of replies: all that the data need, and what this run has paid for.

    Args:
        prices: For the cost.
    """

    prices: Prices
    prompt_tokens: int = 0
    completion_tokens: int = 0
    paid_prompt_tokens: int = 0
    paid_completion_tokens: int = 0
    uncounted: int = field(default=0, init=False)

    def add(self, reply: Reply) -> None:
        """Counts a reply."""
        self.prompt_tokens += reply.prompt_tokens
        self.completion_tokens += reply.completion_tokens
        if not reply.cached:
            self.paid_prompt_tokens += reply.prompt_tokens
            self.paid_completion_tokens += reply.completion_tokens
        self.uncounted += not reply.error and not reply.prompt_tokens

    def note(self) -> str:
        """The cost so far, in words; tokens where there are no prices."""
        cost = self.prices.cost(self.prompt_tokens, self.completion_tokens)
        tokens = f"{(self.prompt_tokens + self.completion_tokens) / 1000:,.0f}k tokens"
        return tokens if cost is None else f"{tokens}, cost {cost:,.2f}"

    @contextmanager
    def stage(self, description: str, total: int) -> Iterator[Stage]:
        """Shows a stage with what is left of it and the cost so far; lines every half a minute without a terminal."""
        stage = Stage(self, description, total)
        try:
            yield stage
        finally:
            stage.close()


class Stage:
    """A stage that is being shown.

    Args:
        meter: What its replies are counted by.
        description: What is done.
        total: How many replies or programs there will be.
    """

    def __init__(self, meter: Meter, description: str, total: int) -> None:
        self._meter, self._description, self._total = meter, description, total
        self._start = self._shown = time.monotonic()
        self._new = 0
        self._stage = open_stage(description, total)

    def reply(self, reply: Reply) -> None:
        """Counts a reply and shows it."""
        self._meter.add(reply)
        self._new += not reply.cached
        self.advance(1)

    def advance(self, n: int) -> None:
        """Shows that some more are done."""
        self._stage.advance(n, self._meter.note())
        now = time.monotonic()
        if not console.is_terminal and now - self._shown >= _EVERY:
            self._shown = now
            done = max(1, self._new or self._stage.done)
            left = (now - self._start) / done * (self._total - self._stage.done)
            note = f"about {left / 60:.0f} min left; {self._meter.note()}"
            say(f"{self._description}: {self._stage.done} of {self._total}, {note}")

    def close(self) -> None:
        """Takes the stage off the screen; without a terminal a line says that it is over."""
        close_stage(self._stage)
        if self._total and not console.is_terminal:
            say(f"{self._description}: {self._stage.done} of {self._total}; {self._meter.note()}")
