"""The last thing a person sees: a small table of what the run measured."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from plm.runs import RunFolder

CELL_WIDTH = 15  # of a measured value, border and padding included
Key = tuple[str, str]


def print_table(run: RunFolder) -> None:
    """Prints a run's evaluations, a row for each curve and a column for each round, and where the model is."""
    rows = [row for row in run.read_results() if row["domain"] == "all"]
    console = Console(highlight=False)
    if rows:
        label = max(len(_name(_curve(row))) for row in rows) + 4  # borders and padding
        console.print(_table(run, rows, max(2, (console.width - label) // CELL_WIDTH)))
    if any(row["phase"] == "lock" and row["password"] in ("right", "strong_setting") for row in rows):
        _print_gate(console, run)
    if run.model_path.exists():
        console.print(f"model        {run.model_path}", soft_wrap=True)
    console.print(f"results      {run.results_path}", soft_wrap=True)
    console.print(f"curves       tensorboard --logdir {run.path / 'tensorboard'}", soft_wrap=True)


def _print_gate(console: Console, run: RunFolder) -> None:
    """Says whether the lock is one: what a study measures on one that is not counts as unverified."""
    from plm.studies.gate import gate_of  # scipy takes a second to import

    result = gate_of(run)
    console.print(f"gate         {result.verdict}", soft_wrap=True)
    for line in (*result.reasons, *result.notes):
        console.print(Padding(line, (0, 0, 0, 13)))


def _table(run: RunFolder, rows: list[dict[str, Any]], most: int) -> Table:
    cells = {(_curve(row), int(row["epoch"])): _cell(row) for row in rows}
    baselines = {curve for curve, epoch in cells if curve[0] in ("weak", "strong")}
    epochs = sorted({epoch for curve, epoch in cells if curve not in baselines}) or [0]
    shown = epochs if len(epochs) <= most else [epochs[0], *epochs[1 - most :]]
    title = f"{run.name}: share answered correctly ± standard error"
    table = Table(title=title, title_justify="left", caption=None if shown == epochs else "rounds between are left out")
    table.add_column("")
    for epoch in shown:
        table.add_column("start" if epoch == 0 else f"round {epoch}", justify="right", no_wrap=True)
    for curve in dict.fromkeys(curve for curve, _ in cells):
        own = {epoch: text for (name, epoch), text in cells.items() if name == curve}
        values = [next(iter(own.values()))] if curve in baselines else [own.get(epoch, "") for epoch in shown]
        table.add_row(_name(curve), *values)
    return table


def _curve(row: dict[str, Any]) -> Key:
    """What a row of the table is about; the phase names what is not the run's own policy."""
    return curve_name(row), str(row["split"])


def curve_name(row: dict[str, Any]) -> str:
    """What a line of results is about, its split aside, in tables and figures."""
    is_baseline = row.get("method") == "policy"  # a policy's own answers, in a run of another phase
    name = row["phase"] if is_baseline or row["phase"] == "probe" else row["password"]
    return f"{name} {row['shots']}-shot" if row.get("shots") else str(name)


def _name(curve: Key) -> str:
    return f"{curve[1]} · {curve[0]}"


def _cell(row: dict[str, Any]) -> str:
    stderr = row["stderr"]
    return f"{row['correct']:.3f}" + (f" ±{stderr:.3f}" if stderr is not None else "")
