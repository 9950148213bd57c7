"""Tables of a report: the same rows become HTML and CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plm.studies.report.arms import Arm, last_row
from plm.studies.report.estimates import Choice, Estimate, choose, halves_of, recovered, rise, rise_from_start
from plm.studies.report.figure import Figure
from plm.studies.report.markup import file_name
from plm.studies.report.overview import arm_label
from plm.studies.report.view import Lock, View
from plm.studies.statistics import Interval

Value = str | int | float | None
Record = dict[str, Value]
FAILURES = {
    "parse_failures": "unreadable", "compile_failures": "not compiling", "timeouts": "too slow",
    "too_long": "prompt too long",
}  # fmt: skip


@dataclass
class Table:
    """Rows of plain values.

    Attributes:
        key: Name of its file.
        title: What stands above it.
        records: A row each, with the same columns.
        shown: Heading of each column of the page; the keys are columns of the records, or put several together:
            `correct ± stderr [low, high]`.
        about: How to read it.
    """

    key: str
    title: str
    records: list[Record] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)
    about: str = ""


def gate_table(view: View) -> Table:
    """Correctness of each lock under each condition, with the verdict."""
    table = Table(
        "gate_matrix",
        "Gate matrix",
        about="Every lock under every kind of prompt, with Wilson's 95 % interval over problems; each seed is judged.",
    )
    for lock in view.locks:
        for run, gate in zip(lock.arm.runs if lock.arm else [], lock.gates, strict=False):
            for cell in gate.matrix:
                table.records.append({
                    "lock": lock.name, "run": run.id, "seed": run.seed, "kind": gate.kind, "verdict": gate.verdict,
                    "stamp": gate.stamp, "condition": cell.condition, "n": cell.n, "correct": cell.correct.value,
                    "low": cell.correct.low, "high": cell.correct.high,
                    "above_floor": cell.leak.value if cell.leak else None, "decides": "yes" if cell.decides else "no",
                })  # fmt: skip
    return table


def elicitation_table(view: View, lock: Lock) -> Table:
    """What each elicitation of a lock reached, by the paper's choice of rounds and by an honest one, and its cost."""
    table = Table(f"elicitation_{file_name(lock.name)}", lock.title)
    for arm in sorted(lock.elicitations, key=lambda arm: -_best(arm)):
        choice = choose(arm)
        if choice is not None:
            table.records.append(_elicited(view, lock, arm, choice))
    table.shown = {
        "method": "elicitation", "seeds": "seeds", "epoch": "round", "correct ± stderr [low, high]": "correct ± s.e.",
        "honest [honest_low, honest_high]": "round chosen on other problems",
        "rise [rise_low, rise_high]": "rise over the lock", "recovered [recovered_low, recovered_high]": "recovered",
        "control_rise [control_rise_low, control_rise_high]": "control's rise", "demonstrations": "demon- strations",
        "generations": "generated", "trained_tokens": "tokens trained on", "seconds": "seconds",
    }  # fmt: skip
    return table


def _elicited(view: View, lock: Lock, arm: Arm, choice: Choice) -> Record:
    best, honest = choice.best, choice.honest
    share, why = recovered(arm, choice.epoch)
    honest_share, honest_why = honest_recovered(arm, choice)
    risen, p = rise(arm, choice.epoch) or (None, None)
    control = view.control_of(arm)
    control_rise = _control_rise(control) if control else None
    costs = last_row(arm.runs[0], "none", epoch=choice.epoch) or {}
    return {
        "lock": lock.name, "task": lock.task, "stamp": lock.stamp, "method": arm_label(arm, lock), "name": arm.name,
        "runs": " ".join(run.id for run in arm.runs), "seeds": best.seeds, "n": best.n, "epoch": choice.epoch,
        "correct": best.value, "stderr": best.error, "low": best.low, "high": best.high, "interval_over": best.over,
        "honest_epoch": choice.honest_epoch, "honest": honest.value if honest else None,
        "honest_low": honest.low if honest else None, "honest_high": honest.high if honest else None,
        "rise": risen.value if risen else None, "rise_low": risen.low if risen else None,
        "rise_high": risen.high if risen else None, "p": p,
        "recovered": share.value if share else None, "recovered_low": share.low if share else None,
        "recovered_high": share.high if share else None, "recovered_why_not": why,
        "honest_recovered": honest_share.value if honest_share else None,
        "honest_recovered_low": honest_share.low if honest_share else None,
        "honest_recovered_high": honest_share.high if honest_share else None, "honest_recovered_why_not": honest_why,
        "control_rise": control_rise.value if control_rise else None,
        "control_rise_low": control_rise.low if control_rise else None,
        "control_rise_high": control_rise.high if control_rise else None,
        **{name: costs.get(name) for name in ("demonstrations", "generations", "graded", "trained_tokens", "seconds")},
    }  # fmt: skip


def honest_recovered(arm: Arm, choice: Choice) -> tuple[Interval | None, str]:
    """Share of the gap at the honest choice of rounds, on problems that it was not made on; or why there is none."""
    if choice.honest is choice.best:
        return recovered(arm, choice.epoch)
    halves = halves_of(arm, "none", choice.honest_epoch)
    return recovered(arm, choice.honest_epoch, halves[1]) if halves else (None, "completions are missing")


def _control_rise(control: Arm) -> Interval | None:
    """By how much the same elicitation raises a model that never had the capability."""
    choice = choose(control)
    return rise_from_start(control, choice.epoch) if choice else None


