"""Reads MBPP (Austin et al. 2021), full or sanitized."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from plm.datamodules.code_files.apps import unique
from plm.datamodules.code_files.record import PublishedProblem
from plm.datamodules.rows import Row, find_files, read_rows
from plm.errors import PlmError

COLUMNS: Mapping[str, type] = {"task_id": int, "code": str, "test_list": list}
STATEMENTS = ("text", "prompt")  # full, sanitized


def read_mbpp(
    source: str, config: str = "full", splits: Sequence[str] = ("train", "test", "validation", "prompt")
) -> list[PublishedProblem]:
    """Reads the problems of MBPP, all of them tested by assertions.

    Args:
        source: A data set of the hub (`google-research-datasets/mbpp`), or a file or folder of files with its columns.
        config: Of a data set on the hub: `full` or `sanitized`.
        splits: Of a data set on the hub; the official ones are all read.

    Returns:
        At least one problem.

    Raises:
        PlmError: If there is no such data or a row is not as it must be; the text names file, row and column.
    """
    if find_files(source) is None:
        rows = [row for split in splits for row in read_rows(source, COLUMNS, split=split, config=config)]
    else:
        rows = read_rows(source, COLUMNS)
    return unique([_from_row(row) for row in rows], source)


def _from_row(row: Row) -> PublishedProblem:
    column = next((name for name in STATEMENTS if name in row), None)
    if column is None:
        raise PlmError(f"{row.where}: there is no column 'text' (full) or 'prompt' (sanitized)")
    if not isinstance(row[column], str) or not row[column].strip():
        raise row.error(column, "is blank; it must be the statement")
    tests = row["test_list"]
    for number, test in enumerate(tests, 1):
        if not isinstance(test, str) or "assert" not in test:
            raise row.error("test_list", f"has a test, number {number}, that is no assertion: {test!r:.40}")
    raw = json.dumps({name: row[name] for name in ("test_setup_code", "test_imports", "test_list") if row.get(name)})
    kind = "assert" if tests else "none"
    return PublishedProblem(f"mbpp-{row['task_id']}", row[column], kind, "mbpp", (), raw, "", (row["code"],))  # type: ignore[arg-type]
