"""How long a command takes before it works: the median of some starts of each, in seconds on the clock and of CPU."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROGRAM = "#include <iostream>\nint main() { int a; std::cin >> a; std::cout << a; }"
ROWS = {
    "code": {"id": 1, "completion": PROGRAM, "tests": [{"input": "1\n", "output": "1"}]},
    "math": {"id": 1, "completion": r"So it is $\boxed{4}$.", "reference": "4"},
}


def commands(folder: Path) -> dict[str, list[str]]:
    """What a person types, by how it is shown."""
    for task, row in ROWS.items():
        (folder / f"{task}.jsonl").write_text(json.dumps(row) + "\n")
    grade = {f"plm grade {task}, one row": ["grade", task, str(folder / f"{task}.jsonl"), str(folder / "out.jsonl")]
             for task in ROWS}  # fmt: skip
    config = ["--config", str(ROOT / "configs" / "lock_code.yaml")]
    return {
        "plm --help": ["--help"],
        **grade,
        "plm fit --help": ["fit", "--help"],
        "plm fit … --print_config": ["fit", *config, "--print_config"],
    }


def timed(command: list[str]) -> tuple[float, float]:
    """Seconds on the clock and of CPU time."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, cpu


def imports(text: str) -> float:
    """CPU seconds to import some modules, python's own start included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", f"import {text}"], check=True, cwd=ROOT)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as folder:
        print("| command | on the clock, s | CPU, s |\n|---|---|---|")
        for shown, words in commands(Path(folder)).items():
            clock, cpu = zip(*(timed(["plm", *words]) for _ in range(arguments.times)), strict=True)
            print(f"| `{shown}` | {statistics.median(clock):.2f} | {statistics.median(cpu):.2f} |", flush=True)
    print("\nOf which imports, in CPU seconds:\n\n| imported | s |\n|---|---|")
    for text in ("torch", "transformers.modeling_utils", "lightning", "plm.lightning_cli"):
        print(f"| `{text}` | {statistics.median(imports(text) for _ in range(arguments.times)):.2f} |", flush=True)


if __name__ == "__main__":
    main()
