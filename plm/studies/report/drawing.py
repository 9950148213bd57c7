"""Draws figures: one look for all, readable in black and white and by the colour-blind.

Colours are Okabe and Ito's (2008); marker and line say the same again. matplotlib is imported when something is drawn.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from plm.studies.report.estimates import Estimate
from plm.studies.report.figure import Figure, Level, Panel, Point, Series

PANEL = (3.5, 2.55)  # inches of one pair of axes
ROW = 0.27  # inches of a row on a category axis
MARGIN = {"left": 0.62, "right": 0.15, "top": 0.34, "bottom": 0.52, "between": 0.42}
LEGEND_ROW = 0.21
CHARACTER = 0.066  # inches of a letter at 8.5 points
GREY = "#7A7A7A"
STAMP = "#B00020"


Box = tuple[float, float, float, float]


class Style(NamedTuple):
    """How a series looks.

    Attributes:
        color: A hexadecimal colour.
        marker: matplotlib's sign for it.
        line: The same for the line.
    """

    color: str
    marker: str
    line: str


BLUE, ORANGE, GREEN, RED, PURPLE, SKY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000",
)  # fmt: skip
STYLES = {
    "high-quality demonstrations": Style(BLUE, "o", "-"),
    "demonstrations of the strong policy": Style(PURPLE, "D", "-."),
    "demonstrations of an intermediate policy": Style(ORANGE, "s", "--"),
    "demonstrations of the weak policy": Style(RED, "^", ":"),
    "few-shot prompting": Style(BLACK, "P", ":"),
    "SFT": Style(BLUE, "o", "-"),
    "SFT, intermediate": Style(ORANGE, "s", "--"),
    "SFT, weak": Style(RED, "^", ":"),
    "few-shot": Style(BLACK, "P", ":"),
    "expert iteration": Style(SKY, "h", "-"),
    "filtered SFT": Style(ORANGE, "<", "-."),
    "DPO": Style(BLACK, "X", "--"),
    "iterated DPO": Style(GREEN, "D", "-"),
    "GRPO": Style(PURPLE, "v", ":"),
    "right": Style(GREEN, "o", "-"),
    "none": Style(RED, "s", "-"),
    "probe": Style(BLUE, "D", ":"),
    "elicited": Style(BLUE, "o", "-"),
    "one password for all": Style(ORANGE, "o", "-"),
    "a password for each domain": Style(PURPLE, "s", "--"),
    "locked from scratch": Style(BLACK, "s", "--"),
}
OTHERS = [
    Style(BLUE, "o", "-"), Style(ORANGE, "s", "--"), Style(GREEN, "D", "-."), Style(RED, "^", ":"),
    Style(PURPLE, "v", "-"), Style(SKY, "P", "--"), Style(BLACK, "X", "-."), Style(BLUE, "<", ":"),
    Style(ORANGE, ">", "-"), Style(GREEN, "h", "--"), Style(RED, "*", "-."), Style(PURPLE, "p", ":"),
]  # fmt: skip
LINES = ("-", "--", "-.", ":")
LEVELS = {
    "right": (GREEN, (0, (6, 2))),
    "none": (RED, (0, (1, 1.5))),
    "second": (PURPLE, (0, (4, 1.5, 1, 1.5))),
    "policy": (BLACK, (0, (3, 2, 1, 2, 1, 2))),
    "all": (SKY, "-"),
}
RC = {
    "font.family": "DejaVu Sans", "font.size": 8.5, "axes.titlesize": 9, "axes.titleweight": "bold",
    "axes.titlelocation": "left", "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.7,
    "axes.edgecolor": "#444444", "xtick.color": "#444444", "ytick.color": "#444444", "axes.labelcolor": "#222222",
    "grid.color": "#DDDDDD", "grid.linewidth": 0.6, "legend.frameon": False, "legend.fontsize": 8.5,
    "svg.fonttype": "path", "svg.hashsalt": "plm", "axes.axisbelow": True,
}  # fmt: skip


def draw(figure: Figure) -> dict[str, bytes]:
    """Draws a figure with at least one panel.

    Returns:
        The pictures, by file ending: `svg` and `png`. The same figure gives the same bytes.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context(RC):
        width, height, boxes, legend = _layout(figure)
        canvas = Canvas(figsize=(width, height))
        FigureCanvasAgg(canvas)
        styles = _styles(figure)
        for panel, box in zip(figure.panels, boxes, strict=True):
            axis = canvas.add_axes(box)
            _draw_panel(axis, figure, panel, styles)
        _draw_legend(canvas, figure, styles, legend)
        pictures = {}
        for kind, more in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 144})):
            buffer = io.BytesIO()
            canvas.savefig(buffer, format=kind, **more)
            pictures[kind] = buffer.getvalue()
        return pictures


