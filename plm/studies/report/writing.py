"""`plm report`: reads runs, draws, and writes the page with its figures and tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from plm.files import write_bytes_atomic, write_text_atomic
from plm.studies.report import domains, overview, rewarded, sweeps, training
from plm.studies.report.collect import Collection, collect
from plm.studies.report.comparisons import comparison_table
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

Maker = Callable[[View], Figure]
# By the number that a study's file calls each figure.
PAPER: dict[str, Maker] = {
    "1": overview.figure_1,
    "3": sweeps.figure_3,
    "4": domains.figure_4,
    "5": rewarded.figure_5,
    "6": sweeps.figure_6,
    "7": sweeps.figure_7,
    "8": sweeps.figure_8,
    "9": rewarded.figure_9,
    "10": domains.figure_10,
    "11": domains.figure_11,
    "12": sweeps.figure_12,
    "13": sweeps.figure_13,
    "14": rewarded.figure_14,
    "15": training.figure_15,
    "16": rewarded.figure_16,
    "17": domains.figure_17,
    "post": training.post,
    "controls": overview.post_controls,
}
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
    paper = [_draw(_with_unfinished(view, number, make(view.part(number))), output) for number, make in PAPER.items()]
    everything = overview.everything(view)
    elicitations = [elicitation_table(view, lock) for lock in view.locks if lock.elicitations]
    comparisons = [comparison_table(lock) for lock in view.locks if lock.elicitations]
    parts = Parts(
        paper,
        _draw(overview.gates(view), output),
        [_draw(figure, output) for figure in everything],
        [_draw(figure, output) for figure in rewarded.budgets(view)],
        gate_table(view),
        elicitations,
        comparisons,
        failures_table(view),
        provenance_table(view),
        readings(view),
    )
    for table in (
        parts.gate_matrix,
        *elicitations,
        *comparisons,
        parts.failures,
        parts.provenance,
        evaluations_table(view),
    ):
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


def _with_unfinished(view: View, number: str, figure: Figure) -> Figure:
    """Adds the study's own cells of a figure that have no finished run."""
    for planned in view.collection.planned:
        if number in map(str, planned.get("figures") or ()) and planned.get("status") != "finished":
            why = planned.get("error") or planned.get("status")
            figure.missing.append(f"cell {planned.get('cell')}, seed {planned.get('seed')}: {why}")
    return figure
