"""What a study will cost: from runs of the same kind that were measured, else from what its file says."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from plm.files import disk_usage
from plm.studies.manifest import Keep, Row, measured_seconds
from plm.studies.study import Estimate

LOOKED_AT = 3  # finished runs of a kind whose size on disk is measured


@dataclass
class Kind:
    """Runs of one name: how many there are, how many are finished, and what one costs."""

    name: str
    device: str
    runs: int = 0
    finished: int = 0
    seconds: float | None = None
    gigabytes: float | None = None
    saved: float = 0.0  # gigabytes of weights that are deleted
    measured: bool = False

    @property
    def size(self) -> float | None:
        """Gigabytes that the runs to be made leave."""
        return None if self.gigabytes is None else max(0.0, self.gigabytes * self.left - self.saved)

    @property
    def left(self) -> int:
        """Runs that are not finished."""
        return self.runs - self.finished


class Forecast:
    """Expected seconds and size of runs, by their name.

    What the study itself has measured comes first, then what its file says, then what other studies have measured of
    runs of that name: these may be at another scale, as the miniature's are beside the paper's.

    Args:
        runs: Folder of all runs.
        estimates: Of the study's file.
        study: The study's name.
    """

    def __init__(self, runs: Path, estimates: Mapping[str, Estimate], study: str = "") -> None:
        self.runs = runs
        self.estimates = estimates
        folders = [path.parent for path in (runs / "studies").glob("*/attempts.jsonl")]
        self._own = measured_seconds(path for path in folders if path.name in (study, f"{study}-quick"))
        self._others = measured_seconds(folders)

    def seconds(self, name: str) -> float | None:
        """Wall time of a run, None where nothing is known."""
        if self.is_measured(name):
            return self._own.get(name, self._others.get(name))
        estimate = self._stated(name)
        return estimate.seconds if estimate else None

    def is_measured(self, name: str) -> bool:
        """Whether that time was measured, and not stated."""
        return name in self._own or (name in self._others and self._stated(name) is None)

    def device(self, name: str) -> str:
        """What a run needs."""
        estimate = self._stated(name)
        return estimate.device if estimate else "cpu"

    def kinds(self, rows: Sequence[Row], keep: Keep = "all") -> list[Kind]:
        """What rows cost, by name, in their order.

        Args:
            rows: The rows.
            keep: What is kept of finished runs (`plm.studies.manifest.prune`).
        """
        users = {name for row in rows for name in row.needs}
        found: dict[str, Kind] = {}
        sizes: dict[str, list[int]] = {}
        for row in rows:
            kind = found.setdefault(row.name, Kind(row.name, self.device(row.name)))
            kind.runs += 1
            if row.status == "finished":
                kind.finished += 1
                if len(known := sizes.setdefault(row.name, [])) < LOOKED_AT:
                    known.append(disk_usage(self.runs / row.id))
        for kind in found.values():
            kind.seconds, kind.measured = self.seconds(kind.name), self.is_measured(kind.name)
            kind.gigabytes = self._gigabytes(kind.name, sizes.get(kind.name, []), keep)
        for row in rows:
            if row.status != "finished" and keep == "results" and row.id not in users and row.name not in sizes:
                estimate = self._stated(row.name)
                found[row.name].saved += estimate.weights if estimate else 0.0
        return list(found.values())

    def _stated(self, name: str) -> Estimate | None:
        kind = "samples" if name.startswith("samples_") else "default"
        return self.estimates.get(name) or self.estimates.get(kind) or self.estimates.get("default")

    def _gigabytes(self, name: str, sizes: Sequence[int], keep: Keep) -> float | None:
        if sizes:
            return sum(sizes) / len(sizes) / 1e9
        estimate = self._stated(name)
        return estimate.gigabytes - (estimate.checkpoint if keep != "all" else 0.0) if estimate else None


def print_forecast(title: str, kinds: Sequence[Kind], runs: Path, slots: Mapping[str, int]) -> None:
    """Prints runs, hours and disk, a line for each kind of run, and what all of them come to.

    Args:
        title: Stands above.
        kinds: What is to be made.
        runs: Folder of all runs.
        slots: How many runs at a time, by device.
    """
    console = Console(highlight=False)
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), header_style="dim")
    numbers = {"runs": 4, "to run": 6, "each": 6, "hours": 7, "GB": 7}
    room = console.width - sum(width + 2 for width in numbers.values()) - 2
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=max(16, room))
    for name, width in numbers.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for kind in kinds:
        table.add_row(
            kind.name, str(kind.runs), str(kind.left), duration(kind.seconds),
            _number(kind.seconds and kind.seconds * kind.left / 3600, 2),
            _number(kind.size, 2 if (kind.size or 0) < 100 else 0),
        )  # fmt: skip
    console.print(table)
    for line in totals(kinds, runs, slots):
        console.print(line, soft_wrap=True)


def totals(kinds: Sequence[Kind], runs: Path, slots: Mapping[str, int]) -> list[str]:
    """The sums below the table."""
    left = [kind for kind in kinds if kind.left]
    lines = [f"runs    {sum(kind.runs for kind in kinds)}, of which {sum(kind.left for kind in kinds)} are to be made"]
    for device in ("cpu", "gpu"):
        hours = sum((kind.seconds or 0.0) * kind.left for kind in left if kind.device == device) / 3600
        if any(kind.device == device for kind in left):
            lines.append(
                f"hours   {hours:,.2f} of {'one process' if device == 'cpu' else 'GPU'}{_wall(hours, slots[device])}"
            )
    free = shutil.disk_usage(_existing(runs)).free / 1e9
    size = sum(kind.size or 0.0 for kind in left)
    lines.append(f"disk    {size:,.1f} GB to be written in {runs}, {free:,.1f} GB are free there")
    stated = [kind.name for kind in left if not kind.measured and kind.seconds is not None]
    unknown = [kind.name for kind in left if kind.seconds is None]
    if stated:
        lines.append(
            f"measured are the times of {len(left) - len(stated) - len(unknown)} kinds of run of {len(left)}; "
        )
        lines[-1] += f"{len(stated)} are the study's estimates"
    if unknown:
        lines.append(f"nothing is known of {len(unknown)} kinds, which count as 0: {', '.join(unknown)}")
    return lines


def _wall(hours: float, slots: int) -> str:
    return f", about {hours / slots:,.2f} with {slots} at a time" if slots > 1 and hours else ""


def duration(seconds: float | None) -> str:
    """A time as people say it."""
    if seconds is None:
        return "?"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:,.{digits}f}"


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