def _layout(figure: Figure) -> tuple[float, float, list[Box], int]:
    """Width and height in inches, a box (shares of both) for each panel, and columns of the legend."""
    panels, lying = figure.panels, figure.axis == "category"
    columns = min(figure.columns, len(panels))
    longest = max((len(name) for panel in panels for name in panel.categories), default=0)
    left = MARGIN["left"] if not lying else 0.2 + CHARACTER * min(longest, 60)
    cell = left + PANEL[0] + MARGIN["right"]
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    heights = [max(_height(panel, lying) for panel in row) for row in rows]
    names = _legend_names(figure)
    width = max(cell * columns, 5.2)
    fits = max(1, int(width / (0.55 + CHARACTER * max((len(name) for name in names), default=1))))
    legend_columns = max(1, min(fits, len(names), 4))
    legend_height = LEGEND_ROW * math.ceil(len(names) / legend_columns) + 0.1
    inner = [MARGIN["top"] + height + MARGIN["bottom"] for height in heights]
    total = sum(inner) + legend_height
    boxes: list[Box] = []
    top = total
    for row, height, whole in zip(rows, heights, inner, strict=True):
        for place, _ in enumerate(row):
            x, y = place * cell + left, top - MARGIN["top"] - height
            boxes.append((x / width, y / total, PANEL[0] / width, height / total))
        top -= whole
    return width, total, boxes, legend_columns


def _height(panel: Panel, lying: bool) -> float:
    return max(0.9, ROW * len(panel.categories) + 0.15) if lying else PANEL[1]


def _styles(figure: Figure) -> dict[str, Style]:
    """A style for each name; no two names of a figure share marker and line, so that they can be told without colour.

    Names without a style of their own take markers that the figure does not have yet; where these are used up, markers
    that it has with another line.
    """
    names = dict.fromkeys(series.style or series.label for panel in figure.panels for series in panel.series)
    own = {name: STYLES[name] for name in names if name in STYLES}
    markers, looks = {style.marker for style in own.values()}, {style[1:] for style in own.values()}
    others = [style for turn in range(len(LINES)) for style in _turned(turn) if style[1:] not in looks]
    others.sort(key=lambda style: style.marker in markers)
    rest = (name for name in names if name not in own)
    return {**own, **dict(zip(rest, itertools.cycle(others), strict=False))}


def _turned(turn: int) -> list[Style]:
    """The styles of names without one of their own, each with the line that comes so many places later."""
    return [style._replace(line=LINES[(LINES.index(style.line) + turn) % len(LINES)]) for style in OTHERS]


def _draw_panel(axis: Any, figure: Figure, panel: Panel, styles: dict[str, Style]) -> None:
    lying = figure.axis == "category"
    place = _places(figure, panel)
    for level in panel.levels:
        _draw_level(axis, level, lying)
    own = [series for series in panel.series if not (lying and series.is_control)]
    for series in panel.series:
        is_above = lying and series.is_control  # beside its arm, where no small marker stands
        shift = -0.3 if is_above else (own.index(series) - (len(own) - 1) / 2) * _step(figure, panel)
        _draw_series(axis, series, styles[series.style or series.label], place, shift, lying)
    _finish(axis, figure, panel, place)


def _draw_level(axis: Any, level: Level, lying: bool) -> None:
    color, line = LEVELS[level.style]
    value, low, high = level.estimate.value, level.estimate.low, level.estimate.high
    if lying:
        axis.axvspan(low, high, color=color, alpha=0.10, linewidth=0)
        axis.axvline(value, color=color, linestyle=line, linewidth=1.3)
    else:
        axis.axhspan(low, high, color=color, alpha=0.10, linewidth=0)
        axis.axhline(value, color=color, linestyle=line, linewidth=1.3)


