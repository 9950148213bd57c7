"""Processes that end together: a child dies with its parent, and a stop signal ends a command in order."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from types import FrameType
from typing import IO

from plm.files import NO_ROOM

GRACE_SECONDS = 20  # for what has to be closed after a stop signal; then the process ends all the same
CHILD = "PLM_CHILD"  # set in a child, which leaves it to its parent to say that both were stopped
_PR_SET_PDEATHSIG = 1
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_libc = ctypes.CDLL(None)


def keep_freed_memory() -> None:
    """Has glibc keep what a training step frees for the next one, instead of asking the kernel for new pages each time.

    On a CPU that is a tenth to a quarter of a step of a tiny model. Blocks of a GiB and more still go back at once.
    Whoever sets glibc's own variables has decided otherwise.
    """
    if not hasattr(_libc, "mallopt") or any(name.startswith("MALLOC_") for name in os.environ):
        return
    _libc.mallopt(_MMAP_THRESHOLD, 1 << 30)
    _libc.mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)


def die_with(parent: int) -> None:
    """Has the kernel kill this process when its parent ends, however that ends.

    Args:
        parent: Process id of the parent, which may be gone already.
    """
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def run_child(
    args: Sequence[str],
    environment: Mapping[str, str],
    *,
    log: IO[bytes] | None = None,
    timeout: float | None = None,
) -> int:
    """Runs the `plm` command in a process that never outlives this one.

    Args:
        args: The command line after `plm`.
        environment: Its environment.
        log: Where everything that it prints goes; where this process prints if None.
        timeout: Seconds after which it is told to stop, as by Ctrl-C.

    Returns:
        The exit code, negative for the signal that ended it; −SIGALRM where the time was over.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "plm", *args],
        env={**environment, CHILD: "1"},
        preexec_fn=functools.partial(become_child, os.getpid()),
        stdout=log,
        stderr=log,
    )
    try:
        return child.wait(timeout)
    except subprocess.TimeoutExpired:
        return -signal.SIGALRM
    finally:
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(GRACE_SECONDS / 2)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


def become_child(parent: int) -> None:
    """What a new process does before anything else: it dies with its parent, which also hears Ctrl-C for it."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to both; the parent passes it on


@contextlib.contextmanager
def stoppable() -> Iterator[list[int]]:
    """Lets SIGTERM interrupt the block as Ctrl-C does; a second signal, or 20 seconds, end the process at once.

    Yields:
        The signal that arrived, empty if none did.
    """
    received: list[int] = []
    lost: list[bool] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def stop(number: int, frame: FrameType | None) -> None:
        if lost:
            lost.clear()
        elif received:
            os._exit(128 + received[0])
        else:
            received.append(number)
        signal.alarm(GRACE_SECONDS)
        raise KeyboardInterrupt

    def unraisable(args: sys.UnraisableHookArgs) -> None:
        # Python drops what is raised inside of a finalizer, so a signal that arrives there is raised again
        if args.exc_type is KeyboardInterrupt and received:
            lost.append(True)
            signal.setitimer(signal.ITIMER_REAL, 0.01)
        else:
            unraisable_before(args)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:  # a process that was told to ignore a signal goes on ignoring it
            signal.signal(number, stop)
    hook, threading.excepthook = threading.excepthook, _quiet_thread
    unraisable_before, sys.unraisablehook = sys.unraisablehook, unraisable
    try:
        yield received
    finally:
        threading.excepthook, sys.unraisablehook = hook, unraisable_before
        signal.alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _quiet_thread(args: threading.ExceptHookArgs) -> None:
    """TensorBoard's thread hands a full disk on to the main thread, which says it in one line."""
    if not (isinstance(args.exc_value, OSError) and args.exc_value.errno in NO_ROOM):
        threading.__excepthook__(args)
