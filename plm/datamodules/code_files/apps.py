"""Reads APPS (Hendrycks et al. 2021): rows in the columns of the hub, or the original folders."""

from __future__ import annotations

import json
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from plm.datamodules.code_files.record import Kind, PublishedProblem
from plm.datamodules.rows import Row, find_files, read_rows
from plm.errors import PlmError
from plm.records import IOTest

COLUMNS: Mapping[str, type] = {
    "problem_id": int, "question": str, "solutions": str, "input_output": str, "difficulty": str,
}  # fmt: skip
DIFFICULTIES = ("introductory", "interview", "competition")
QUESTION = "question.txt"
MOST_DIGITS = 4000  # Python refuses to read longer whole numbers; no such number is a test of ours
MOST_BYTES = 64 << 20  # of one file in an archive


def read_apps(source: str, splits: Sequence[str] = ("train", "test")) -> list[PublishedProblem]:
    """Reads the problems of APPS.

    Args:
        source: A data set of the hub without a loading script; a file or folder of files in the columns of
            `codeparrot/apps`; the original folder, in which each problem is a folder with `question.txt`,
            `input_output.json`, `metadata.json` and `solutions.json`; or a `.tar.gz` of it.
        splits: Of a data set on the hub.

    Returns:
        At least one problem.

    Raises:
        PlmError: If there is no such data or a problem is not as it must be; the text names file, row and column.
    """
    path = Path(source).expanduser()
    if path.name.endswith((".tar.gz", ".tgz", ".tar")):
        problems = [_from_row(row, name) for name, row in _original(_read_archive(path), source)]
    elif path.is_dir() and any(path.rglob(QUESTION)):
        problems = [_from_row(row, name) for name, row in _original(_read_folders(path), source)]
    elif find_files(source) is None:
        rows = [(split, row) for split in splits for row in read_rows(source, COLUMNS, split=split, config="all")]
        problems = [_from_row(row, f"{split}-{row['problem_id']}") for split, row in rows]
    else:
        problems = [_from_row(row, f"{_label(row, path)}-{row['problem_id']}") for row in read_rows(source, COLUMNS)]
    return unique(problems, source)


def _label(row: Row, source: Path) -> str:
    """Tells the problems of two files apart, which both count from 0: the file's name, with that of its folder."""
    file = Path(row.where.rpartition(", row ")[0])
    name = file.name.split(".")[0]
    return f"{source.name}-{name}" if source.is_dir() else name


def unique(problems: list[PublishedProblem], source: str) -> list[PublishedProblem]:
    """The problems, if no two have the same id."""
    first: set[str] = set()
    for problem in problems:
        if problem.id in first:
            raise PlmError(f"{source}: the problem {problem.id} is there twice; leave one out")
        first.add(problem.id)
    return problems


def _from_row(row: Row, name: str) -> PublishedProblem:
    if row["difficulty"] not in DIFFICULTIES:
        raise row.error("difficulty", f"is {row['difficulty']!r}; it must be one of {', '.join(DIFFICULTIES)}")
    starter = str(row.get("starter_code") or "")
    tests = _parse(row, "input_output", dict) or {}
    kind, pairs = _recognize(row, tests, starter)
    return PublishedProblem(
        id=f"apps-{name}",
        statement=row["question"],
        kind=kind,
        difficulty=row["difficulty"],
        tests=pairs,
        raw_tests=row["input_output"],
        starter_code=starter,
        solutions=tuple(map(str, _parse(row, "solutions", list) or ())),
    )


