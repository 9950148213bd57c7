"""What a figure shows, before it is drawn: the same records become a picture, a table and a CSV file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from plm.studies.report.estimates import Estimate

Axis = Literal["count", "linear", "category"]


class Point(NamedTuple):
    """One estimate.

    Attributes:
        x: Where: a number, or the place of a category.
        estimate: How much.
        honest: The same with the round chosen on other problems; None where nothing was chosen.
        runs: Ids of the runs behind it.
    """

    x: float
    estimate: Estimate
    honest: Estimate | None = None
    runs: tuple[str, ...] = ()


@dataclass
class Series:
    """Points that belong together.

    Attributes:
        label: What the legend says.
        points: In the order of x.
        style: What colour, marker and line follow; the label where empty.
        is_control: Whether it is the same on a model that never had the capability.
        connected: Whether a line joins the points.
    """

    label: str
    points: list[Point]
    style: str = ""
    is_control: bool = False
    connected: bool = True


class Level(NamedTuple):
    """A horizontal line.

    Attributes:
        label: What the legend says.
        estimate: Where it is.
        style: `right`, `none`, `policy` or `all`.
        runs: Ids of the runs behind it.
    """

    label: str
    estimate: Estimate
    style: str
    runs: tuple[str, ...] = ()


@dataclass
class Panel:
    """One pair of axes.

    Attributes:
        title: What stands above it.
        series: In the order of the legend.
        levels: Lines to compare with.
        categories: Names of the places on a category axis.
        stamp: `unverified` where the lock failed its gate; else empty.
        x_label: Of this panel, the figure's own where empty.
        y_range: Part of 0…1 that is shown; all of it where None.
    """

    title: str
    series: list[Series] = field(default_factory=list)
    levels: list[Level] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    stamp: str = ""
    x_label: str = ""
    y_range: tuple[float, float] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing but levels."""
        return not any(series.points for series in self.series)


@dataclass
class Figure:
    """A figure.

    Attributes:
        key: Name of its files: `figure_03`.
        title: `Figure 3 · SFT on few demonstrations`.
        says: What the source's figure shows and found, in a sentence or two.
        x_label: Of all panels.
        axis: `count` is logarithmic with a place for 0; `category` lies on its side.
        panels: From left to right, then down.
        missing: What the source's figure has and these runs have not.
        notes: How to read it.
        columns: Most panels beside each other.
    """

    key: str
    title: str
    says: str
    x_label: str = ""
    axis: Axis = "count"
    panels: list[Panel] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: int = 3

    def keep(self, panel: Panel) -> bool:
        """Adds a panel unless it is empty; says whether it did."""
        if not panel.is_empty:
            self.panels.append(panel)
        return not panel.is_empty
