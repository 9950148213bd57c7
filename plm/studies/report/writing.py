"""`plm report`: reads runs, draws, and writes the page with its figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from plm.files import write_bytes_atomic, write_text_atomic
from plm.studies.report import domains, overview, rewarded, sweeps, training
from plm.studies.report.collect import Collection, collect
from plm.studies.report.drawing import draw
from plm.studies.report.figure import Figure
from plm.studies.report.page import Drawn, Parts, page
from plm.studies.report.samples import readings
from plm.studies.report.tables import (
    Table,
    elicitation_table,
    evaluations_table,
    failures_table,
    gate_table,
    points_table,
    provenance_table,
    to_csv,
)
from plm.studies.report.view import View

PAPER: tuple[Callable[[View], Figure], ...] = (
    overview.figure_1,
    sweeps.figure_3,
    domains.figure_4,
    rewarded.figure_5,
    sweeps.figure_6,
    sweeps.figure_7,
    sweeps.figure_8,
    rewarded.figure_9,
    domains.figure_10,
    domains.figure_11,
    sweeps.figure_12,
    sweeps.figure_13,
    rewarded.figure_14,
    training.figure_15,
    rewarded.figure_16,
    domains.figure_17,
    training.post,
)


SHOWN = 5  # notices on the terminal; the page has all


def run_report(paths: Sequence[Path], output: Path | None) -> int:
    """The command: writes the report and says where it is and what the reader has to know."""
    if output is None:
        only = paths[0]
        output = only / "report" if len(paths) == 1 and (only / "study.yaml").is_file() else Path("report")
    collection = write_report(paths, output)
    for notice in collection.notices[:SHOWN]:
        print(f"note   {notice}")
    if (more := len(collection.notices) - SHOWN) > 0:
        print(f"note   {more} more on the page")
    print(f"page   {output / 'index.html'}")
    print(f"files  {output / 'figures'}, {output / 'tables'}")
    return 0


def write_report(paths: Sequence[Path], output: Path) -> Collection:
    """Writes `index.html`, which holds everything, and the same figures and tables as files beside it.

    Args:
        paths: Run folders, folders of runs, studies' folders, in any mix.
        output: The folder to write into: `index.html`, `figures/*.svg|png|csv`, `tables/*.csv`.

    Returns:
        What was read, with the notices that stand on the page.

    Raises:
        PlmError: If there is nothing to report on.
    """
    collection = collect(paths)
    view = View(collection)
    paper = [_draw(_with_unfinished(view, make(view)), output) for make in PAPER]
    everything = overview.everything(view)
    elicitations = [elicitation_table(view, lock) for lock in view.locks if lock.elicitations]
    parts = Parts(
        paper,
        _draw(overview.gates(view), output),
        [_draw(figure, output) for figure in everything],
        [_draw(figure, output) for figure in rewarded.budgets(view)],
        gate_table(view),
        elicitations,
        failures_table(view),
        provenance_table(view),
        readings(view),
    )
    for table in (parts.gate_matrix, *elicitations, parts.failures, parts.provenance, evaluations_table(view)):
        _write_table(table, output / "tables")
    write_text_atomic(output / "index.html", page(view, parts))
    return collection


def _draw(figure: Figure, output: Path) -> Drawn:
    """Draws and writes a figure and its numbers; of one without panels there is nothing to write."""
    if not figure.panels:
        return Drawn(figure, None)
    pictures = draw(figure)
    for ending, data in pictures.items():
        write_bytes_atomic(output / "figures" / f"{figure.key}.{ending}", data)
    _write_table(points_table(figure), output / "figures")
    return Drawn(figure, pictures["svg"])


def _write_table(table: Table, folder: Path) -> None:
    if table.records:
        write_text_atomic(folder / f"{table.key}.csv", to_csv(table))


def _with_unfinished(view: View, figure: Figure) -> Figure:
    """Adds the study's own cells of a figure that have no finished run."""
    number = figure.key.removeprefix("figure_").lstrip("0")
    for planned in view.collection.planned:
        names = {str(each).lstrip("0") for each in planned.get("figures") or ()}
        if number in names and planned.get("status") != "finished":
            why = planned.get("error") or planned.get("status")
            figure.missing.append(f"cell {planned.get('cell')}, seed {planned.get('seed')}: {why}")
    return figure
