"""Runs published Python programs in the sandbox of the C++ grader: same isolation, same filter of system calls."""

from __future__ import annotations

import os
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from plm.errors import PlmError
from plm.graders.cpp import Compiled
from plm.graders.runner import DriverDied, Limits, Outcome, Session
from plm.graders.sandbox import find_isolation
from plm.graders.toolchain import load_toolchain

LIMITS = Limits(cpu_seconds=5.0, wall_seconds=30.0)
"""What a reference may use for each test; ours, for the rule of 0.5 s is for C++."""


class PythonRunner:
    """Runs Python programs on inputs, with this process's interpreter and its standard library, isolated.

    A program is started by the kernel from its first line, `#!interpreter -ISB`, so that the driver's filter need not
    let it start anything else: no files are written, no threads, processes or sockets.

    Args:
        limits: What each run may use.
        unsafe: Whether to run programs without isolation where there is none.

    Raises:
        PlmError: If g++ (which builds the driver) is missing, or there is no way to isolate programs.
    """

    def __init__(self, limits: Limits = LIMITS, *, unsafe: bool = False) -> None:
        self._limits = limits
        self._tools = load_toolchain(0)
        self._isolation = find_isolation(self._tools.launcher, unsafe=unsafe)

    def run(self, program: str, inputs: Sequence[str]) -> list[Outcome]:
        """Runs a program on each input, and stops after the first that does not end with exit status 0.

        Args:
            program: Its text.
            inputs: Texts of standard input.

        Returns:
            How the runs ended; the last may have failed, all before it have not.

        Raises:
            PlmError: If programs cannot be run on this machine.
        """
        interpreter, mounts = _find_interpreter()
        outcomes: list[Outcome] = []
        with tempfile.TemporaryDirectory(prefix="plm-python-") as folder:
            script = Path(folder) / "program"
            script.write_bytes(f"#!{interpreter} -ISB\n".encode() + program.encode("utf-8", "replace"))
            script.chmod(0o755)
            with Session(self._tools, self._isolation, Compiled(script, -1), self._limits, more=mounts) as session:
                for text in inputs:
                    try:
                        outcomes.append(session.run(-1, text.encode("utf-8", "replace")))
                    except DriverDied:
                        outcomes.append(Outcome("crash", b"", 0.0))
                    if outcomes[-1].reason != "exit":
                        break
        return outcomes


@cache
def _find_interpreter() -> tuple[Path, tuple[tuple[Path, str], ...]]:
    """The interpreter, and what it must be able to read, each at its own path."""
    interpreter = Path(os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable))
    if len(str(interpreter)) > 200 or " " in str(interpreter):
        raise PlmError(f"Python programs cannot be run with {interpreter}: the path is too long or has a blank")
    needed = {interpreter, Path(os.path.realpath(sysconfig.get_path("stdlib")))}
    needed.add(Path(os.path.realpath(sysconfig.get_path("platstdlib", vars={"platbase": sys.base_prefix}))))
    library = sysconfig.get_config_var("INSTSONAME")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and library:
        needed.add(Path(sysconfig.get_config_var("LIBDIR")) / library)
    mounts = tuple((path, str(path)) for path in sorted(needed) if path.exists() and not _is_system(path))
    return interpreter, mounts


def _is_system(path: Path) -> bool:
    """Whether every sandbox has it already."""
    return any(path.is_relative_to(folder) for folder in ("/usr/lib", "/usr/lib64", "/lib", "/lib64"))
