"""What evaluation, the weak-unlock probe and handing weights to vLLM take, as shares of a round.

Runs the lock of the embedded default for its rounds (`configs/lock_code.yaml`; its base is fitted first unless `--runs`
holds it), with the engine named, and reads the run's own account of its time. A round is training, evaluating under
every condition and probing; grading is a part of evaluating. With vLLM also one evaluation's generation beside a sync.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from plm.processes import die_with

ROOT = Path(__file__).parents[1]
EVALUATIONS, PROBLEMS = ("training", "evaluating", "probing"), 200
DEFAULT = "HFEngine"  # of a task


def lock(runs: Path, seed: int, engine: str) -> dict[str, float]:
    """Runs the lock and returns its seconds by stage."""
    command = [sys.executable, "-m", "plm", "fit", "--config", "configs/lock_code.yaml", "--runs", str(runs.resolve())]
    command += ["--seed_everything", str(seed)]
    command += ["--data.engine", engine] if engine != DEFAULT else []  # named, it would be another run
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        preexec_fn=functools.partial(die_with, os.getpid()),
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    newest = max(runs.glob(f"lock_code/[!.]*-seed{seed}/manifest.json"), key=lambda path: path.stat().st_mtime)
    seconds: dict[str, float] = json.loads(newest.read_text())["seconds"]
    return seconds


def shares(seconds: dict[str, float], rounds: int) -> list[str]:
    """Rows of the table: each stage in seconds a round and as a share of it."""
    whole = sum(seconds[stage] for stage in EVALUATIONS)
    rows = [(stage, seconds[stage]) for stage in EVALUATIONS]
    rows.insert(2, ("of which grading", seconds["grading"]))
    return [f"| {name} | {value / rounds:.2f} | {value / whole:.1%} |" for name, value in rows]


def sync_row() -> str:
    """Handing over weights and one evaluation's generation at the embedded size, on vLLM."""
    from plm.engines import SamplingParams, VLLMEngine
    from plm.engines.vllm import is_installed
    from plm.models import FromScratch

    if not is_installed():
        return "A sync of weights to vLLM: vLLM is not installed here."
    model, tokenizer = FromScratch(vocab_size=300).load(f"print the number {index}" for index in range(500))
    prompts = [tokenizer.encode(f"print the number {index} and then stop")[:40] for index in range(PROBLEMS)]
    engine, params = VLLMEngine(kv_cache_gib=0.5), SamplingParams(128, 0.0, len(tokenizer))
    try:
        engine.sync(model, "0")
        engine.generate(prompts[:8], params, version="0")
        taken = [(_cpu(lambda v=v: engine.sync(model, v)),
                  _cpu(lambda v=v: engine.generate(prompts, params, version=v))) for v in "123"]  # fmt: skip
    finally:
        engine.close()
    sync, generate = (statistics.median(values) for values in zip(*taken, strict=True))
    held = "held" if sync < 0.02 * generate else "NOT HELD"
    return (
        f"A sync of weights to vLLM takes {sync:.3f} s of CPU time beside {generate:.1f} s of generating for one "
        f"evaluation ({PROBLEMS} prompts, 128 tokens each): {sync / generate:.1%} (bar: 2 %, {held})."
    )


def _cpu(work: object) -> float:
    start = time.process_time()
    work()  # type: ignore[operator]
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="where runs are kept; a temporary folder by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default=DEFAULT)
    parser.add_argument("--rounds", type=int, default=3, help="that the config has")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        seconds = lock(arguments.runs or Path(temporary), arguments.seed, arguments.engine)
    print(f"`configs/lock_code.yaml`, {arguments.engine}, means of {arguments.rounds} rounds.\n")
    print("| stage | s a round | share |\n|---|---|---|")
    print("\n".join(shares(seconds, arguments.rounds)))
    print(f"\n{sync_row()}")


if __name__ == "__main__":
    main()
