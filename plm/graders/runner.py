"""Runs compiled programs, one test at a time, through the driver inside a sandbox."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import struct
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from plm.errors import PlmError
from plm.graders.cpp import Compiled
from plm.graders.sandbox import Isolation, Mounts, make_command
from plm.graders.toolchain import Toolchain

_REQUEST = struct.Struct("=iI")
_ANSWER = struct.Struct("=iIQII")
_PATIENCE = 20.0  # seconds beyond the wall limit after which the driver itself is taken for dead
_STACK_REFUSED = 3  # the driver's exit status


@dataclass(frozen=True)
class Limits:
    """What each test of a program may use.

    Args:
        cpu_seconds: CPU time.
        wall_seconds: Time on the clock, for programs that sleep.
        memory_bytes: Address space.
        output_bytes: Standard output; a program that writes this much has failed.
        stack_bytes: Stack.
    """

    cpu_seconds: float = 0.5
    wall_seconds: float = 5.0
    memory_bytes: int = 512 << 20
    output_bytes: int = 4 << 20
    stack_bytes: int = 64 << 20


@dataclass(frozen=True)
class Outcome:
    """How one run ended.

    Args:
        reason: `exit` for exit status 0, else `timeout`, `crash`, `memory`, `output` or `file`.
        output: What it wrote to standard output.
        seconds: CPU time.
    """

    reason: str
    output: bytes
    seconds: float


class DriverDied(RuntimeError):
    """The driver ended or hung, so the run has no verdict."""


class Session:
    """A sandbox in which the programs of one executable run; every test gets a fresh process.

    Args:
        toolchain: Where the driver and the launcher are.
        isolation: The kind of sandbox.
        executable: What to run: a batch with its own driver, or one program.
        limits: What each test may use.
        stop: Once set, a run is given up at once.
        more: What the executable may read besides the system's libraries: pairs of a path here and the path inside.

    Raises:
        PlmError: If the driver does not start here.
    """

    def __init__(
        self,
        toolchain: Toolchain,
        isolation: Isolation,
        compiled: Compiled,
        limits: Limits,
        stop: threading.Event | None = None,
        more: tuple[tuple[Path, str], ...] = (),
    ) -> None:
        self._limits, self._stop = limits, stop
        driver = compiled.executable if compiled.index >= 0 else toolchain.folder / "driver"
        mounts: list[tuple[Path, str]] = [*more, (driver, "/driver")]
        if compiled.index < 0:
            mounts.append((compiled.executable, "/program"))
        numbers = (1000 * limits.cpu_seconds, 1000 * limits.wall_seconds, limits.memory_bytes, limits.output_bytes)
        command = ["/driver", *(str(int(number)) for number in (*numbers, limits.stack_bytes))]
        command.append("/program" if compiled.index < 0 else "")
        command.append("" if isolation == "none" else "/io/stdin")
        self._process = subprocess.Popen(
            make_command(isolation, toolchain.launcher, Mounts(tuple(mounts)), command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env={"LC_ALL": "C"},
            start_new_session=True,
        )

    def __enter__(self) -> Session:
        try:
            self._receive(1, time.monotonic() + 3 * _PATIENCE)
        except DriverDied as error:
            self.__exit__(None, None, None)
            if self._stop is not None and self._stop.is_set():
                raise
            raise PlmError(self._explain_start()) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _explain_start(self) -> str:
        if self._process.returncode == _STACK_REFUSED:
            size = self._limits.stack_bytes >> 20
            return f"programs cannot be run here: they need a stack of {size} MB, above the hard limit (ulimit -Hs)"
        folder = tempfile.gettempdir()
        return f"programs cannot be run here: the sandbox does not start; is {folder} (TMPDIR) mounted noexec?"

    def run(self, index: int, text: bytes) -> Outcome:
        """Runs a program on one input.

        Args:
            index: Its place in the batch, or -1.
            text: Standard input.

        Returns:
            How it ended.

        Raises:
            DriverDied: If there is no answer.
            PlmError: If the driver cannot set a program up here.
        """
        assert self._process.stdin is not None
        deadline = time.monotonic() + self._limits.wall_seconds + _PATIENCE
        self._send(_REQUEST.pack(index, len(text)) + text, deadline)
        status, timed_out, cpu_us, size, failed = _ANSWER.unpack(self._receive(_ANSWER.size, deadline))
        if failed:
            raise PlmError("programs cannot be run here: the kernel refuses the system call filter or the limits")
        output = self._receive(size, deadline)
        seconds = cpu_us / 1e6
        too_long = bool(timed_out) or seconds > self._limits.cpu_seconds
        return Outcome(_name_end(status, too_long, size >= self._limits.output_bytes), output, seconds)

    def _send(self, data: bytes, deadline: float) -> None:
        assert self._process.stdin is not None
        view, pipe = memoryview(data), self._process.stdin.fileno()
        os.set_blocking(pipe, False)
        while view:
            if not _is_ready(pipe, select.POLLOUT, max(0.0, deadline - time.monotonic())):
                raise DriverDied("the driver does not read")
            try:
                view = view[os.write(pipe, view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise DriverDied("the driver ended") from error

    def _receive(self, size: int, deadline: float) -> bytes:
        assert self._process.stdout is not None
        parts: list[bytes] = []
        pipe = self._process.stdout.fileno()
        while size > 0:
            while not _is_ready(pipe, select.POLLIN, 0.2):
                if time.monotonic() > deadline or (self._stop is not None and self._stop.is_set()):
                    raise DriverDied("the driver does not answer")
            part = os.read(pipe, min(size, 1 << 20))
            if not part:
                raise DriverDied("the driver ended")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)


def _is_ready(pipe: int, event: int, seconds: float) -> bool:
    poll = select.poll()  # unlike select, it takes descriptors above 1023
    poll.register(pipe, event)
    return bool(poll.poll(1000 * seconds))


_SIGNALS = {
    signal.SIGSYS: "file",  # the filter kills a program that tries to write a file
    signal.SIGXFSZ: "output",
    signal.SIGXCPU: "timeout",
    signal.SIGUSR2: "memory",  # raised by the prelude for an uncaught bad_alloc
}


def _name_end(status: int, too_long: bool, too_much: bool) -> str:
    killed_by = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    if killed_by == signal.SIGSYS:
        return "file"
    if too_long:
        return "timeout"
    if too_much:
        return "output"
    if killed_by:
        return _SIGNALS.get(signal.Signals(killed_by), "crash") if killed_by in signal.valid_signals() else "crash"
    return "exit" if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 else "crash"
