"""Scripted replies of judges and embedders, on the real HTTP server of `tests.teacher.server`."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.teacher.server import Endpoint, failed


class Scripted(NamedTuple):
    """What the server sends back: a body (text as it is, else JSON), a status, headers, and seconds to wait before."""

    body: Any
    status: int = 200
    headers: dict[str, str] = {}
    delay: float = 0.0


class Served(NamedTuple):
    """A running server: where it is, and the bodies (with `path`) and keys that came, in order."""

    url: str
    requests: list[dict[str, Any]]
    keys: list[str]


@contextlib.contextmanager
def serving(script: Callable[[dict[str, Any], int], Scripted]) -> Iterator[Served]:
    """Answers each POST by a function of its body and of how many came before, while the block runs."""
    requests: list[dict[str, Any]] = []
    lock = threading.Lock()

    def answer(path: str, body: dict[str, Any] | None) -> Any:
        if body is None:
            return {"object": "list", "data": [{"id": "judge", "object": "model"}]}
        with lock:
            count = len(requests)
            requests.append({"path": path, **body})
            served.keys.append(endpoint.asked[-1][2])
        reply = script(body, count)
        time.sleep(reply.delay)
        text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
        return reply.status, reply.headers, text

    endpoint = Endpoint(answer)
    served = Served(endpoint.url, requests, [])
    try:
        yield served
    finally:
        endpoint.close()


def chat_reply(top: dict[str, float] | None, content: str = "3") -> Scripted:
    """A chat completion of one token, with the log-probabilities of the likeliest ones."""
    listed = [{"token": token, "logprob": value, "bytes": None} for token, value in (top or {}).items()]
    logprobs = None if top is None else {"content": [{"token": content, "logprob": -0.1, "top_logprobs": listed}]}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "logprobs": logprobs,
        "finish_reason": "length",
    }
    return Scripted({"id": "1", "object": "chat.completion", "created": 0, "model": "judge", "choices": [choice]})


def error_reply(status: int, message: str, **headers: str) -> Scripted:
    """An error as OpenAI's servers send it."""
    status, headers, text = failed(status, message, **headers)
    return Scripted(text, status, headers)
