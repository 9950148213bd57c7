"""Rows of real data sets: a hub name or local files, read by `datasets`, checked column by column."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plm.errors import PlmError

FORMATS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".parquet": "parquet"}
NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    bool: "true or false",
    dict: "an object",
}


class Row(dict[str, Any]):
    """A row that knows where it stands.

    Args:
        values: Column → value.
        where: File or data set, and the row's number from 1, for error messages.
    """

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        super().__init__(values)
        self.where = where

    def error(self, column: str, text: str) -> PlmError:
        """An error about one column of this row."""
        return PlmError(f"{self.where}: column {column!r} {text}")


def read_rows(
    source: str | Path,
    columns: Mapping[str, type],
    *,
    split: str = "train",
    config: str | None = None,
    names: Sequence[str] | None = None,
) -> list[Row]:
    """Reads the rows of one split.

    Local files go through the same `datasets` code as a download from the hub.

    Args:
        source: A file (`.jsonl`, `.json`, `.csv`, `.parquet`, the first three also gzipped), a folder of such files,
            read in the order of their names, or a data set of the Hugging Face Hub (`owner/name`).
        columns: Columns that every row must have, and the type of their values. More columns are kept, unchecked.
        split: Of a data set on the hub; files have none.
        config: Of a data set on the hub.
        names: Names of the columns of CSV files without a header.

    Returns:
        At least one row.

    Raises:
        PlmError: If there is no such data, it cannot be read, it is empty, or a row lacks a column or has a value of
            another type; the text names file, row and column.
    """
    rows: list[Row] = []
    for name, loaded in _load(str(source), split, config, names):
        _check_columns(name, loaded.column_names, columns)
        rows += [Row(values, f"{name}, row {number}") for number, values in enumerate(loaded, 1)]
    if not rows:
        raise PlmError(f"{source}: there are no rows")
    for row in rows:
        for column, kind in columns.items():
            if not _is_a(row[column], kind):
                raise row.error(column, f"is {_shown(row[column])}; it must be {NAMES[kind]}")
    return rows


def _load(source: str, split: str, config: str | None, names: Sequence[str] | None) -> Iterator[tuple[str, Any]]:
    import datasets
    from datasets.utils.logging import disable_progress_bar, set_verbosity_error

    disable_progress_bar()
    set_verbosity_error()
    files = find_files(source)
    if files is None:
        try:
            yield f"{source} ({split})", datasets.load_dataset(source, config, split=split)
        except Exception as error:  # whatever the hub, the network or the builder raises
            raise PlmError(_hub_error(source, split, config, error)) from error
        return
    for file in files:
        kind = _format(file)
        more = {"column_names": list(names), "keep_default_na": False} if kind == "csv" and names else {}
        try:
            yield str(file), datasets.load_dataset(kind, data_files=str(file), split="train", **more)
        except Exception as error:
            raise PlmError(_file_error(file, kind, error)) from error


def find_files(source: str) -> list[Path] | None:
    """The data files that a source names, None where it names a data set of the hub.

    Raises:
        PlmError: If it looks like a path and there is nothing, or a folder without data files.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        if found := sorted(file for file in path.iterdir() if file.is_file() and _format(file)):
            return found
        raise PlmError(f"{source}: the folder has no data files ({', '.join(FORMATS)}, or one of them with .gz)")
    if source.startswith((".", "/", "~")) or source.count("/") != 1 or _format(path):
        raise PlmError(f"{source}: there is no such file or folder, and it does not read like a hub name (owner/name)")
    return None


def _format(file: Path) -> str:
    return FORMATS.get(Path(file.name.removesuffix(".gz")).suffix, "")


def _check_columns(name: str, found: Sequence[str], columns: Mapping[str, type]) -> None:
    for column in columns:
        if column not in found:
            raise PlmError(f"{name}: there is no column {column!r}; there are {', '.join(found) or 'none'}")


def _is_a(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _shown(value: Any) -> str:
    text = "empty" if value is None else repr(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _hub_error(source: str, split: str, config: str | None, error: Exception) -> str:
    text = " ".join(str(error).split())
    if "Bad split" in text or "Unknown split" in text:
        return f"{source}: there is no split {split!r} ({text[:200]})"
    if "BuilderConfig" in text or "Config name is missing" in text:
        return f"{source}: the configuration is {config!r}: {text[:300]}"
    return (
        f"{source}: there is no such file or folder, and the Hugging Face Hub does not give a data set of that name "
        f"({type(error).__name__}: {text[:200]})"
    )


def _file_error(file: Path, kind: str, error: Exception) -> str:
    """What is wrong with a local file: `datasets` says little about where."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as broken:
        return f"{file}: it cannot be read: {getattr(broken, 'strerror', None) or broken}; fetch or pack it again"
    if not content.strip():
        return f"{file}: the file is empty"
    if kind == "json":
        for number, line in enumerate(content.split(b"\n"), 1):
            try:
                value = json.loads(line) if line.strip() else {}
            except ValueError as broken:
                return f"{file}, row {number}: not JSON ({broken}); a line is one object"
            if not isinstance(value, dict):
                return f"{file}, row {number}: {_shown(value)} is no object with columns"
    if "corresponds to no data" in str(error):
        return f"{file}: there are no rows"
    cause = error.__cause__ or error
    return f"{file}: it cannot be read as {kind}: {' '.join(str(cause).split())[:300]}"
