"""How much each method brings back, from locks of several seeds: runs what methods.yaml lists, writes a table.

    python benchmarks/methods.py                        # every cell, three seeds; finished runs are not run again
    python benchmarks/methods.py --only sft --seeds 1   # some of them

Each seed has its own lock and its own elicitation. A run that fails is shown as failed, and the others go on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shlex
import statistics
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parent.parent
CELLS = Path(__file__).with_suffix(".yaml")


class Cell(NamedTuple):
    """One row of the table: `name`, the source's `row`, the arguments of `plm`, and the `group` it is shown in."""

    name: str
    row: str
    group: str
    args: tuple[str, ...]


class Outcome(NamedTuple):
    """What one run measured: correctness without the password by round, the last with it, and what it spent."""

    none: dict[int, float]
    right: float
    spent: dict[str, Any]


def load_cells(only: str) -> list[Cell]:
    """The cells whose name or group matches a regular expression."""
    content = yaml.safe_load(CELLS.read_text())
    cells = [
        Cell(each["name"], each["row"], group["group"], tuple(shlex.split(each["args"])))
        for group in content
        for each in group["cells"]
    ]
    return [cell for cell in cells if re.search(only, f"{cell.group}: {cell.name}")]


def run_cell(cell: Cell, seed: int, runs: Path) -> Outcome | str:
    """Runs one cell with one seed; what it printed last where it failed."""
    words = [word.replace("SEED", str(seed)) for word in cell.args]
    command = [sys.executable, "-m", "plm", *words, "--seed_everything", str(seed), "--runs", str(runs)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    found = re.search(r"^results +(.+)$", done.stdout, re.MULTILINE)
    if done.returncode or not found:
        return (done.stderr.strip().splitlines() or ["no output"])[-1]
    return read_outcome((ROOT / found[1]).read_text().splitlines())


def read_outcome(lines: Sequence[str]) -> Outcome:
    """Takes the run's own curves out of its results."""
    rows = [row for row in map(json.loads, lines) if row["domain"] == "all" and row["split"] == "val"]
    own = [row for row in rows if row["phase"] not in ("weak", "strong", "probe")]
    none = {row["epoch"]: row["correct"] for row in own if row["password"] in ("none", "weak_setting")}
    right = [row["correct"] for row in own if row["password"] in ("right", "strong_setting")]
    return Outcome(none, right[-1] if right else math.nan, own[-1])


def shown(values: Sequence[float]) -> str:
    """Mean ± standard error over seeds."""
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return "–"
    error = f" ± {statistics.stdev(values) / math.sqrt(len(values)):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{error}"


def table_row(cell: Cell, outcomes: Sequence[Outcome | str]) -> str:
    """A line of the table."""
    good = [each for each in outcomes if isinstance(each, Outcome)]
    if not good:
        return f"| {cell.name} | {cell.row} | failed: {outcomes[0]} | | | | | | |"
    start = shown([each.none[0] for each in good if 0 in each.none])
    last = shown([each.none[max(each.none)] for each in good if each.none])
    spent = [
        f"{statistics.fmean(each.spent[key] for each in good):.0f}"
        for key in ("demonstrations", "graded", "optimizer_steps", "seconds")
    ]
    failed = f" ({len(outcomes) - len(good)} failed)" if len(good) < len(outcomes) else ""
    best = shown([_best(good)]) if any(len(each.none) > 2 for each in good) else ""
    right = shown([each.right for each in good])
    return f"| {cell.name}{failed} | {cell.row} | {start} | {last} | {best} | {right} | {' | '.join(spent)} |"


def _best(outcomes: Sequence[Outcome]) -> float:
    """The paper's choice (App. G.3): the round whose mean over seeds, on the problems that are reported, is highest."""
    rounds = set.intersection(*(set(each.none) - {0} for each in outcomes))
    return max((statistics.fmean(each.none[epoch] for each in outcomes) for epoch in rounds), default=math.nan)


HEAD = """| method | row | locked | elicited | best round | with password | demonstrations | graded | steps | s |
|---|---|---|---|---|---|---|---|---|---|"""


def write_tables(cells: Sequence[Cell], outcomes: dict[Cell, list[Outcome | str]]) -> str:
    """All tables, a group each."""
    lines: list[str] = []
    for group in dict.fromkeys(cell.group for cell in cells):
        lines += [f"\n### {group}\n", HEAD]
        lines += [table_row(cell, outcomes[cell]) for cell in cells if cell.group == group]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a regular expression on `group: name`")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--output", type=Path, help="a Markdown file whose part between the markers is replaced")
    parsed = parser.parse_args()
    cells = load_cells(parsed.only)
    lock = threading.Lock()

    def work(job: tuple[Cell, int]) -> Outcome | str:
        outcome = run_cell(*job, parsed.runs)
        with lock:
            last = outcome if isinstance(outcome, str) else shown([outcome.none[max(outcome.none)]])
            print(f"{job[0].group}: {job[0].name}, seed {job[1]}: {last}", file=sys.stderr, flush=True)
        return outcome

    jobs = [(cell, seed) for seed in range(parsed.seeds) for cell in cells]
    with ThreadPoolExecutor(parsed.jobs) as pool:
        results = dict(zip(jobs, pool.map(work, jobs), strict=True))
    tables = write_tables(cells, {cell: [results[cell, seed] for seed in range(parsed.seeds)] for cell in cells})
    print(tables)
    if parsed.output:
        text = parsed.output.read_text()
        before, begin, rest = text.partition("<!-- begin -->\n")
        _, end, after = rest.partition("<!-- end -->")
        if not begin or not end:
            sys.exit(f"{parsed.output}: no <!-- begin --> … <!-- end --> to write between")
        parsed.output.write_text(f"{before}{begin}{tables}{end}{after}")


if __name__ == "__main__":
    main()
