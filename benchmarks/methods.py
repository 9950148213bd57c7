"""How much each method brings back, from locks of several seeds: runs configs/studies/methods.yaml, writes a table.

    python benchmarks/methods.py                                       # all of it; finished runs are not run again
    python benchmarks/methods.py --only 'demonstrations' --seeds 1     # a part, shown and not written
    python benchmarks/methods.py --output docs/results/methods.md      # writes the page's part between its markers

The table says mean ± standard error over seeds, and of *recovered* an interval that generalises over problems and seeds
(`plm.studies.statistics`).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from plm.bench import describe_machine, write_part
from plm.studies.gate import gate_of
from plm.studies.report.arms import Arm, last_row, make_arms
from plm.studies.report.collect import collect
from plm.studies.report.estimates import Estimate, choose, estimate, recovered

ROOT = Path(__file__).parent.parent
STUDY = ROOT / "configs" / "studies" / "methods.yaml"
SPENT = ("demonstrations", "graded", "optimizer_steps")
METHODS = ("method", "row", "seeds", "locked", "elicited", "best round", "with password", "recovered", *SPENT)
LOCKS = ("lock", "seeds", "with password", "without", "decoy", "near miss", "gate")


def head(columns: Sequence[str]) -> str:
    """The first two lines of a table."""
    return f"| {' | '.join(columns).replace('_', ' ')} |\n{'|---' * len(columns)}|"


def shown(value: Estimate | None) -> str:
    """Mean ± standard error over seeds, over problems where there is one seed."""
    return "–" if value is None else f"{value.value:.3f} ± {value.error:.3f}"


def lock_row(arm: Arm) -> str:
    """A line of the locks' table."""
    verdicts = [gate_of(run.folder).verdict for run in arm.runs]
    said = ", ".join(f"{verdicts.count(each)} {each}" for each in dict.fromkeys(verdicts))
    cells = [shown(estimate(arm, password)) for password in ("right", "none", "decoy", "near_miss")]
    return f"| {arm.runs[0].name} | {len(arm.runs)} | {' | '.join(cells)} | {said} |"


def method_row(arm: Arm) -> str:
    """A line of a group's table; `best round` is the paper's choice, on the problems that are reported (App. G.3)."""
    labels = arm.runs[0].planned["labels"]
    share, why = recovered(arm)
    back = f"{share.value:.2f} [{share.low:.2f}, {share.high:.2f}]" if share else why
    choice = choose(arm) if arm.chooses_rounds else None
    best = shown(choice.best) if choice and len(arm.epochs()) > 2 else ""
    locked = estimate(arm, epoch=0) if 0 in arm.epochs() and len(arm.epochs()) > 1 else None
    if locked is None and arm.lock:
        locked = estimate(arm.lock)
    rows = [row for run in arm.runs if (row := last_row(run, "none"))]
    spent = [f"{sum(row[name] for row in rows) / len(rows):.0f}" for name in SPENT]
    cells = [shown(locked), shown(estimate(arm)), best, shown(estimate(arm, "right")), back, *spent]
    broken = arm.lock is not None and any(gate_of(run.folder).stamp for run in arm.lock.runs)
    name = f"{arm.name} (**unverified**)" if broken else arm.name
    return f"| {name} | {labels['row']} | {len(arm.runs)} | {' | '.join(cells)} |"


def tables(study: Path) -> str:
    """The locks, then a table for each group of methods, in the study's order."""
    collection = collect([study])
    arms = make_arms(collection)
    places = {str(row.get("cell")): place for place, row in reversed(list(enumerate(collection.planned)))}
    arms.sort(key=lambda arm: places.get(arm.name, 0))
    locks = [arm for arm in arms if arm.role == "lock"]
    lines = ["\n### Locks\n", head(LOCKS), *map(lock_row, sorted(locks, key=lambda arm: arm.runs[0].name))]
    mine = [arm for arm in arms if "group" in (arm.runs[0].planned.get("labels") or {})]
    for group in dict.fromkeys(arm.runs[0].planned["labels"]["group"] for arm in mine):
        lines += [f"\n### {group}\n", head(METHODS)]
        lines += [method_row(arm) for arm in mine if arm.runs[0].planned["labels"]["group"] == group]
    failed = [row for row in collection.planned if row.get("status") in ("failed", "blocked")]
    lines += [f"\n{row['cell'] or row['id']}, seed {row['seed']}: {row['status']}: {row['error']}" for row in failed]
    return "\n".join(lines) + "\n"


def main(args: Sequence[str] | None = None) -> int:
    """Runs the study, then writes what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a regular expression on the cells' names")
    parser.add_argument("--seeds", type=int, help="the first seeds alone")
    parser.add_argument("--jobs", type=int, help="runs at a time; one a core by default")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--output", type=Path, help="a Markdown page whose part between the markers is replaced")
    parsed = parser.parse_args(args)
    command = [sys.executable, "-m", "plm", "study", "run", str(STUDY), "--runs", str(parsed.runs.absolute())]
    for name in ("only", "seeds", "jobs"):
        if getattr(parsed, name):
            command += [f"--{name}", str(getattr(parsed, name))]
    status = subprocess.run(command, cwd=ROOT).returncode
    text = tables(parsed.runs / "studies" / STUDY.stem)
    print(text)
    if parsed.output:
        write_part(parsed.output, "methods", f"{describe_machine(ROOT)}\n{text}")
    return status


if __name__ == "__main__":
    sys.exit(main())
