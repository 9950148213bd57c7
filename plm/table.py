"""The last thing a person sees: a small table of what the run measured."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from plm.runs import RunFolder


def print_table(run: RunFolder) -> None:
    """Prints a run's evaluations, a row for each round and a column for each curve, and where the model is."""
    rows = run.read_results()
    console = Console(highlight=False)
    if rows:
        console.print(_table(run, rows))
    if run.model_path.exists():
        console.print(f"model        {run.model_path}", soft_wrap=True)
    console.print(f"results      {run.results_path}", soft_wrap=True)
    console.print(f"curves       tensorboard --logdir {run.path / 'tensorboard'}", soft_wrap=True)


def _table(run: RunFolder, rows: list[dict[str, object]]) -> Table:
    curves = list(dict.fromkeys((str(row["split"]), _curve(row)) for row in rows))
    table = Table(title=f"{run.name} {run.path.name}: share answered correctly ± standard error", title_justify="left")
    table.add_column("round", justify="right")
    for split, curve in curves:
        table.add_column(f"{curve}\n{split}", justify="right", no_wrap=True)
    for epoch in dict.fromkeys(row["epoch"] for row in rows):
        cells = {(str(row["split"]), _curve(row)): _cell(row) for row in rows if row["epoch"] == epoch}
        table.add_row(str(epoch), *(cells.get(curve, "") for curve in curves))
    return table


def _curve(row: dict[str, object]) -> str:
    """A run's phase names what is not the run's own policy: `probe`, `weak` and `strong`."""
    return str(row["phase"] if row["phase"] in ("probe", "weak", "strong") else row["password"])


def _cell(row: dict[str, object]) -> str:
    stderr = row["stderr"]
    return f"{row['correct']:.3f}" + (f" ±{stderr:.3f}" if stderr is not None else "")
