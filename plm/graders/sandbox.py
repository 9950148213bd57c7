"""Commands that see a few read-only folders and nothing else: no network, no home, no other process.

Two ways to isolate, chosen by `find_isolation`: bubblewrap where it is installed, else user namespaces through a small
launcher of ours; where neither works, grading is refused unless the caller says `unsafe`.

Covered, by namespaces (both ways): other processes can be neither seen nor signalled, also not by `setsid` children,
which die with the process namespace; no network; no file but the system's libraries (and, for the compiler, its own
programs and headers); a private, empty `/io` in memory is the only place that could be written to; no capabilities.
Covered, by the driver inside (`native/driver.cpp`), for each test of each program, in a process of its own: a filter of
system calls (no new processes or threads, no exec, sockets, ptrace, signals to others, shared memory; an attempt to
write, make, rename or remove a file kills the program with SIGSYS), limits of CPU time, wall time, memory, stack and
output. Covered, for the compiler: limits of CPU time, wall time, memory, size of files and length of messages.

NOT covered: bugs of the kernel, of bubblewrap, of the compiler and its libraries; side channels (timing, caches)
between programs that run at once; the version of the kernel and the kind of processor are visible; memory of the
machine as a whole (each worker may use `memory_mb`, and 2 GB while it compiles); with `unsafe` and no isolation the
system call filter and the limits still hold, but every file that this user can read is readable.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from plm.errors import PlmError

Isolation = Literal["bubblewrap", "namespaces", "none"]

_LIBRARIES = (
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libx32",
    "/usr/local/lib64",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
)
_PROGRAMS = ("/usr/bin", "/usr/libexec", "/usr/include", "/bin")
_NULL = "/dev/null"


@dataclass(frozen=True)
class Mounts:
    """What a command may see, beyond the system's libraries.

    Args:
        read_only: Pairs of a path of this machine and the path inside.
        writable: The same, open for writing.
        compiler: Whether the system's programs and headers are there, too.
    """

    read_only: tuple[tuple[Path, str], ...] = ()
    writable: tuple[tuple[Path, str], ...] = ()
    compiler: bool = False


def make_command(isolation: Isolation, launcher: Path, mounts: Mounts, command: Sequence[str]) -> list[str]:
    """Puts a command into its sandbox.

    Args:
        isolation: How; `none` returns the command as it is, with the paths inside mapped back to those outside.
        launcher: Our own launcher, for `namespaces`.
        mounts: What the command may see.
        command: The command, with paths as they are inside.

    Returns:
        The command to start.
    """
    if isolation == "none":
        return [_map_back(word, mounts) for word in command]
    options = _system_options(mounts.compiler)
    options += ["--symlink", "/io/stdin", "/dev/stdin"]
    options += [word for source, path in mounts.read_only for word in ("--ro-bind", str(source), path)]
    options += [word for source, path in mounts.writable for word in ("--bind", str(source), path)]
    options += ["--tmpfs", "/io", *(("--tmpfs", "/tmp") if mounts.compiler else ()), "--chdir", "/io"]
    if isolation == "namespaces":
        return [str(launcher), *options, "--", *command]
    return [shutil.which("bwrap") or "bwrap", *_bubblewrap_options(), *options, "--remount-ro", "/", "--", *command]


def find_isolation(launcher: Path, *, unsafe: bool) -> Isolation:
    """Finds the best isolation that works on this machine.

    Args:
        launcher: Our own launcher.
        unsafe: Whether to go on without isolation where there is none.

    Returns:
        The first of bubblewrap and user namespaces that works, else `none`.

    Raises:
        PlmError: If neither works and `unsafe` is false.
    """
    kinds: tuple[Isolation, ...] = ("bubblewrap", "namespaces")
    for kind in kinds:
        if works(kind, launcher):
            return kind
    if unsafe:
        return "none"
    raise PlmError(
        "programs cannot be graded safely here: bubblewrap is not usable (install the package `bubblewrap`) and the "
        "kernel refuses user namespaces; in a throw-away container, --unsafe (plm grade, plm prepare), "
        "data.init_args.unsafe_grading: true (plm fit) or unsafe=True (Python) runs them without isolation: they can "
        "then read every file that you can read"
    )


@functools.cache
def works(isolation: Isolation, launcher: Path) -> bool:
    """Tells whether a sandbox of this kind starts here."""
    command = make_command(isolation, launcher, Mounts(compiler=True), ["/bin/sh", "-c", "exit 42"])
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 42


def _bubblewrap_options() -> list[str]:
    options = "--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --die-with-parent --new-session"
    options += " --uid 65534 --gid 65534 --hostname sandbox --cap-drop ALL --clearenv"
    return [*options.split(), "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "LC_ALL", "C"]


@functools.cache
def _system(compiler: bool) -> tuple[str, ...]:
    options: list[str] = []
    for name in (*_LIBRARIES, *(_PROGRAMS if compiler else ())):
        path = Path(name)
        if path.is_symlink():
            options += ["--symlink", os.readlink(path), name]
        elif path.is_dir():
            options += ["--ro-bind", name, name]
    if Path("/etc/ld.so.cache").is_file():
        options += ["--ro-bind", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    return tuple(options)


def _system_options(compiler: bool) -> list[str]:
    return [*_system(compiler), "--dev-bind", _NULL, _NULL]


def _map_back(word: str, mounts: Mounts) -> str:
    for source, path in (*mounts.read_only, *mounts.writable):
        if word == path or word.startswith(path + "/"):
            return str(source) + word[len(path) :]
        if word == "-I" + path:
            return f"-I{source}"
    return word