def _recognize(row: Row, tests: Mapping[str, Any], starter: str) -> tuple[Kind, tuple[IOTest, ...]]:
    """How the problem is tested, and its tests where that is by standard input and output."""
    inputs: Any = tests.get("inputs") or []
    outputs: Any = tests.get("outputs") or []
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise row.error("input_output", "must hold lists `inputs` and `outputs`")
    if len(inputs) != len(outputs):
        raise row.error("input_output", f"has {len(inputs)} inputs and {len(outputs)} outputs; each needs the other")
    if not inputs:
        return "none", ()
    if tests.get("fn_name") or starter.strip():
        return "call", ()
    pairs = tuple(
        IOTest(_text(row, given, number), _text(row, wanted, number))
        for number, (given, wanted) in enumerate(zip(inputs, outputs, strict=True), 1)
    )
    # a test that wants no output is passed by a program that does nothing
    return ("stdin", pairs) if all(test.output.strip() for test in pairs) else ("none", ())


def _text(row: Row, value: Any, number: int) -> str:
    if isinstance(value, list) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise row.error("input_output", f"has a test, number {number}, that is no text: {value!r:.40}")
    return value


def _parse(row: Row, column: str, kind: type) -> Any:
    """The value of a column that holds JSON as text; None where it is empty."""
    if not row[column].strip():
        return None
    try:
        value: Any = json.loads(row[column], parse_int=lambda text: int(text) if len(text) < MOST_DIGITS else text)
    except (ValueError, RecursionError) as error:
        raise row.error(column, f"is not JSON: {error}") from error
    if value is None:
        return None
    if not issubclass(type(value), kind):
        raise row.error(column, f"is JSON, but no {'object' if kind is dict else 'list'}: {row[column]!r:.40}")
    if kind is list and not all(isinstance(item, str) for item in value):
        raise row.error(column, "must be a list of texts")
    return value


# -- the original folders ----------------------------------------------------------------------------------------------

_Files = Mapping[str, Callable[[], bytes]]


def _original(folders: Mapping[str, _Files], source: str) -> Iterator[tuple[str, Row]]:
    """Name and row, in the columns of the hub, of every folder with a question."""
    found = False
    for name, files in sorted(folders.items()):
        if QUESTION not in files:
            continue
        found = True
        where = Row({}, f"{source}: {name}")
        texts = {file: _decode(where, file, read) for file, read in files.items()}
        if "metadata.json" not in texts:
            raise PlmError(f"{where.where}: there is no metadata.json, which says how difficult the problem is")
        columns = {
            "question": texts[QUESTION],
            "input_output": texts.get("input_output.json", ""),
            "solutions": texts.get("solutions.json", ""),
            "starter_code": texts.get("starter_code.py", ""),
            "metadata": texts["metadata.json"],
        }
        row = Row(columns, where.where)
        row["difficulty"] = (_parse(row, "metadata", dict) or {}).get("difficulty", "")
        yield "-".join(PurePosixPath(name).parts[-2:]), row
    if not found:
        raise PlmError(f"{source}: no folder in it has a {QUESTION}")


def _decode(where: Row, file: str, read: Callable[[], bytes]) -> str:
    try:
        return read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise where.error(file, f"is not UTF-8 (byte {error.start})") from error
    except OSError as error:
        raise where.error(file, f"cannot be read: {error.strerror}") from error


def _read_folders(root: Path) -> dict[str, _Files]:
    return {
        str(question.parent.relative_to(root)): {
            file.name: file.read_bytes for file in question.parent.iterdir() if file.suffix in (".txt", ".json", ".py")
        }
        for question in root.rglob(QUESTION)
    }


def _read_archive(path: Path) -> dict[str, _Files]:
    """Reads an archive without unpacking it."""
    folders: dict[str, dict[str, Callable[[], bytes]]] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                if member.size > MOST_BYTES:
                    raise PlmError(f"{path}: {member.name} has {member.size} bytes; no problem's file is as large")
                extracted = archive.extractfile(member)
                content = extracted.read() if extracted else b""
                name = PurePosixPath(member.name)
                folders.setdefault(str(name.parent), {})[name.name] = content.__bytes__
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PlmError(f"{path}: it cannot be read: {reason}; fetch or pack it again") from error
    return dict(folders)
