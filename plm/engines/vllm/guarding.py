"""Ends what vLLM has started when the trainer dies before vLLM's own processes can watch it.

Run as a script, this file is the guard: a small process beside the trainer that outlives it by a second.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MARK = "PLM_VLLM_STARTED_BY"  # in the environment of every process that is started meanwhile
_LOOKS_EVERY = 0.25  # seconds; what is younger still has the mark
_LOOKS_AFTERWARDS = 4
_OWN_END = b"resource_tracker"  # Python's helper, which tidies up and ends when its pipe is closed


class Process(NamedTuple):
    """A process: its number, and when it began in the kernel's ticks, since numbers are used again."""

    number: int
    began: int


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """What is started inside, and what that starts, is killed if this process dies inside or the block raises."""
    mark, spared = secrets.token_hex(8), descendants(os.getpid())
    there = [f"{each.number}:{each.began}" for each in spared]
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(os.getpid()), mark, *there],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.environ[MARK] = mark
    try:
        yield
    except BaseException:
        kill((descendants(os.getpid()) - spared) | marked(mark))
        raise
    finally:
        os.environ.pop(MARK, None)
        guard.kill()
        guard.wait()


def watch(trainer: int, mark: str, spared: set[Process]) -> None:
    """The guard's work. A process that renames itself may lose its environment, so that it is noted while it lives."""
    seen = set[Process]()
    while os.getppid() == trainer:
        seen |= descendants(trainer) - spared
        time.sleep(_LOOKS_EVERY)
    for _ in range(_LOOKS_AFTERWARDS):
        kill(seen | marked(mark))
        time.sleep(_LOOKS_EVERY)


def descendants(root: int) -> set[Process]:
    """Children of a process and theirs."""
    parents = {Process(number, began): parent for number, parent, began in _processes()}
    found, numbers = set[Process](), {root}
    while more := {each for each, parent in parents.items() if parent in numbers} - found:
        found |= more
        numbers = {each.number for each in more}
    return found


def marked(mark: str) -> set[Process]:
    """Processes that were started with the mark."""
    wanted = f"{MARK}={mark}".encode()
    return {
        Process(number, began) for number, _, began in _processes() if wanted in _read(number, "environ").split(b"\0")
    }


def kill(processes: set[Process]) -> None:
    """Ends processes at once, but this one and Python's helpers."""
    for number, began in processes:
        if number != os.getpid() and _began(number) == began and _OWN_END not in _read(number, "cmdline"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def _processes() -> Iterator[tuple[int, int, int]]:
    """Number, parent and beginning of all of them."""
    for folder in Path("/proc").glob("[0-9]*"):
        if fields := _fields(int(folder.name)):
            yield int(folder.name), int(fields[1]), int(fields[19])


def _began(number: int) -> int:
    fields = _fields(number)
    return int(fields[19]) if fields else -1


def _fields(number: int) -> list[bytes]:
    """Of /proc/NUMBER/stat, those behind the name, which may hold anything."""
    return _read(number, "stat").rpartition(b")")[2].split()


def _read(number: int, file: str) -> bytes:
    try:
        return Path(f"/proc/{number}/{file}").read_bytes()
    except OSError:  # it has ended, or is another user's
        return b""


if __name__ == "__main__":
    there = {Process(*map(int, each.split(":"))) for each in sys.argv[3:]}
    watch(int(sys.argv[1]), sys.argv[2], there)
