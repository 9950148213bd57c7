"""The C++ compiler and what is built once for it: precompiled headers, the driver, the launcher, the list of names."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plm.errors import PlmError
from plm.files import atomic_folder, exclusive_lock
from plm.graders.plain import BATCH_HEADER

NATIVE = Path(__file__).parent / "native"
BATCH_HEADER_NAME = "plm_batch.h"  # of three quarters of the size of bits/stdc++.h, which every compilation has to load

# The standard is g++ 12's default. Variables start as zero, so that a program that reads one before setting it
# behaves the same in a batch, alone and in every run.
FLAGS = ("-std=gnu++17", "-w", "-pipe", "-ftrivial-auto-var-init=zero", "-fno-diagnostics-show-caret")


@dataclass(frozen=True)
class Toolchain:
    """A compiler and the folder with what was built for it.

    Args:
        compiler: Path of g++.
        folder: The cache folder: `include/`, `driver`, `driver.o`, `prelude.o`, `launcher`, `names.txt`,
            `macros.txt` and `sizes.json`, which is written last.
        flags: What every program is compiled with.
    """

    compiler: str
    folder: Path
    flags: tuple[str, ...]

    @property
    def launcher(self) -> Path:
        """Our own launcher of sandboxes."""
        return self.folder / "launcher"

    @functools.cached_property
    def names(self) -> frozenset[str]:
        """Every name that the standard headers put into the global namespace, into `std`, or define as a macro."""
        return frozenset((self.folder / "names.txt").read_text().split())

    @functools.cached_property
    def macros(self) -> frozenset[str]:
        """Those of them that are macros."""
        return frozenset((self.folder / "macros.txt").read_text().split())


@functools.cache
def load_toolchain(optimization: int = 0) -> Toolchain:
    """Finds g++ and builds what it needs, once for every user of the cache folder.

    The cache folder is `PLM_CACHE`, else `~/.cache/plm`; the entry's key covers the compiler's version, its flags and
    our sources. Two processes may build at once: one waits for the other. An entry of which something is missing, as
    cleaners of old files leave it, is built again.

    Args:
        optimization: The level after `-O`, in 0 to 3.

    Returns:
        The compiler with its cache entry (about 165 MB). It links with gold where that is installed, in half the time.

    Raises:
        PlmError: If g++ is not installed, does not work, or the cache folder cannot be written to.
    """
    if optimization not in range(4):
        raise PlmError(f"optimization is {optimization}; it must be 0, 1, 2 or 3")
    compiler = _find_compiler()
    flags = (*FLAGS, f"-O{optimization}", *(["-fuse-ld=gold"] if shutil.which("ld.gold") else []))
    cache = _cache_folder() / "cpp"
    folder = cache / _make_key(compiler, flags)
    if not _is_whole(folder):
        with exclusive_lock(cache / "build.lock", "waiting for another process that prepares the C++ compiler"):
            if not _is_whole(folder):
                with atomic_folder(folder) as fresh:
                    _build(compiler, flags, fresh)
    return Toolchain(compiler, folder, flags)


def _find_compiler() -> str:
    found = shutil.which("g++")
    if found is None:
        raise PlmError("g++ is not installed: programs cannot be graded (install the package `g++`)")
    return os.path.realpath(found)


def _cache_folder() -> Path:
    given = os.environ.get("PLM_CACHE")
    try:
        if given:
            return Path(given).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "plm"
    except RuntimeError as error:
        raise PlmError("there is no home folder to keep the prepared compiler in; set PLM_CACHE to a folder") from error


def _make_key(compiler: str, flags: Sequence[str]) -> str:
    version = _run([compiler, "-v"])
    sources = b"".join(path.read_bytes() for path in sorted(NATIVE.glob("*.cpp")))
    text = "\0".join([compiler, version, *flags, BATCH_HEADER]).encode()
    return hashlib.sha256(text + sources + Path(__file__).read_bytes()).hexdigest()[:16]


def _build(compiler: str, flags: Sequence[str], folder: Path) -> None:
    """Fills a cache entry."""
    header = _find_header(compiler)
    include = folder / "include" / "bits"
    include.mkdir(parents=True)
    _run([compiler, *flags, "-x", "c++-header", header, "-o", str(include / "stdc++.h.gch")])
    (include / "stdc++.h").write_text("#include_next <bits/stdc++.h>\n")  # for a second include of it
    batch = folder / "include" / BATCH_HEADER_NAME
    batch.write_text(BATCH_HEADER)
    _run([compiler, *flags, "-x", "c++-header", str(batch), "-o", f"{batch}.gch"])
    for name in ("driver", "prelude", "launcher"):
        _run([compiler, "-std=gnu++17", "-O1", "-c", str(NATIVE / f"{name}.cpp"), "-o", str(folder / f"{name}.o")])
    _run([compiler, str(folder / "driver.o"), "-o", str(folder / "driver")])
    _run([compiler, str(folder / "launcher.o"), "-o", str(folder / "launcher")])
    (folder / "driver").chmod(0o755)
    names, macros = _find_names(compiler, flags, header, folder)
    (folder / "names.txt").write_text("\n".join(sorted(names)))
    (folder / "macros.txt").write_text("\n".join(sorted(macros)))
    (folder / "sizes.json").write_text(json.dumps(_measure(folder)))


def _measure(folder: Path) -> dict[str, int]:
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != "sizes.json"]
    return {str(path.relative_to(folder)): path.stat().st_size for path in paths}


def _is_whole(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "sizes.json").read_text()) == _measure(folder))
    except (OSError, ValueError):
        return False


def _find_header(compiler: str) -> str:
    done = subprocess.run(
        [compiler, "-E", "-x", "c++", "-"],
        input="#include <bits/stdc++.h>\n",
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r'"([^"\n]*bits/stdc\+\+\.h)"', done.stdout)
    if found is None:
        raise PlmError(
            f"{compiler} has no header bits/stdc++.h: programs cannot be graded (install libstdc++'s headers)"
        )
    return found[1]


def _find_names(compiler: str, flags: Sequence[str], header: str, folder: Path) -> tuple[set[str], set[str]]:
    """Lists what the headers declare globally, in `std` or as macros, and the macros alone.

    The compiler is asked about every identifier.
    """
    text = _run([compiler, *flags, "-E", "-dD", "-x", "c++", header])
    words = sorted(set(re.findall(r"\b[A-Za-z]\w*", text)))
    lines = [
        f"namespace plm_{place}_{word} {{ using {scope}::{word}; }}"
        for word in words
        for place, scope in enumerate(("", "std"))
    ]
    source = folder / "names.cpp"
    source.write_text("\n".join(["#include <bits/stdc++.h>", *lines]))
    command = [compiler, *flags, f"-I{folder / 'include'}", "-fsyntax-only", "-fmax-errors=0", str(source)]
    errors = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    source.unlink()
    absent = {
        int(line) - 2 for line in re.findall(r"names\.cpp:(\d+):\d+: error: .* has not been declared in ", errors)
    }
    macros = set(re.findall(r"^#define (\w+)", text, re.MULTILINE))
    return macros | {word for i, word in enumerate(words) if not {2 * i, 2 * i + 1} <= absent}, macros


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode != 0:
        raise PlmError(f"{command[0]} does not work: {(done.stderr.strip() or 'no message').splitlines()[0]}")
    return done.stdout + (done.stderr if "-v" in command else "")
