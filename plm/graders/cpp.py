"""Compiles C++ programs in a sandbox: plain ones many to a translation unit, the others one by one."""

from __future__ import annotations

import os
import re
import select
import shutil
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from plm.errors import PlmError
from plm.graders.plain import Plain
from plm.graders.sandbox import Isolation, Mounts, make_command
from plm.graders.toolchain import BATCH_HEADER_NAME, Toolchain

MAX_BATCH = 256  # a compilation takes 0.1 to 0.2 s before its first program, and 2 to 5 ms for each short one
_MAX_ROUNDS = 8
_ALONE_SECONDS, _BATCH_SECONDS = 10, 60
_MEMORY_KB, _FILE_BLOCKS = 2 << 20, 64 << 11  # 2 GB; 64 MB in blocks of 512 bytes
_MESSAGE_BYTES = 1 << 20
_LEAST_ROOM = 32 << 20
# out of time, or no C++ whatever is declared: missing headers are not to blame
_HOPELESS = re.compile(r"terminated program|error: (?:stray '|missing terminating )")
_HEADERS_FIRST = re.compile(r"\s*#\s*include\s*<bits/stdc\+\+\.h>")
_ERROR = re.compile(r"^plm_p(\d+):\d+(?::\d+)?: (?:fatal )?error: ", re.MULTILINE)
_OTHER_ERROR = re.compile(r"^(?!plm_p\d+:).*(?:error: |undefined reference)", re.MULTILINE)
_MENTION = re.compile(r"plm_p(\d+)\b")


@dataclass(frozen=True)
class Compiled:
    """A program that compiled.

    Args:
        executable: The file to run.
        index: Its place in a batch, or -1 for an executable of its own.
    """

    executable: Path
    index: int