def _draw_series(axis: Any, series: Series, style: Style, place: Any, shift: float, lying: bool) -> None:
    color = GREY if series.is_control else style.color
    face = "white" if series.is_control else color
    xs = [place(point.x) + shift for point in series.points]
    ys = [point.estimate.value for point in series.points]
    if series.connected and len(xs) > 1:
        line = (0, (4, 2)) if series.is_control else style.line
        axis.plot(xs, ys, color=color, linestyle=line, linewidth=1.4, zorder=2)
    _draw_errors(axis, xs, [point.estimate for point in series.points], color, lying)
    _draw_honest(axis, xs, series.points, color, style.marker, lying)
    at = (ys, xs) if lying else (xs, ys)
    axis.plot(*at, linestyle="", marker=style.marker, color=color, markerfacecolor=face, markersize=5.2, zorder=4)


def _draw_errors(axis: Any, xs: Sequence[float], estimates: Sequence[Estimate], color: str, lying: bool) -> None:
    """Thin bars for the 95 % intervals, thick ones for standard errors over seeds."""
    lines = axis.hlines if lying else axis.vlines
    lines(xs, [each.low for each in estimates], [each.high for each in estimates], color=color, linewidth=0.9, zorder=3)
    over_seeds = [(x, each) for x, each in zip(xs, estimates, strict=True) if each.seeds > 1]
    lows = [max(0.0, each.value - each.error) for _, each in over_seeds]
    highs = [min(1.0, each.value + each.error) for _, each in over_seeds]
    lines([x for x, _ in over_seeds], lows, highs, color=color, linewidth=3.2, alpha=0.55, zorder=3)


def _draw_honest(axis: Any, xs: Sequence[float], points: Sequence[Point], color: str, marker: str, lying: bool) -> None:
    """Small hollow markers beside the points whose round was chosen on other problems."""
    aside = 0.28 if lying else min(0.16, 0.02 * (max(xs) - min(xs)) or 0.01)
    found = [(x + aside, point.honest) for x, point in zip(xs, points, strict=True) if point.honest is not None]
    if not found:
        return
    places, values = [x for x, _ in found], [each.value for _, each in found]
    lines = axis.hlines if lying else axis.vlines
    ends = ([each.low for _, each in found], [each.high for _, each in found])
    lines(places, *ends, color=color, linewidth=0.6, alpha=0.6, zorder=3)
    at = (values, places) if lying else (places, values)
    axis.plot(*at, linestyle="", marker=marker, color=color, markerfacecolor="white", markersize=3.6, zorder=4)


def _places(figure: Figure, panel: Panel) -> Any:
    """From x to where it is drawn: counts by their binary logarithm, with 0 a step before the smallest."""
    if figure.axis != "count" or panel.x_label == "solutions generated and graded":
        return lambda x: x
    positive = [point.x for series in panel.series for point in series.points if point.x > 0]
    low = math.log2(min(positive)) if positive else 0.0
    span = math.log2(max(positive)) - low if positive else 1.0
    gap = max(0.9, span / 8)
    return lambda x: math.log2(x) if x > 0 else low - gap


def _step(figure: Figure, panel: Panel) -> float:
    """How far series stand apart, so that their bars can be told."""
    several = max(1, len(panel.series))
    if figure.axis == "category":
        return min(0.22, 0.5 / several)
    xs = [point.x for series in panel.series for point in series.points]
    if figure.axis == "linear" or panel.x_label == "solutions generated and graded":
        return min(0.006, 0.03 / several) * (max(xs, default=1.0) - min(xs, default=0.0))
    positive = [x for x in xs if x > 0]
    return min(0.012, 0.06 / several) * max(3.0, math.log2(max(positive) / min(positive))) if positive else 0.03


def _finish(axis: Any, figure: Figure, panel: Panel, place: Any) -> None:
    low, high = panel.y_range or (-0.02, 1.02)
    label = panel.x_label or figure.x_label
    if figure.axis == "category":
        axis.set_xlim(low, high)
        axis.set_ylim(len(panel.categories) - 0.5, -0.5)
        axis.set_yticks(range(len(panel.categories)), [_short(name) for name in panel.categories])
        axis.tick_params(axis="y", length=0)
        axis.set_xlabel(label or "share of problems answered correctly")
        axis.grid(axis="x")
    else:
        axis.set_ylim(low, high)
        axis.set_ylabel("correct")
        axis.set_xlabel(label)
        axis.grid(axis="y")
        _ticks(axis, figure, panel, place)
    axis.set_title(_short(panel.title, 50))
    if panel.stamp:
        axis.text(
            0.5, 0.5, panel.stamp.upper(), transform=axis.transAxes, rotation=18, ha="center", va="center", fontsize=19,
            fontweight="bold", color=STAMP, alpha=0.28, zorder=6,
        )  # fmt: skip


