"""How the verdict on a model is told: a table on the terminal, and a file for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from plm.files import write_text_atomic
from plm.studies.statistics import Interval
from plm.studies.stress_test_verdict import Finding, Verdict

States = Sequence[tuple[str, str]]
MINUTE = 60


def write_verdict(
    path: Path, verdict: Verdict, control: Verdict | None, about: Mapping[str, Any], states: States
) -> Path:
    """Writes everything that was found out, as JSON."""
    content = {
        "about": dict(about),
        "answer": answer(verdict, control),
        "model": verdict.as_row(),
        "control": None if control is None else control.as_row(),
        "incomplete": [{"run": name, "why": why} for name, why in states],
    }
    write_text_atomic(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def print_verdict(verdict: Verdict, control: Verdict | None, states: States) -> None:
    """Prints the table and the answer."""
    console = Console(highlight=False)
    if verdict.findings:
        console.print(_table(verdict, control))
        together = "its interval holds" if len(verdict.findings) == 1 else "the intervals hold together"
        console.print(f" gains over {verdict.shown.value:.3f} as it is; {together} at 95 %\n", markup=False)
    for line in answer(verdict, control):
        console.print(line, markup=False)
    for name, why in states:
        console.print(f"incomplete   {name}: {why}", markup=False, soft_wrap=True)


def answer(verdict: Verdict, control: Verdict | None) -> list[str]:
    """How much more, by which method, at what cost, with what confidence: in sentences."""
    lines = [
        f"As it is, it gets {_share(verdict.shown)} of {verdict.reported_on} problems right; {verdict.chosen_on} others"
        " chose the best point of each method, and the best method."
    ]
    best = verdict.best
    if best is None:
        return [*lines, "No method was measured within the budget: there is nothing to compare with."]
    if verdict.hidden:
        lines.append(
            f"It can do more: {best.correct.value:.2f} by {_method(best)}, a gain of {_gain(best.gain)}, "
            f"for {_spent(best)} in {_time(best.cost['seconds'])}."
        )
    else:
        lines.append(f"Nothing brought out more for sure: the best method, {_method(best)}, gains {_gain(best.gain)}.")
    gains = f"A gain below {verdict.missed:.2f}" if verdict.missed < 1 - verdict.shown.value else "Any gain"
    lines.append(f"{gains} could have been missed (80 % power), and so could what no method here finds.")
    if verdict.ceiling is not None:
        recovered = best.recovered
        text = "undefined, the gap is not resolved" if recovered is None or not recovered.defined else _share(recovered)
        lines.append(f"With the password it has {_share(verdict.ceiling)}; recovered of that gap: {text}.")
    lines.append(_against_control(best, control))
    return lines


def _against_control(best: Finding, control: Verdict | None) -> str:
    if control is None:
        teaches = " by demonstrations" if best.cost["demonstrations"] else ""
        return (
            f"Training teaches, too: only beside a model that never had the capability (--control) is a gain{teaches} "
            "known to have been there before."
        )
    same = next((each for each in control.findings if each.title == best.title), None)
    if same is None:
        return "The control was not measured with this method."
    return f"The control, by the same method: from {control.shown.value:.2f}, a gain of {_gain(same.gain)}."


def _table(verdict: Verdict, control: Verdict | None) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)  # fits into 80 columns
    table.add_column("method", no_wrap=True)
    table.add_column("at", no_wrap=True)
    for name in ("correct", "gain", "cost", "control" if control else "time"):
        table.add_column(name, justify="right", no_wrap=True)
    gains = {finding.title: f"{finding.gain.value:+.2f}" for finding in control.findings} if control else {}
    for finding in verdict.findings:
        last = gains.get(finding.title, "") if control else _time(finding.cost["seconds"])
        cells = [f"{finding.correct.value:.3f}", _gain(finding.gain), _cost(finding), last]
        table.add_row(finding.title, finding.point.text, *cells)
    return table


def _method(finding: Finding) -> str:
    return f"{finding.title} ({finding.point.text})" if finding.point.text else finding.title


def _gain(interval: Interval) -> str:
    return f"{interval.value:+.2f} [{interval.low:+.2f}, {interval.high:+.2f}]"


def _share(interval: Interval) -> str:
    return f"{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _cost(finding: Finding) -> str:
    """Graded completions where a method sampled, else demonstrations."""
    if graded := finding.cost["graded"]:
        return f"{graded:,.0f} graded"
    shown = finding.cost["demonstrations"]
    return f"{shown:,.0f} shown" if shown else ""


def _spent(finding: Finding) -> str:
    if graded := finding.cost["graded"]:
        return f"{graded:,.0f} graded answers"
    if shown := finding.cost["demonstrations"]:
        return f"{shown:,.0f} demonstration" + "s" * (shown > 1)
    return "nothing"


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 10 * MINUTE else f"{seconds / MINUTE:.0f} min"
