"""What is said at a study's end, and by `plm study status`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from plm.errors import PlmError
from plm.progress import console, say
from plm.runs import RunFolder
from plm.studies.gate import gate_of
from plm.studies.manifest import Row, StudyFolder, needed_by_others, read_manifest, run_finished
from plm.studies.scheduler import counts

ORDER = ("finished", "failed", "blocked", "waiting", "running")


def summarize(folder: StudyFolder, rows: Iterable[Row], runs: Path, thresholds: Mapping[str, Any]) -> int:
    """Says how it ended: what failed and why, and which locks are none.

    Args:
        folder: The study's.
        rows: Its rows.
        runs: Folder of all runs.
        thresholds: Of the gate, as the study names them.

    Returns:
        The exit code: 1 where a run has failed.
    """
    rows = list(rows)
    found = counts(rows)
    say(", ".join(f"{found[status]} {status}" for status in ORDER if status in found))
    failed = [row for row in rows if row.status == "failed"]
    for row in failed:
        say(f"  {row.shown}: {row.error} ({folder.log_path(row.id)})")
    for line in unverified(rows, runs, thresholds):
        say(f"  {line}")
    console.print(f"report  plm report {folder.path}", soft_wrap=True)
    return 1 if failed else 0


def unverified(rows: Iterable[Row], runs: Path, thresholds: Mapping[str, Any]) -> Iterator[str]:
    """The locks that fail their gate, a line each: elicitation of them measures nothing."""
    for row in rows:
        if row.role != "lock" or row.status != "finished" or row.command[:1] != ["fit"]:
            continue
        try:
            result = gate_of(RunFolder(runs / row.id), **thresholds)
        except (PlmError, OSError, ValueError, KeyError) as error:
            yield f"{row.shown}: its gate cannot be judged ({error})"
            continue
        if result.stamp:
            yield f"{result.stamp}  {row.shown} fails its gate: {result.reasons[0]}"


def study_status(path: Path) -> int:
    """Says what became of a study's runs.

    Raises:
        PlmError: If there is no study.
    """
    content, rows = read_manifest(path)
    runs, needed = Path(content["runs_folder"]), needed_by_others(rows)
    for row in rows:
        if row.status not in ("failed", "blocked"):
            row.status = "finished" if run_finished(runs, row, row.id in needed) else row.status
    summarize(StudyFolder(path), rows, runs, content.get("gate") or {})
    return 0
