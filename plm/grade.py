"""`plm grade`: verdicts on completions in a file, without a model."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plm.errors import PlmError
from plm.files import write_text_atomic
from plm.graders.code import CodeGrader
from plm.progress import working
from plm.records import Grade, IOTest, Problem

TASKS = ("code",)


class BadRowError(Exception):
    """A row that cannot be graded; the text says what is wrong with it."""


def run_grade(task: str, input: Path, output: Path, unsafe: bool = False) -> int:
    """Grades the rows of a JSON lines file.

    A row of the task `code` is `{"id", "completion", "tests": [{"input", "output"}]}`. Each gives one row
    `{"id", "correct", "score", "extracted", "reason", "seconds"}` in the same order. A row that cannot be graded is
    reported on standard error with its line number, counts as wrong, and its reason says what is the matter.

    Args:
        task: What is graded; `code` is the only task yet.
        input: The file of rows; blank lines are skipped.
        output: The file of verdicts, which appears whole or not at all.
        unsafe: Whether to run programs without isolation where there is none.

    Returns:
        The exit status: 0 if every row was graded, else 1.

    Raises:
        PlmError: If the task is unknown, the input cannot be read or has no JSON, the output cannot be written, g++ is
            missing, or there is no isolation.
    """
    if task not in TASKS:
        raise PlmError(f"task is {task}; it must be one of: {', '.join(TASKS)}")
    lines = _read_lines(input)
    _check_output(output)
    problems: list[Problem] = []
    completions: list[str] = []
    ids: list[Any] = []
    errors: list[str | None] = []
    for number, line in lines:
        try:
            row = _parse_row(line)
            problem, completion = _make_problem(row, number), str(row["completion"])
        except BadRowError as error:
            print(f"{input}:{number}: {error}", file=sys.stderr)
            ids.append(_find_id(line))
            errors.append(f"bad row: {error}")
            continue
        problems.append(problem)
        completions.append(completion)
        ids.append(row["id"])
        errors.append(None)
    grades = iter(_grade(problems, completions, unsafe))
    rows = [
        _make_row(id_, next(grades) if error is None else Grade(False, 0.0, "", error, 0.0))
        for id_, error in zip(ids, errors, strict=True)
    ]
    write_text_atomic(output, "".join(json.dumps(row) + "\n" for row in rows))
    return int(any(errors))


def _grade(problems: list[Problem], completions: list[str], unsafe: bool) -> list[Grade]:
    if not problems:
        return []
    grader = CodeGrader(unsafe=unsafe)
    with working("grading", total=len(problems)) as advance:
        return grader.grade(problems, completions, progress=advance)


def _read_lines(path: Path) -> list[tuple[int, bytes]]:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise PlmError(f"{path} cannot be read: {error.strerror}") from error
    lines = [(number, line) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    if lines and not any(line.lstrip().startswith(b"{") for _, line in lines):
        raise PlmError(f"{path} is not JSON lines: no line of it is a JSON object")
    return lines


def _check_output(path: Path) -> None:
    """Fails before the work rather than after it."""
    if path.is_dir():
        raise PlmError(f"{path} is a folder; give the name of a file to write")
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PlmError(f"{path} cannot be written: {folder} is not a folder that you may write to")


def _parse_row(line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadRowError("not JSON") from error
    if not isinstance(row, dict):
        raise BadRowError("not a JSON object")
    return row


def _make_problem(row: Mapping[str, Any], number: int) -> Problem:
    for key in ("id", "completion", "tests"):
        if key not in row:
            raise BadRowError(f"no `{key}`")
    if not isinstance(row["completion"], str):
        raise BadRowError("`completion` is not a string")
    tests = row["tests"]
    if not isinstance(tests, list) or not tests:
        raise BadRowError("`tests` is not a list with at least one test")
    for i, test in enumerate(tests, 1):
        if not isinstance(test, dict) or not all(isinstance(test.get(key), str) for key in ("input", "output")):
            raise BadRowError(f"test {i} is not an object with strings `input` and `output`")
    pairs = tuple(IOTest(test["input"], test["output"]) for test in tests)
    return Problem(id=str(number), prompt="", domain="", reference="", tests=pairs)


def _find_id(line: bytes) -> Any:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row.get("id") if isinstance(row, dict) else None


def _make_row(id_: Any, grade: Grade) -> dict[str, Any]:
    return {"id": id_, **grade._asdict()}
