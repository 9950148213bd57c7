"""Files that survive a crash: whole or absent, appended line by line, and written by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import glob
import json
import os
import secrets
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from plm.errors import PlmError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG}


def write_text_atomic(path: str | Path, text: str) -> None:
    """Writes UTF-8 text so that readers see the old file or the new one, never a part.

    Args:
        path: Where to; its folder is made if needed.
        text: The whole content.

    Raises:
        PlmError: If the folder cannot be written to or is full.
    """
    write_bytes_atomic(path, text.encode())


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Writes bytes so that readers see the old file or the new one, never a part.

    Args:
        path: Where to; its folder is made if needed.
        data: The whole content.

    Raises:
        PlmError: If the folder cannot be written to or is full.
    """
    path = Path(path)
    with readable_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        with _claimed(path, folder=False) as (temporary, descriptor):
            _write_all(descriptor, data)
            os.fsync(descriptor)
            temporary.replace(path)
        _fsync(path.parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Gives a temporary sibling folder that becomes `path` when the block ends well, and vanishes when it raises.

    An existing folder is replaced: it is moved aside, the new one takes its place, then the old one is deleted. If a
    process is killed between the two moves, the next writer puts the old folder back first.

    Args:
        path: The folder to make; its parents are made if needed.

    Yields:
        The folder to write into.

    Raises:
        PlmError: If the parent folder cannot be written to or is full.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with readable_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
            temporary, _ = stack.enter_context(_claimed(path, folder=True))
        with readable_errors(path.parent, only=NO_ROOM):
            yield temporary
        with readable_errors(path.parent):
            _fsync_tree(temporary)
            _move_into_place(temporary, path)
            _fsync(path.parent)


def append_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends rows to a file of one JSON object a line: one write, on disk when this returns.

    A torn line left by a killed writer is cut off first. Numbers that JSON does not have (NaN, infinity) become `null`.

    Args:
        path: The file; made with its folder if needed.
        rows: What to append.

    Raises:
        PlmError: If the folder cannot be written to or is full; then nothing is left of these rows.
    """
    path = Path(path)
    data = "".join(_dump(row) + "\n" for row in rows).encode()
    with readable_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _mend_tail(file.fileno())
            size = os.fstat(file.fileno()).st_size
            try:
                _write_all(file.fileno(), data)
            except OSError:
                os.ftruncate(file.fileno(), size)
                raise
            os.fsync(file.fileno())


def read_jsonl(path: str | Path) -> list[dict[str, Any]]:
    """Reads a file of one JSON object a line; a torn last line, as a killed writer leaves it, is ignored.

    Args:
        path: The file; if there is none, there are no rows.

    Raises:
        PlmError: If a line before the end, or a last line that was ended, is no JSON object.
    """
    path = Path(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PlmError(f"cannot read {path}: {error.strerror}") from error
    rows = []
    for number, line in enumerate(lines, start=1):
        row = _parse(line)
        if row is not None:
            rows.append(row)
        elif number < len(lines):
            raise PlmError(f"{path}, line {number}: not a JSON object; mend or delete this line")
    return rows


def truncate_torn_line(path: str | Path) -> bool:
    """Cuts off a torn last line; a whole one that only lacks its line end gets it.

    Args:
        path: A file of one JSON object a line; nothing happens if there is none.

    Returns:
        True if something was cut off.

    Raises:
        PlmError: If the file cannot be written to.
    """
    path = Path(path)
    if not path.exists():
        return False
    with readable_errors(path.parent), path.open("ab+", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        return _mend_tail(file.fileno())


@contextlib.contextmanager
def exclusive_lock(path: str | Path, message: str) -> Iterator[None]:
    """Lets one process at a time into the block, also across users; the lock ends with the process that holds it.

    Args:
        path: The lock file; it stays behind, empty.
        message: One line, written to standard error if another process holds the lock, before waiting for it.

    Raises:
        PlmError: If the folder cannot be written to.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with readable_errors(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, mode=0o666)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                print(message, file=sys.stderr, flush=True)
                lock.acquire()
            stack.callback(lock.release)
        yield


def replace_durably(temporary: Path, path: Path) -> None:
    """Gives a finished file or folder its name; it is on disk before the name changes, and the name when this returns.

    Args:
        temporary: The finished file or folder, on the same file system.
        path: Its name; a file there is replaced.
    """
    _fsync_tree(temporary)
    temporary.replace(path)
    _fsync(path.parent)


def truncate_durably(path: Path, size: int) -> None:
    """Cuts a file to its first `size` bytes, on disk when this returns.

    Raises:
        PlmError: If the file cannot be written to.
    """
    with readable_errors(path.parent), path.open("rb+") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def disk_usage(folder: Path) -> int:
    """How many bytes the files in a folder and below take on disk."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_blocks * 512
    return total


@contextlib.contextmanager
def readable_errors(folder: Path, only: set[int] | None = None) -> Iterator[None]:
    """Turns what the operating system refuses in a folder into one line for the user.

    Args:
        folder: Named in the line.
        only: Error numbers to turn; all where None.

    Raises:
        PlmError: If the body raised such an error.
    """
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise PlmError(f"cannot write in {folder}: {error.strerror or error}") from error


@contextlib.contextmanager
def _claimed(path: Path, *, folder: bool) -> Iterator[tuple[Path, int]]:
    """Makes a temporary sibling, locked while its writer lives, so that a leftover is told from work in progress."""
    while True:
        temporary = path.with_name(f".{path.name}.tmp-{secrets.token_hex(4)}")
        if folder:
            temporary.mkdir()
            descriptor = os.open(temporary, os.O_RDONLY)
        else:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        _lock(descriptor, wait=True)
        if temporary.exists():  # else a cleaner took it for a leftover before it was locked
            break
        os.close(descriptor)
    try:
        yield temporary, descriptor
    finally:
        _remove(temporary)
        os.close(descriptor)


def _remove_leftovers(path: Path) -> None:
    for aside in path.parent.glob(f".{glob.escape(path.name)}.old-*"):
        if path.exists():
            _remove(aside)
        else:
            aside.rename(path)
    for temporary in path.parent.glob(f".{glob.escape(path.name)}.tmp-*"):
        with contextlib.suppress(OSError):
            descriptor = os.open(temporary, os.O_RDONLY)
            try:
                if _lock(descriptor, wait=False):
                    _remove(temporary)
            finally:
                os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # held by a living writer, or a file system without locks, where nothing is cleaned
        return False
    return True


def _move_into_place(temporary: Path, path: Path) -> None:
    aside = path.with_name(f".{path.name}.old-{secrets.token_hex(4)}")
    while True:
        try:
            temporary.rename(path)
            break
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        with contextlib.suppress(FileNotFoundError):
            path.rename(aside)
    _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _fsync_tree(path: Path) -> None:
    for folder, _, names in os.walk(path):
        for name in names:
            _fsync(Path(folder, name))
    _fsync(path)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _dump(row: Mapping[str, Any]) -> str:
    try:
        return json.dumps(dict(row), ensure_ascii=False, allow_nan=False)
    except ValueError:
        finite = json.loads(json.dumps(dict(row)), parse_constant=lambda _: None)
        return json.dumps(finite, ensure_ascii=False, allow_nan=False)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _mend_tail(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    tail = b""
    while len(tail) < size and b"\n" not in tail:
        tail = os.pread(descriptor, size, max(0, size - 2 * len(tail) - 65536))
    tail = tail.rpartition(b"\n")[2]
    if not tail:
        return False
    if _parse(tail) is not None:
        _write_all(descriptor, b"\n")
        return False
    os.ftruncate(descriptor, size - len(tail))
    return True
