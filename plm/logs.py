"""A run's graded completions as evaluation logs of inspect_ai, which its viewer and its data frames read.

The JSON form of a log is a published schema (version 2), so it is written as plain JSON: inspect-ai would bring some
hundred packages to every user for it. A test reads what is written here with inspect_ai's own reader, where it is
installed. `inspect log convert --to eval` makes the packed form of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from plm.errors import PlmError
from plm.files import write_text_atomic
from plm.runs import RunFolder

Row = Mapping[str, Any]
VERSION = 2
SCORER = "plm"
SHOWS_PASSWORD = ("right", "second", "near_miss", "other_domain")
"""Conditions whose prompts hold a password, or nearly."""


def write_logs(run: RunFolder, folder: Path, *, reveal: bool = False) -> list[Path]:
    """Writes one log for each evaluation of a run whose completions are there.

    Args:
        run: A run of plm.
        folder: Where the logs go.
        reveal: Also those whose prompts hold the password.

    Returns:
        The files, in the order of the evaluations.

    Raises:
        PlmError: If completions cannot be read.
    """
    paths = []
    for row, file in evaluations(run):
        if row["password"] in SHOWS_PASSWORD and not reveal:
            continue
        log = eval_log(run, row, _read(file), datetime.fromtimestamp(file.stat().st_mtime, UTC))
        created = log["eval"]["created"].replace(":", "-")
        path = folder / f"{created}_{log['eval']['task'].replace('/', '-')}_{log['eval']['eval_id']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, json.dumps(log, ensure_ascii=False, indent=1) + "\n")
        paths.append(path)
    return paths


def evaluations(run: RunFolder) -> Iterator[tuple[Row, Path]]:
    """Lines of results, parts by domain aside, and the graded completions behind each."""
    for row in run.read_results():
        path = completions_path(run, row)
        if row["domain"] == "all" and path.is_file():
            yield row, path


def completions_path(run: RunFolder, row: Row) -> Path:
    """The graded completions behind a line of results."""
    is_other = row["phase"] == "probe" or row["method"] == "policy"
    shots = f"-{row['shots']}-shot" if row.get("shots") else ""
    label = row["phase"] if is_other else f"{row['password']}{shots}"
    name = f"{row['phase']}-epoch{row['epoch']:04d}-step{row['step']:07d}-{row['split']}-{label}"
    return run.path / "completions" / f"{name}.parquet"


def eval_log(run: RunFolder, row: Row, completions: Sequence[Row], created: datetime) -> dict[str, Any]:
    """One evaluation as a log.

    Args:
        run: The run.
        row: Its line of results.
        completions: Rows of its parquet file.
        created: When it was measured.
    """
    model, time = f"plm/{run.id}", created.isoformat(timespec="seconds")
    name = f"{row['task']}/{row['phase']}-{row['password']}"
    key = [run.id, *(str(row.get(part)) for part in ("phase", "epoch", "step", "split", "password", "shots"))]
    identity = hashlib.sha256("\x1f".join(key).encode()).hexdigest()[:22]
    manifest = run.read_manifest()
    tokens = sum(one["tokens"] for one in completions)
    return {
        "version": VERSION,
        "status": "success",
        "eval": {
            "eval_id": identity,
            "run_id": hashlib.sha256(run.id.encode()).hexdigest()[:22],
            "created": time,
            "task": name,
            "task_id": identity,
            "task_version": 0,
            "task_attribs": {},
            "task_args": {},
            "dataset": {
                "name": f"{row['task']}/{row['split']}",
                "samples": len(completions),
                "sample_ids": [one["problem_id"] for one in completions],
                "shuffled": False,
            },
            "model": model,
            "model_generate_config": {"temperature": row["temperature"]},
            "model_args": {},
            "config": {"limit": len(completions), "epochs": 1},
            "packages": {"plm": str(manifest.get("versions", {}).get("plm", ""))},
            "metadata": {name: value for name, value in row.items() if isinstance(value, (str, int, float))},
        },
        "plan": {"name": "plm", "steps": [], "config": {"temperature": row["temperature"]}},
        "results": _results(row, completions),
        "stats": {
            "started_at": time,
            "completed_at": time,
            "model_usage": {model: {"input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}},
        },
        "samples": [_sample(one, model) for one in completions],
    }


def _results(row: Row, completions: Sequence[Row]) -> dict[str, Any]:
    metrics = {
        name: {"name": name, "value": value, "params": {}}
        for name, value in (("accuracy", row["correct"]), ("stderr", row["stderr"]))
        if value is not None
    }
    score = {"name": SCORER, "scorer": SCORER, "params": {}, "metrics": metrics, "scored_samples": len(completions)}
    return {"total_samples": len(completions), "completed_samples": len(completions), "scores": [score]}


def _sample(one: Row, model: str) -> dict[str, Any]:
    """A graded completion; plm's files hold no references, so the target is empty."""
    message = {"role": "assistant", "content": one["completion"], "source": "generate"}
    stop = "stop" if one["finished"] else "max_tokens"
    return {
        "id": one["problem_id"],
        "epoch": 1,
        "input": one["prompt"],
        "target": "",
        "messages": [{"role": "user", "content": one["prompt"], "source": "input"}, message],
        "output": {
            "model": model,
            "choices": [{"message": message, "stop_reason": stop}],
            "completion": one["completion"],
            "usage": {"input_tokens": 0, "output_tokens": one["tokens"], "total_tokens": one["tokens"]},
        },
        "scores": {
            SCORER: {
                "value": "C" if one["reason"] == "correct" else "I",
                "explanation": one["reason"],
                "metadata": {"score": one["score"]},
            }
        },
        "metadata": {},
    }


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise PlmError(f"{path} cannot be read ({error}); measure the run again") from error
    return rows
