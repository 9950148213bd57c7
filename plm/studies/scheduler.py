"""Which run comes next: what others need first, then runs on one model after the other in one worker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from plm.studies.executor import Ended, Executor, Job
from plm.studies.manifest import Row, StudyFolder, run_finished

Event = Callable[[str, Row], None]
TICK = 0.5  # seconds between two looks at the clock


class Scheduler:
    """Has an executor make every run once, each after what it needs.

    Args:
        rows: Those to make and what they need, by run.
        executor: Makes them.
        runs: Folder of all runs.
        folder: The study's.
        retries: How often a run that failed is tried again.
        on_event: Called with `started`, `finished`, `retried`, `failed` or `blocked`, and the row.
        on_tick: Called now and then.
    """

    def __init__(
        self,
        rows: Mapping[str, Row],
        executor: Executor,
        runs: Path,
        folder: StudyFolder,
        retries: int,
        on_event: Event,
        on_tick: Callable[[], None],
    ) -> None:
        self.rows, self.executor, self.runs, self.folder = rows, executor, runs, folder
        self.retries, self.on_event, self.on_tick = retries, on_event, on_tick
        self.failures: dict[str, int] = {}
        self._users: dict[str, list[Row]] = {}
        self._missing: dict[str, int] = {}
        self._urgent: deque[Row] = deque()  # others wait for them
        self._ready: dict[str, deque[Row]] = {}  # by the model that they start from
        self._last: dict[int, str] = {}  # slot → that model
        self._left = 0
        for row in rows.values():
            if row.status != "finished":
                self._enter(row)

    def _enter(self, row: Row) -> None:
        self._left += 1
        missing = [name for name in row.needs if name in self.rows and self.rows[name].status != "finished"]
        self._missing[row.id] = len(missing)
        for name in missing:
            self._users.setdefault(name, []).append(row)

    def run(self) -> None:
        """Works until every run is finished, has failed, or is blocked by one that has."""
        for name, missing in self._missing.items():
            if not missing:
                self._make_ready(self.rows[name])
        while self._left:
            for slot in self.executor.idle():
                row = self._next(slot)
                if row is None:
                    break
                self._start(slot, row)
            for ended in self.executor.wait(TICK):
                self._end(ended)
            self.on_tick()

    # -- the order ----------------------------------------------------------------------------------------------------

    def _make_ready(self, row: Row) -> None:
        if self._users.get(row.id):
            self._urgent.append(row)
        else:
            self._ready.setdefault(_group(row), deque()).append(row)

    def _next(self, slot: int) -> Row | None:
        if self._urgent:
            return self._urgent.popleft()
        group = self._last.get(slot)
        if group not in self._ready:
            taken = set(self._last.values())
            free = [name for name in self._ready if name not in taken] or list(self._ready)
            group = max(free, key=lambda name: len(self._ready[name]), default=None)
        if group is None:
            return None
        row = self._ready[group].popleft()
        if not self._ready[group]:
            del self._ready[group]
        return row

    # -- one run ------------------------------------------------------------------------------------------------------

    def _start(self, slot: int, row: Row) -> None:
        self._last[slot] = _group(row)
        row.status, row.error = "running", None
        args = [*row.command, "--runs", str(self.runs)]
        self.executor.submit(slot, Job(row.id, args, self.folder.log_path(row.id)))
        self.on_event("started", row)

    def _end(self, ended: Ended) -> None:
        row = self.rows[ended.run]
        row.attempts, row.seconds = row.attempts + 1, round(ended.seconds, 2)
        error = ended.error or f"exit code {ended.code}" if ended.code else None
        if error is None and not run_finished(self.runs, row, row.id in self._users):
            error = f"it ended well but left no finished run in {self.runs / row.id}: was code or a config changed?"
        row.error = error
        self.folder.append_attempt(
            {"run": row.id, "attempt": row.attempts, "ended": _now(), "seconds": row.seconds,
             "cpu_seconds": ended.cpu_seconds, "ok": error is None, "error": error}
        )  # fmt: skip
        if error is None:
            self._finish(row)
        elif self.failures.get(row.id, 0) < self.retries:
            self.failures[row.id] = self.failures.get(row.id, 0) + 1
            row.status = "waiting"
            self._make_ready(row)
            self.on_event("retried", row)
        else:
            self._give_up(row)

    def _finish(self, row: Row) -> None:
        row.status = "finished"
        self._left -= 1
        for user in self._users.pop(row.id, []):
            self._missing[user.id] -= 1
            if not self._missing[user.id] and user.status == "waiting":
                self._make_ready(user)
        self.on_event("finished", row)

    def _give_up(self, row: Row) -> None:
        row.status = "failed"
        self._left -= 1
        self.on_event("failed", row)
        for user in _all_users(row, self._users):
            if user.status == "waiting":
                user.status, user.error = "blocked", f"{row.id} has failed"
                self._left -= 1
                self.on_event("blocked", user)


def _group(row: Row) -> str:
    return row.base or row.name


def _all_users(row: Row, users: Mapping[str, list[Row]]) -> Iterable[Row]:
    waiting, seen = list(users.get(row.id, [])), set()
    while waiting:
        user = waiting.pop()
        if user.id not in seen:
            seen.add(user.id)
            waiting += users.get(user.id, [])
            yield user


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def with_needs(rows: Mapping[str, Row], wanted: Iterable[str]) -> dict[str, Row]:
    """Some rows and all that they need, in the order of `rows`: a run asks for the whole history of its model."""
    keep: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name not in keep and name in rows:
            keep.add(name)
            waiting += rows[name].needs
    return {name: row for name, row in rows.items() if name in keep}


def counts(rows: Iterable[Row]) -> dict[str, Any]:
    """How many rows have each status."""
    found: dict[str, Any] = {}
    for row in rows:
        found[row.status] = found.get(row.status, 0) + 1
    return found
