"""When the next request may leave: a rate of our own, and the pauses that an endpoint asks for."""

from __future__ import annotations

import email.utils
import random
import threading
import time
from collections.abc import Mapping

_LONGEST_BACKOFF = 60.0


class Pace:
    """Spaces requests of many threads out, and holds all of them back when the endpoint says so.

    Args:
        requests_per_minute: Our own limit; None for none.
    """

    def __init__(self, requests_per_minute: float | None = None) -> None:
        self._interval = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def hold(self, seconds: float) -> None:
        """No request leaves for so long."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)

    def wait(self, stop: threading.Event) -> bool:
        """Waits for this request's turn.

        Args:
            stop: Once set, the wait ends.

        Returns:
            False if the wait was ended by `stop`.
        """
        while True:
            with self._lock:
                now = time.monotonic()
                if now >= self._next:
                    self._next = now + self._interval
                    return not stop.is_set()
                left = self._next - now
            if stop.wait(left):
                return False


def backoff(attempt: int) -> float:
    """Seconds to wait after the failure number `attempt` (from 0): doubling from 1 to 60, a random half of it less."""
    return min(_LONGEST_BACKOFF, 2.0 ** min(attempt, 10)) * random.uniform(0.5, 1.0)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an endpoint asks to wait, from `retry-after-ms` or `Retry-After` (seconds or a date); None if none.

    Args:
        headers: Of the reply, with case-insensitive names.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            return max(0.0, min(float(value) * unit, 1e9))
        except ValueError:
            pass
        try:
            return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
        except (ValueError, OverflowError):
            continue
    return None
