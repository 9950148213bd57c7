"""Asks any endpoint that speaks OpenAI's protocol (`vllm serve` is one): chat and embeddings, many at once, each once.

This is the one client of the package: teachers (`plm.teacher`) and rewards from embeddings and judges use it. Make
requests with `chat_request` and `embedding_request`, give all of them to `Client.ask`, and read `Reply.choices`,
`Reply.vectors` or the raw `Reply.body` (log-probabilities of a judge).

    from plm.teacher import Client, chat_request
    client = Client(base_url="http://localhost:8000/v1", cache="runs/teacher/replies")
    (reply,) = client.ask([chat_request("some-model", "Say hello.", max_tokens=20)])

What comes back is on disk before `ask` returns it, under the content of the request (path, body, draw; not the URL or
the key), so that a process that was killed asks for nothing twice.
"""

from __future__ import annotations

import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from plm.errors import PlmError
from plm.files import append_jsonl
from plm.progress import say
from plm.suggestions import nearest
from plm.teacher.pace import Pace, backoff, retry_after
from plm.teacher.replies import Reply, Request, read_reply
from plm.teacher.store import Store

_FIRST_TRIES = 3  # of an endpoint that has never answered
_MALFORMED_TRIES = 3
_MOST_REFUSED = 32  # while nothing is answered
_LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")
_LONG_WAIT = 10.0  # seconds; longer waits are said


@dataclass
class Counts:
    """What a client has done: replies by where they came from, failures, and tokens as the endpoint counts them."""

    fresh: int = 0
    cached: int = 0
    retries: int = 0
    malformed: int = 0
    refused: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def answered(self) -> int:
        """Replies, also those on disk: what is left when everything else is, may be what is refused each time."""
        return self.fresh + self.cached


@dataclass
class Client:
    """A client of one endpoint.

    Args:
        base_url: Of the endpoint, usually ending in `/v1`.
        cache: Folder of the replies; it also holds `malformed.jsonl`, the bodies that were no replies.
        api_key_variable: The environment variable with the key. An endpoint on this machine needs none.
        concurrency: Requests under way at once.
        requests_per_minute: Our own limit; the endpoint's (429, Retry-After) is respected anyway.
        timeout: Seconds for one reply.
        patience: Seconds after the first failure of a request for which it is tried again.
    """

    base_url: str
    cache: str | Path
    api_key_variable: str = "OPENAI_API_KEY"
    concurrency: int = 16
    requests_per_minute: float | None = None
    timeout: float = 180.0
    patience: float = 600.0
    counts: Counts = field(default_factory=Counts, init=False)

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PlmError(f"base_url is {self.base_url!r}; it must be a URL such as http://localhost:8000/v1")
        for name in ("concurrency", "timeout", "patience"):
            if not getattr(self, name) > 0:
                raise PlmError(f"{name} is {getattr(self, name)}; it must be above 0")
        if self.requests_per_minute is not None and not self.requests_per_minute > 0:
            raise PlmError(f"requests_per_minute is {self.requests_per_minute}; it must be above 0")
        self._store = Store(self.cache)
        self._pace = Pace(self.requests_per_minute)
        self._lock = threading.Lock()
        self._openai: Any = None

    def cached(self, request: Request) -> Reply | None:
        """The reply to a request that was asked before, None if it was not; asks nobody."""
        body = self._store.get(request.content())
        return None if body is None else Reply(body, cached=True)

    def ask(self, requests: Sequence[Request], progress: Callable[[Reply], None] | None = None) -> list[Reply]:
        """Asks, or finds the reply on disk.

        Replies under way are waited for and kept when another request fails for good, or at Ctrl-C.

        Args:
            requests: What to ask; equal ones are asked once.
            progress: Called in this thread with every reply, as it comes.

        Returns:
            A reply for each request, in their order. A request that the endpoint refuses for its content (too long,
            filtered), or answers with no reply three times, has a reply with `error`, which is not kept.

        Raises:
            PlmError: If the endpoint is down, the key is missing or refused, there is no such model, the credit is
                used up, requests fail for longer than `patience`, or every request is refused.
        """
        replies: dict[Request, Reply] = {}
        for request in dict.fromkeys(requests):
            if (found := self.cached(request)) is not None:
                replies[request] = found
                self.counts.cached += 1
                if progress:
                    progress(found)
        missing = [request for request in dict.fromkeys(requests) if request not in replies]
        if missing:
            replies |= self._ask_missing(missing, progress)
        return [replies[request] for request in requests]

    def _ask_missing(self, requests: list[Request], progress: Callable[[Reply], None] | None) -> dict[Request, Reply]:
        self._connect()
        work = _Work(self, threading.Event())
        replies: dict[Request, Reply] = {}
        with ThreadPoolExecutor(self.concurrency, thread_name_prefix="plm-client") as pool:
            futures = {pool.submit(work.ask, request): request for request in requests}
            try:
                for future in as_completed(futures):
                    reply = future.result()
                    replies[futures[future]] = reply
                    if progress:
                        progress(reply)
            except BaseException:
                work.stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        refused = [reply.error for reply in replies.values() if reply.refused]
        if len(refused) == len(requests) and not self.counts.answered:
            raise PlmError(f"{self.base_url} refuses every request: {refused[0]}")
        return replies

    def _connect(self) -> None:
        if self._openai is not None:
            return
        try:
            import openai
        except ImportError as error:
            raise PlmError(
                "the package `openai` is not installed: pip install -e '.[api]' in plm's checkout"
            ) from error
        self._openai = openai.OpenAI(
            base_url=self.base_url, api_key=self._key(), max_retries=0, timeout=self.timeout
        )  # our own retries hold back all threads, and write down what is no reply

    def _key(self) -> str:
        key = os.environ.get(self.api_key_variable, "")
        if not key and urllib.parse.urlsplit(self.base_url).hostname not in _LOCAL:
            raise PlmError(
                f"there is no key for {self.base_url}: put it into the environment variable {self.api_key_variable} "
                "(any word, for an endpoint without keys)"
            )
        return key or "none"


