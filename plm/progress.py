"""What a person sees while a command works: nested stages with remaining time on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from plm import STARTED

Advance = Callable[[int], None]

console = Console(stderr=True, highlight=False)
_live: Progress | None = None
_depth = 0
timings: defaultdict[str, float] = defaultdict(float)  # seconds by kind of stage, nested ones counted in both
_begun = STARTED


def begin_run() -> None:
    """Starts the accounts of time anew, where several runs share a process."""
    global _begun
    stop_display()
    timings.clear()
    _begun = time.monotonic()


def run_begun() -> float:
    """When the process, or the run that it works on, began."""
    return _begun


def say(text: str) -> None:
    """Prints a line that stays, above whatever is moving."""
    (_live.console if _live else console).print(text, markup=False, soft_wrap=True)


def _make_progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )


class Stage:
    """A piece of work that is being shown; stages nest.

    Args:
        description: What is being done.
        total: Units of work, or None when unknown.
    """

    def __init__(self, description: str, total: int | None) -> None:
        self.done = 0
        self._task = _live.add_task("  " * _depth + description, total=total, note="") if _live else None

    def advance(self, n: int = 1, note: str = "") -> None:
        """Counts `n` more units of work as done; `note` stands at the end of the line."""
        self.done += n
        if _live is not None and self._task is not None:
            _live.update(self._task, completed=self.done)
            if note:
                _live.update(self._task, note=note)

    def restart(self, total: int | None) -> None:
        """Starts the count again, for the next round."""
        self.done = 0
        if _live is not None and self._task is not None:
            _live.reset(self._task, total=total)

    def close(self) -> None:
        """Takes the stage off the screen."""
        if _live is not None and self._task is not None:
            _live.remove_task(self._task)


def open_stage(description: str, total: int | None = None) -> Stage:
    """Shows a stage until `close_stage`; for work whose begin and end lie in different hooks."""
    global _live, _depth
    if _live is None and console.is_terminal and not _quiet():
        _live = _make_progress()
        _live.start()
    stage = Stage(description, total)
    _depth += 1
    return stage


def close_stage(stage: Stage) -> None:
    """Ends a stage; the display goes when the last one ends."""
    global _live, _depth
    stage.close()
    _depth -= 1
    if _depth == 0 and _live is not None:
        _live.stop()
        _live = None


@contextlib.contextmanager
def working(kind: str, detail: str = "", total: int | None = None) -> Iterator[Advance]:
    """Shows a stage while the body runs; the body calls what it gets with the units just done.

    Args:
        kind: What is being done; `timings` adds up the time of each kind.
        detail: What it is done to.
        total: Units of work, or None when unknown.
    """
    shown, start = open_stage(f"{kind} {detail}".rstrip(), total), time.monotonic()
    try:
        yield shown.advance
    finally:
        timings[kind] += time.monotonic() - start
        close_stage(shown)


def stop_display() -> None:
    """Takes everything off the screen, before an error is printed."""
    global _live, _depth
    if _live is not None:
        _live.stop()
    _live, _depth = None, 0


def _quiet() -> bool:
    return not sys.stderr.isatty()
