"""What a person sees of a study while it runs: one table on a terminal, a line an event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from plm.progress import console, say
from plm.studies.forecast import Forecast, duration
from plm.studies.manifest import Row, StudyFolder
from plm.studies.run_log import last_lines

REFRESH = 0.5  # seconds
AROUND = 8  # lines of the display that are no kinds of runs


@dataclass
class _Count:
    total: int = 0
    finished: int = 0
    running: int = 0
    failed: int = 0

    @property
    def active(self) -> bool:
        return bool(self.running or self.failed)

    @property
    def waiting(self) -> int:
        return self.total - self.finished - self.running - self.failed


class Display:
    """Shows the rows of a study.

    Args:
        title: Name of the study.
        rows: Its rows, which change while it is shown.
        slots: How many run at a time.
        folder: The study's, for the logs.
        forecast: What runs are expected to take.
    """

    def __init__(
        self, title: str, rows: Mapping[str, Row], slots: int, folder: StudyFolder, forecast: Forecast
    ) -> None:
        self.title, self.rows, self.slots, self.folder, self.forecast = title, rows, slots, folder, forecast
        self.begun = time.monotonic()
        self._started: dict[str, float] = {}
        self._taken: dict[str, list[float]] = {}
        self._finished = sum(row.status == "finished" for row in rows.values())
        self._over = self._finished
        self._drawn = 0.0
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(console=console, auto_refresh=False, transient=True)
            self._live.start()

    def event(self, kind: str, row: Row) -> None:
        """Takes note of what happened to a run, and says it."""
        if kind == "started":
            self._started[row.id] = time.monotonic()
        else:
            self._started.pop(row.id, None)
        if kind == "finished":
            self._finished += 1
            count, total = self._taken.setdefault(row.name, [0.0, 0.0])
            self._taken[row.name] = [count + 1, total + (row.seconds or 0.0)]
        self._over += kind in ("finished", "failed", "blocked")
        if self._live is None or kind in ("retried", "failed"):
            self._say(kind, row)

    def tick(self) -> None:
        """Draws the table anew where it is due."""
        if self._live is not None and time.monotonic() - self._drawn > REFRESH:
            self._live.update(self._render(), refresh=True)
            self._drawn = time.monotonic()

    def close(self) -> None:
        """Takes the table off the screen."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    # -- lines --------------------------------------------------------------------------------------------------------

    def _say(self, kind: str, row: Row) -> None:
        place = f"[{self._over}/{len(self.rows)}]"
        if kind == "finished":
            say(f"{place} finished  {row.shown} in {duration(row.seconds)}{self._left_text()}")
        elif kind == "retried":
            say(f"{place} trying again  {row.shown}: {row.error} ({self.folder.log_path(row.id)})")
        elif kind == "failed":
            say(f"{place} failed  {row.shown}: {row.error} ({self.folder.log_path(row.id)})")
        elif kind == "blocked":
            say(f"{place} left out  {row.shown}: {row.error}")

    def _left_text(self) -> str:
        left = self.seconds_left()
        return "" if left is None or self._over == len(self.rows) else f", about {duration(left)} left"

    # -- time ---------------------------------------------------------------------------------------------------------

    def seconds_left(self) -> float | None:
        """Expected wall time until all is done; None as long as nothing is known."""
        known = self._typical()
        total, now = 0.0, time.monotonic()
        for row in self.rows.values():
            if row.status in ("waiting", "running"):
                expected = self._expected(row.name, known)
                if expected is None:
                    return None
                spent = now - self._started[row.id] if row.id in self._started else 0.0
                total += max(expected - spent, 0.1 * expected)
        return total / self.slots

    def _expected(self, name: str, otherwise: float | None) -> float | None:
        if name in self._taken:
            count, total = self._taken[name]
            return total / count
        expected = self.forecast.seconds(name)
        return otherwise if expected is None else expected

    def _typical(self) -> float | None:
        count = sum(each[0] for each in self._taken.values())
        return sum(each[1] for each in self._taken.values()) / count if count else None

    # -- the table ----------------------------------------------------------------------------------------------------

    def _render(self) -> RenderableType:
        running = [row for row in self.rows.values() if row.status == "running"]
        return Group(self._head(len(running)), Text(), self._kinds(len(running)), Text(), self._now(running))

    def _head(self, running: int) -> RenderableType:
        failed = sum(row.status in ("failed", "blocked") for row in self.rows.values())
        left = self.seconds_left()
        line = Table.grid(padding=(0, 2))
        line.add_row(
            Text(self.title, style="bold"),
            ProgressBar(total=max(1, len(self.rows)), completed=self._finished, width=24),
            f"{self._finished}/{len(self.rows)} done",
            f"{running} running",
            Text(f"{failed} failed", style="bold red" if failed else "dim"),
            f"{duration(time.monotonic() - self.begun)}, "
            + ("time left unknown" if left is None else duration(left) + " left"),
        )
        return line

    def _kinds(self, running: int) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
        for name in ("", "done", "running", "failed", "waiting"):
            table.add_column(name, justify="left" if not name else "right", no_wrap=True, overflow="ellipsis")
        counted = list(self._count().items())
        room = max(3, console.height - AROUND - running)
        shown = counted if len(counted) <= room else _most_telling(counted, room - 1)
        for name, count in shown:
            done = count.finished == count.total
            table.add_row(
                Text(name, style="dim" if done else ""), f"{count.finished}/{count.total}", str(count.running or ""),
                Text(str(count.failed or ""), style="bold red"), str(count.waiting or ""),
            )  # fmt: skip
        if len(shown) < len(counted):
            rest = [count for name, count in counted if (name, count) not in shown]
            finished, total = sum(each.finished for each in rest), sum(each.total for each in rest)
            table.add_row(Text(f"{len(rest)} more", style="dim"), f"{finished}/{total}", "", "", "")
        return table

    def _count(self) -> dict[str, _Count]:
        found: dict[str, _Count] = {}
        for row in self.rows.values():
            count = found.setdefault(_kind(row), _Count())
            count.total += 1
            count.finished += row.status == "finished"
            count.running += row.status == "running"
            count.failed += row.status in ("failed", "blocked")
        return found

    def _now(self, running: Iterable[Row]) -> RenderableType:
        table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=44)
        table.add_column(justify="right", no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for row in running:
            spent = time.monotonic() - self._started.get(row.id, time.monotonic())
            table.add_row(f"› {row.shown}", duration(spent), self._last_words(row))
        return table

    def _last_words(self, row: Row) -> str:
        said = last_lines(self.folder.log_path(row.id))
        return " ".join(said[-1].split()) if said else ""


def _most_telling(counted: list[tuple[str, _Count]], room: int) -> list[tuple[str, _Count]]:
    """What is running or has failed, then what is unfinished, in their order."""
    order = sorted(range(len(counted)), key=lambda at: (not counted[at][1].active, not counted[at][1].waiting, at))
    return [counted[at] for at in sorted(order[:room])]


def _kind(row: Row) -> str:
    if row.cell is None or row.role in ("base", "lock", "weak", "strong"):
        return {"samples": "answers of frozen models"}.get(row.role, f"{row.role} models")
    name = f"{row.method} · {row.task}" if row.task else row.method
    return f"{name} · control" if row.role == "control" else name