def _ticks(axis: Any, figure: Figure, panel: Panel, place: Any) -> None:
    xs = sorted({point.x for series in panel.series for point in series.points})
    if place(4.0) == 4.0:  # not a count
        axis.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        if xs:
            room = 0.04 * ((xs[-1] - xs[0]) or 1.0)
            axis.set_xlim(xs[0] - room, xs[-1] + room)
        return
    positive = [x for x in xs if x > 0]
    shown = _round_numbers(positive) if len(positive) > 7 else positive
    ticks = _apart(([0.0] if 0.0 in xs else []) + shown, place)
    axis.set_xticks([place(x) for x in ticks], [_count(x) for x in ticks])
    ends = [place(x) for x in (*xs, *ticks)] or [0.0, 1.0]
    room = 0.05 * ((max(ends) - min(ends)) or 4.0)
    axis.set_xlim(min(ends) - room, max(ends) + room)


def _apart(ticks: Sequence[float], place: Any) -> list[float]:
    """Leaves out ticks whose labels would touch."""
    kept: list[float] = []
    span = place(ticks[-1]) - place(ticks[0]) if ticks else 0.0
    for tick in ticks:
        if not kept or place(tick) - place(kept[-1]) >= 0.09 * span:
            kept.append(tick)
    return kept


def _round_numbers(xs: Sequence[float]) -> list[float]:
    """Powers of ten, or of four where there would be few."""
    low, high = min(xs), max(xs)
    for base in (10, 4, 2):
        first, last = math.ceil(math.log(low, base) - 0.01), math.floor(math.log(high, base) + 0.01)
        if last - first >= 2:
            step = max(1, (last - first) // 5)
            return [float(base**power) for power in range(first, last + 1, step)]
    return [low, high]


def _count(x: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if x >= size:
            return f"{x / size:.3g}{letter}"
    return f"{x:.3g}"


def _short(text: str, most: int = 60) -> str:
    """Cut to a width; a dollar sign would start matplotlib's mathematics."""
    text = text.replace("$", r"\$")
    return text if len(text) <= most else text[: most - 1] + "…"


def _legend_names(figure: Figure) -> list[str]:
    return [name for name, _ in _entries(figure, _styles(figure))]


def _entries(figure: Figure, styles: dict[str, Style]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Legend entries in the order of drawing, each once, with matplotlib's arguments of their line."""
    seen: set[str] = set()
    line: Any
    has_honest = any(p.honest is not None for panel in figure.panels for s in panel.series for p in s.points)
    for series in (series for panel in figure.panels for series in panel.series):
        if series.label not in seen:
            seen.add(series.label)
            style = styles[series.style or series.label]
            color = GREY if series.is_control else style.color
            line = ("--" if series.is_control else style.line) if series.connected else ""
            face = "white" if series.is_control else color
            yield (
                _short(series.label),
                {"color": color, "marker": style.marker, "linestyle": line, "markerfacecolor": face},
            )
    if has_honest:
        yield "small: round chosen on other problems", {
            "color": "#444444", "marker": "o", "linestyle": "", "markerfacecolor": "white", "markersize": 3.6,
        }  # fmt: skip
    for level in (level for panel in figure.panels for level in panel.levels):
        if level.label not in seen:
            seen.add(level.label)
            color, line = LEVELS[level.style]
            yield level.label, {"color": color, "linestyle": line}


def _draw_legend(canvas: Any, figure: Figure, styles: dict[str, Style], columns: int) -> None:
    from matplotlib.lines import Line2D

    entries = list(_entries(figure, styles))
    handles = [Line2D([], [], **{"linewidth": 1.4, "markersize": 5.2, **look}) for _, look in entries]
    names = [name for name, _ in entries]
    canvas.legend(handles, names, loc="lower center", ncols=columns, handlelength=2.6, columnspacing=1.4)