class _Failure(NamedTuple):
    text: str
    wait: float | None  # what the endpoint asks for
    limited: bool  # whether the endpoint holds all requests back
    unreachable: bool


class _Work:
    """One call of `Client.ask`, seen from its threads."""

    def __init__(self, client: Client, stop: threading.Event) -> None:
        import openai

        self._client, self.stop, self._module = client, stop, openai

    def ask(self, request: Request) -> Reply:
        """Tries until there is a reply, on disk, or an error that more tries do not mend."""
        client, first, attempt, malformed = self._client, 0.0, 0, 0
        while True:
            if not client._pace.wait(self.stop):
                raise PlmError("stopped because another request failed")
            outcome = self._try(request)
            if isinstance(outcome, Reply):
                if not outcome.error or outcome.refused:
                    return outcome
                malformed += 1
                if malformed == _MALFORMED_TRIES:
                    return outcome
                outcome = _Failure(outcome.error, None, False, False)
            first = first or time.monotonic()
            with client._lock:
                client.counts.retries += 1
            self._rest(outcome, attempt, time.monotonic() - first)
            attempt += 1

    def _rest(self, failure: _Failure, attempt: int, failing: float) -> None:
        client = self._client
        seconds = backoff(attempt) if failure.wait is None else failure.wait
        hopeless = failure.unreachable and not client.counts.fresh and attempt + 1 >= _FIRST_TRIES
        if hopeless or failing + seconds > client.patience:
            later = "" if hopeless else f" (for {failing:.0f} s; it would take {seconds:.0f} s more)"
            raise PlmError(f"{failure.text}{later}; {_KEPT}")
        if failure.limited:
            client._pace.hold(seconds)
            if seconds >= _LONG_WAIT:
                say(f"{client.base_url} asks to wait {seconds:.0f} s")
        elif self.stop.wait(seconds):
            raise PlmError("stopped because another request failed")

    def _try(self, request: Request) -> Reply | _Failure:
        client, module = self._client, self._module
        resource = client._openai.embeddings if request.path == "/embeddings" else client._openai.chat.completions
        body = dict(request.body)
        own = ("model", "input") if request.path == "/embeddings" else ("model", "messages")
        given = {name: body.pop(name) for name in own if name in body}
        if request.path == "/embeddings":  # the library would ask for base64
            given["encoding_format"] = body.pop("encoding_format", "float")
        try:
            raw = resource.with_raw_response.create(**given, extra_body=body)
        except module.APITimeoutError:
            return _Failure(f"{client.base_url} does not answer within {client.timeout:g} s", None, False, False)
        except module.APIConnectionError as error:
            reason = error.__cause__ or error
            return _Failure(f"nothing answers at {client.base_url} ({reason}): is it running?", None, False, True)
        except module.APIStatusError as error:
            return self._refusal(request, error)
        return self._keep(request, raw.http_response.text)

    def _keep(self, request: Request, text: str) -> Reply:
        client = self._client
        reply = read_reply(request, text)
        with client._lock:
            if reply.error:
                client.counts.malformed += 1
            else:
                client.counts.fresh += 1
                client.counts.prompt_tokens += reply.prompt_tokens
                client.counts.completion_tokens += reply.completion_tokens
        if reply.error:
            row = {"reason": reply.error, "text": text, "url": client.base_url, **request.content()}
            append_jsonl(client._store.folder / "malformed.jsonl", [row])
        else:
            client._store.put(request.content(), reply.body)
        return reply

    def _refusal(self, request: Request, error: Any) -> Reply | _Failure:
        client, status = self._client, int(error.status_code)
        text = error.body.get("message") if isinstance(error.body, dict) else None
        said = f"{status}: {' '.join(str(text or error.message).split())[:300]}"
        if error.code == "insufficient_quota" or status == 402:
            raise PlmError(f"{client.base_url}: the credit is used up ({said}); {_KEPT}")
        if status == 429 or status in (503, 529):
            return _Failure(
                f"{client.base_url} limits the rate ({said})", retry_after(error.response.headers), True, False
            )
        if status in (408, 409, 425) or status >= 500:
            return _Failure(f"{client.base_url} fails ({said})", retry_after(error.response.headers), False, False)
        if status in (401, 403):
            raise PlmError(f"{client.base_url} refuses the key in {client.api_key_variable} ({said})")
        if status == 404 or error.code == "model_not_found":
            raise PlmError(self._explain_missing(str(request.body.get("model")), said))
        if status in (400, 413, 422):
            with client._lock:
                client.counts.refused += 1
                hopeless = client.counts.refused >= _MOST_REFUSED and not client.counts.answered
            if hopeless:
                raise PlmError(f"{client.base_url} refuses every request: {said}")
            return Reply({}, error=said, refused=True)
        raise PlmError(f"{client.base_url} answers {said}")

    def _explain_missing(self, model: str, said: str) -> str:
        client = self._client
        try:
            models = [str(entry.id) for entry in client._openai.models.list()]
        except self._module.OpenAIError:
            models = []
        if models and model not in models:
            shown = ", ".join(models[:8]) + (", …" if len(models) > 8 else "")
            return f"{client.base_url} has no model {model!r}{nearest(model, models)}; it has {shown}"
        return f"{client.base_url} answers {said}; is the URL right (it usually ends in /v1), and the model {model!r}?"


_KEPT = "what was answered is kept, and the same command goes on"