def failures_table(view: View) -> Table:
    """Shares of answers that could not be judged on their merits, at the last evaluation of each condition."""
    table = Table(
        "failures",
        "Answers that could not be judged",
        about="Shares of answers, all counted as wrong, in the last evaluation of each condition; means over seeds.",
    )  # fmt: skip
    for arm in view.arms:
        for password in dict.fromkeys(row["password"] for run in arm.runs for row in run.rows):
            rows = [row for run in arm.runs if (row := last_row(run, str(password))) is not None]
            if not rows:
                continue
            shares = {name: sum(float(row.get(name) or 0) / row["n"] for row in rows) / len(rows) for name in FAILURES}
            table.records.append({
                "name": arm.name, "role": arm.role, "task": arm.facts.task, "method": arm.facts.method,
                "k": arm.facts.k, "condition": str(password), "seeds": len(rows), "n": int(rows[0]["n"]), **shares,
            })  # fmt: skip
    table.shown = {
        "name": "runs",
        "role": "role",
        "k": "k",
        "condition": "condition",
        "seeds": "seeds",
        "n": "problems",
        **FAILURES,
    }
    return table


def provenance_table(view: View) -> Table:
    """Where every run comes from."""
    table = Table("provenance", "Runs")
    for run in view.collection.runs.values():
        versions = run.manifest.get("versions") or {}
        table.records.append({
            "run": run.id, "role": run.role, "seed": run.seed,
            "status": str(run.manifest.get("status") or "unknown"),
            "starts_from": run.manifest.get("parent"), "lock": view.collection.lock_of(run),
            "git": run.manifest.get("git"), "model_digest": run.manifest.get("model_digest"),
            "versions": " ".join(f"{name} {version}" for name, version in versions.items()),
            "cell": run.planned.get("cell"), "attempts": run.planned.get("attempts"),
            "training_seconds": (run.manifest.get("seconds") or {}).get("training"),
        })  # fmt: skip
    for planned in view.collection.planned:
        if planned.get("id") not in view.collection.runs:
            table.records.append({
                "run": planned.get("id"), "role": planned.get("role"), "seed": planned.get("seed"),
                "status": planned.get("status"), "cell": planned.get("cell"), "attempts": planned.get("attempts"),
                "error": planned.get("error"),
            })  # fmt: skip
    return table


def evaluations_table(view: View) -> Table:
    """Every line of results, as it is."""
    table = Table("evaluations", "Evaluations")
    stamps = {run.id: lock.stamp for lock in view.locks for arm in _all(lock) for run in arm.runs}
    for run in view.collection.runs.values():
        for row in run.rows:
            table.records.append({"run_id": run.id, "role": run.role, "stamp": stamps.get(run.id, ""), **dict(row)})
    return table


def points_table(figure: Figure) -> Table:
    """What a figure shows, in numbers."""
    table = Table(figure.key, figure.title)
    for panel in figure.panels:
        for series in panel.series:
            for point in series.points:
                category = panel.categories[int(point.x)] if panel.categories else None
                table.records.append({
                    "panel": panel.title, "stamp": panel.stamp, "series": series.label, "x": point.x,
                    "category": category, **_numbers(point.estimate),
                    "honest": point.honest.value if point.honest else None,
                    "honest_low": point.honest.low if point.honest else None,
                    "honest_high": point.honest.high if point.honest else None, "runs": " ".join(point.runs),
                })  # fmt: skip
        for level in panel.levels:
            table.records.append({
                "panel": panel.title, "stamp": panel.stamp, "series": level.label, "x": None, "category": None,
                **_numbers(level.estimate), "honest": None, "honest_low": None, "honest_high": None,
                "runs": " ".join(level.runs),
            })  # fmt: skip
    table.shown = {
        "panel": "panel", "series": "series", "place": figure.x_label or "what",
        "correct ± stderr [low, high]": "correct ± s.e.",
        "honest [honest_low, honest_high]": "round chosen on other problems", "seeds": "seeds", "n": "problems",
    }  # fmt: skip
    for record in table.records:
        record["place"] = record["category"] if record["category"] is not None else record["x"]
    return table


def _numbers(estimate: Estimate) -> Record:
    return {
        "correct": estimate.value, "stderr": estimate.error, "low": estimate.low, "high": estimate.high,
        "interval_over": estimate.over, "seeds": estimate.seeds, "n": estimate.n,
    }  # fmt: skip


def to_csv(table: Table) -> str:
    """All columns of all rows; an empty field is no value."""
    import csv
    import io

    columns = list(dict.fromkeys(name for record in table.records for name in record))
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows([{name: _plain(value) for name, value in record.items()} for record in table.records])
    return buffer.getvalue()


def cell_text(record: Mapping[str, Any], column: str) -> tuple[str, str]:
    """The two lines of a cell: a column, or `value ± error`; and what stands below it, `[low, high]`."""
    first, _, ends = column.partition(" [")
    names = first.split(" ± ")
    value, error = number(record.get(names[0])), number(record.get(names[-1])) if len(names) > 1 else ""
    if not value:
        return str(record.get(f"{names[0]}_why_not") or ""), ""
    low_high = [number(record.get(name)) for name in ends.rstrip("]").split(", ")] if ends else []
    return f"{value} ± {error}" if error else value, f"[{', '.join(low_high)}]" if all(low_high) and low_high else ""


def number(value: Any) -> str:
    """Shares with three digits, counts whole, seconds with one."""
    if _none(value):
        return ""
    if isinstance(value, float):
        if abs(value) >= 1000:
            return f"{value:,.0f}"
        return f"{value:.0f}" if value == int(value) and abs(value) > 1 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _none(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    return "" if _none(value) else f"{value:.6g}" if isinstance(value, float) else value


def _best(arm: Arm) -> float:
    choice = choose(arm)
    return choice.best.value if choice else 0.0


def _all(lock: Lock) -> Sequence[Arm]:
    return [*([lock.arm] if lock.arm else []), *lock.elicitations]