@dataclass(frozen=True)
class Compiler:
    """Compiles inside a sandbox, into a folder that the caller owns and deletes.

    Args:
        toolchain: The compiler.
        isolation: The kind of sandbox.
        folder: Where executables go.
        stop: Once set, a compilation is given up at once.
    """

    toolchain: Toolchain
    isolation: Isolation
    folder: Path
    stop: threading.Event | None = None

    def compile_alone(self, program: str) -> Compiled | None:
        """Compiles one program as it stands; if that fails, once more with all standard headers put before it.

        Args:
            program: The C++ text.

        Returns:
            The executable, or None if it does not compile (or not within the limits).

        Raises:
            PlmError: If there is no room left in the folder.
        """
        folder = self._make_folder()
        (folder / "program.cpp").write_bytes(program.encode("utf-8", "replace"))
        done = self._compile(folder, ["program.cpp"], ["prelude.o"], _ALONE_SECONDS)
        if not done and not _HEADERS_FIRST.match(program) and not _HOPELESS.search(_read_messages(folder)):
            done = self._compile(folder, ["-include", "bits/stdc++.h", "program.cpp"], ["prelude.o"], _ALONE_SECONDS)
        if done:
            return Compiled(self._seal(folder), -1)
        self._discard(folder)
        return None

    def compile_batch(self, programs: Mapping[int, Plain]) -> tuple[dict[int, Compiled | None], list[int]]:
        """Compiles plain programs together; those with errors are dropped and the rest is compiled again.

        Args:
            programs: The rewritten programs by a number of the caller's.

        Returns:
            The verdict of every number that is certain, and the numbers that must be compiled alone.

        Raises:
            PlmError: If there is no room left in the folder.
        """
        verdicts: dict[int, Compiled | None] = {}
        alone: list[int] = []
        left = dict(programs)
        for _ in range(_MAX_ROUNDS):
            if not left:
                return verdicts, alone
            folder = self._make_folder()
            (folder / "program.cpp").write_bytes(_join(left).encode("utf-8", "replace"))
            if self._compile(folder, ["-fmax-errors=0", "program.cpp"], ["driver.o", "prelude.o"], _BATCH_SECONDS):
                executable = self._seal(folder)
                return verdicts | {key: Compiled(executable, i) for i, key in enumerate(left)}, alone
            guilty, suspects = _attribute(_read_messages(folder), left)
            self._discard(folder)
            if not guilty and not suspects:
                return self._compile_halves(left, verdicts, alone)
            verdicts |= dict.fromkeys(guilty)
            alone += suspects
            left = {key: plain for key, plain in left.items() if key not in {*guilty, *suspects}}
        return verdicts, alone + list(left)

    def _compile_halves(
        self, left: Mapping[int, Plain], verdicts: dict[int, Compiled | None], alone: list[int]
    ) -> tuple[dict[int, Compiled | None], list[int]]:
        keys = list(left)
        if len(keys) == 1:
            return verdicts, alone + keys
        for half in (keys[: len(keys) // 2], keys[len(keys) // 2 :]):
            more, others = self.compile_batch({key: left[key] for key in half})
            verdicts, alone = verdicts | more, alone + others
        return verdicts, alone

    def _make_folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self.folder))

    def _compile(self, folder: Path, sources: Sequence[str], objects: Sequence[str], seconds: int) -> bool:
        """Whether g++ made `folder/program` within the limits; its messages are in `folder/messages`."""
        tools = self.toolchain
        sources = [f"/build/{word}" if word.endswith(".cpp") else word for word in sources]
        limits = f'ulimit -c 0; ulimit -t {seconds}; ulimit -v {_MEMORY_KB}; ulimit -f {_FILE_BLOCKS}; exec "$@"'
        command = ["/bin/sh", "-c", limits, "sh", tools.compiler, *tools.flags, "-I/tools/include", *sources]
        command += [*(f"/tools/{name}" for name in objects), "-o", "/build/program"]
        read_only: list[tuple[Path, str]] = [(tools.folder / "include", "/tools/include")]
        read_only += [(tools.folder / name, f"/tools/{name}") for name in objects]
        mounts = Mounts(tuple(read_only), ((folder, "/build"),), compiler=True)
        with _name_messages(folder).open("wb") as messages:
            process = subprocess.Popen(
                make_command(self.isolation, tools.launcher, mounts, command),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=messages,
                env={"PATH": "/usr/bin:/bin", "TMPDIR": str(folder), "LC_ALL": "C"},
                start_new_session=True,
            )
            done = self._wait(process, 3 * seconds) and stat.S_ISREG((folder / "program").lstat().st_mode)
        if not done and shutil.disk_usage(folder).free < _LEAST_ROOM:
            raise PlmError(f"no room is left in {self.folder.parent} to compile programs (TMPDIR names another folder)")
        return done

    def _seal(self, folder: Path) -> Path:
        """Makes the executable unreadable, so that a program cannot look into it, and takes the sources away."""
        executable = folder / "program"
        executable.chmod(0o111)
        (folder / "program.cpp").unlink()
        _name_messages(folder).unlink()
        return executable

    def _discard(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        _name_messages(folder).unlink()

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> bool:
        """Whether the process ends well within the time on the clock."""
        deadline = time.monotonic() + seconds
        handle = os.pidfd_open(process.pid)
        try:
            ended = select.poll()
            ended.register(handle, select.POLLIN)
            while not ended.poll(200):
                if time.monotonic() > deadline or (self.stop is not None and self.stop.is_set()):
                    return False
            return process.wait() == 0
        finally:
            os.close(handle)
            process.kill()
            process.wait()


def _name_messages(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.messages"


def _read_messages(folder: Path) -> str:
    with _name_messages(folder).open("rb") as file:
        return file.read(_MESSAGE_BYTES).decode("utf-8", "replace")


def _attribute(messages: str, programs: Mapping[int, Plain]) -> tuple[list[int], list[int]]:
    """Finds whose errors these are: programs that have one in their own lines, or else programs that may be to blame.

    A program with an error may be to blame for those in headers and at link time, too, and its messages mention others
    (as what an unknown name may have meant): nobody is suspected before the guilty are gone.
    """
    keys = list(programs)
    guilty = {int(number) for number in _ERROR.findall(messages)}
    suspects: set[int] = set()
    if not guilty and _OTHER_ERROR.search(messages):
        suspects = {int(number) for number in _MENTION.findall(messages)}
    known = range(len(keys))
    return [keys[i] for i in sorted(guilty) if i in known], [keys[i] for i in sorted(suspects) if i in known]


def _join(programs: Mapping[int, Plain]) -> str:
    """Writes the translation unit: one namespace a program, whose errors carry the program's name."""
    parts = [f"#include <{BATCH_HEADER_NAME}>"]
    for i, plain in enumerate(programs.values()):
        name = f"plm_p{i}"
        parts += [f'#line 1 "{name}"', f"namespace {name} {{", f'#line 1 "{name}"', plain.text, "}"]
    table = ", ".join(f"plm_p{i}::plm_main" for i in range(len(programs)))
    parts.append(
        '#line 1 "plm_table"\nextern "C" { extern int (*const plm_programs[])(); extern const int plm_program_count;'
    )
    parts.append(f"int (*const plm_programs[])() = {{{table}}}; const int plm_program_count = {len(programs)}; }}\n")
    return "\n".join(parts)
