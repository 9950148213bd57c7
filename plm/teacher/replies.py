"""Requests to an endpoint and what comes back, as plain records."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

CHAT, EMBEDDINGS = "/chat/completions", "/embeddings"


@dataclass(frozen=True)
class Request:
    """One question to an endpoint; equal content is the same question.

    Args:
        path: `/chat/completions` or `/embeddings`.
        text: The body, as JSON with sorted keys.
        draw: Tells apart several draws of one question at a temperature above 0.
    """

    path: str
    text: str
    draw: int = 0

    @property
    def body(self) -> dict[str, Any]:
        """The body."""
        return dict(json.loads(self.text))

    def content(self) -> dict[str, Any]:
        """What a reply is kept under."""
        return {"path": self.path, "body": self.body, "draw": self.draw}


class Choice(NamedTuple):
    """One of the texts of a reply; `finished` is false where the length limit cut it off."""

    text: str
    finished: bool


@dataclass(frozen=True)
class Reply:
    """What an endpoint answered.

    Args:
        body: The JSON object; empty where there is an error.
        error: Why there is no reply; empty where there is one.
        refused: Whether the endpoint refused the request for its content.
        cached: Whether it was on disk already.
    """

    body: Mapping[str, Any]
    error: str = ""
    refused: bool = False
    cached: bool = False

    @property
    def choices(self) -> list[Choice]:
        """The texts of a chat reply."""
        return [
            Choice(choice["message"].get("content") or "", choice.get("finish_reason") != "length")
            for choice in self.body.get("choices", ())
        ]

    @property
    def vectors(self) -> list[list[float]]:
        """The embeddings, in the order of the inputs."""
        rows = sorted(self.body.get("data", ()), key=lambda row: row["index"])
        return [row["embedding"] for row in rows]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, as the endpoint counts them; 0 where it does not say."""
        return self._usage("prompt_tokens")

    @property
    def completion_tokens(self) -> int:
        """Tokens of all texts, as the endpoint counts them; 0 where it does not say."""
        return self._usage("completion_tokens")

    def _usage(self, name: str) -> int:
        usage = self.body.get("usage")
        value = usage.get(name) if isinstance(usage, dict) else None
        return value if isinstance(value, int) and value >= 0 else 0


def chat_request(
    model: str,
    prompt: str | Sequence[Mapping[str, str]],
    *,
    temperature: float = 0.0,
    max_tokens: int | None = None,
    n: int = 1,
    draw: int = 0,
    more: Mapping[str, Any] | None = None,
) -> Request:
    """Makes a chat request.

    Args:
        model: As the endpoint names it.
        prompt: A user's message, or a list of messages.
        temperature: Of sampling.
        max_tokens: Length limit of each text.
        n: How many texts.
        draw: Tells apart several draws of the same question.
        more: Fields to set in the body, also those above; None takes a field away.

    Returns:
        The request.
    """
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(each) for each in prompt]
    body: dict[str, Any] = {"model": model, "messages": messages, "temperature": temperature}
    body |= {"max_tokens": max_tokens} | ({"n": n} if n > 1 else {}) | dict(more or {})
    return _make(CHAT, body, draw)


def embedding_request(model: str, texts: Sequence[str], *, more: Mapping[str, Any] | None = None) -> Request:
    """Makes a request for the embeddings of some texts; `more` is as for `chat_request`."""
    return _make(EMBEDDINGS, {"model": model, "input": list(texts), **(more or {})}, 0)


def _make(path: str, body: Mapping[str, Any], draw: int) -> Request:
    known = {name: value for name, value in body.items() if value is not None}
    return Request(path, json.dumps(known, sort_keys=True), draw)


def read_reply(request: Request, text: str) -> Reply:
    """Reads the body of a reply.

    Args:
        request: What was asked.
        text: The body.

    Returns:
        The reply, or one whose `error` says why this is none.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return Reply({}, error=f"the reply is not JSON: {text[:80]!r}")
    if not isinstance(body, dict):
        return Reply({}, error="the reply is JSON, but no object")
    fault = _chat_fault(body) if request.path == CHAT else _embedding_fault(body, len(request.body["input"]))
    return Reply({} if fault else body, error=fault)


def _chat_fault(body: Mapping[str, Any]) -> str:
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        return "the reply has no list `choices`"
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict) or not isinstance(message.get("content", None), (str, type(None))):
            return "the reply has a choice without a message's text"
    return ""


def _embedding_fault(body: Mapping[str, Any], inputs: int) -> str:
    rows = body.get("data")
    if not isinstance(rows, list) or len(rows) != inputs:
        return f"the reply has no list `data` of {inputs} embeddings"
    for row in rows:
        vector = row.get("embedding") if isinstance(row, dict) else None
        if not isinstance(vector, list) or not vector or not all(isinstance(value, (int, float)) for value in vector):
            return "the reply has an embedding that is no list of numbers"
    if sorted(str(row.get("index")) for row in rows) != sorted(map(str, range(inputs))):
        return "the reply's embeddings are not numbered from 0"
    return ""
