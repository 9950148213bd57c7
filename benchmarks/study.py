"""What a study costs beside its runs: 4,000 runs that do nothing, in real worker processes.

    python benchmarks/study.py                # time a run and the driver's memory, with two workers
    python benchmarks/study.py --runs 400 --executor ray

It fails if a run costs more than 50 ms or the driver's memory grows by more than 20 MB between a tenth and the end.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from plm.studies.display import Display
from plm.studies.executor import LocalExecutor
from plm.studies.forecast import Forecast
from plm.studies.manifest import Row, StudyFolder
from plm.studies.scheduler import Scheduler

MOST_MILLISECONDS = 50
MOST_GROWTH = 20e6  # bytes


def do_nothing(args: list[str]) -> int:
    """Leaves what a finished run leaves, and nothing else."""
    folder = Path(args[args.index("--runs") + 1]) / args[1]
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.safetensors").touch()
    (folder / "manifest.json").write_text(json.dumps({"status": "finished"}))
    return 0


def memory() -> int:
    """Bytes that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def rows(count: int) -> dict[str, Row]:
    """A base, forty locks, and for each of these a hundredth of the rest."""
    made = [Row("base/0-seed0", [], "base", 0)]
    locks = max(1, count // 100)
    made += [Row(f"lock/{n}-seed0", [], "lock", 0, needs=["base/0-seed0"]) for n in range(locks)]
    for n in range(count - len(made)):
        name, lock = f"elicit/{n}-seed0", f"lock/{n % locks}-seed0"
        made.append(Row(name, [], "elicit", 0, cell=f"cell {n}", method="SFT", needs=[lock], base=lock, lock=lock))
    for row in made:
        row.command = ["fit", row.id]
    return {row.id: row for row in made}


class Watch:
    """Takes time and the driver's memory after a tenth of the runs: workers have started then."""

    def __init__(self, display: Display, count: int) -> None:
        self.display, self.count, self.done, self.early, self.since = display, count, 0, 0, 0.0

    def event(self, kind: str, row: Row) -> None:
        """Passes an event on to the display."""
        self.display.event(kind, row)
        self.done += kind == "finished"
        if self.done == self.count // 10 and not self.early:
            self.early, self.since = memory(), time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--executor", choices=("local", "ray"), default="local")
    parsed = parser.parse_args()
    made = rows(parsed.runs)
    with tempfile.TemporaryDirectory() as temporary:
        runs = Path(temporary)
        folder = StudyFolder(runs / "studies" / "nothing")
        if parsed.executor == "ray":
            from plm.studies.ray_executor import RayExecutor

            executor = RayExecutor(None, parsed.jobs, program="benchmarks.study")
        else:
            executor = LocalExecutor(parsed.jobs, program="benchmarks.study")
        display = Display("nothing", made, parsed.jobs, folder, Forecast(runs, {}))
        watch = Watch(display, parsed.runs)

        def tick() -> None:
            display.tick()
            if folder.due():
                folder.write({}, made.values())

        begin, busy = time.monotonic(), time.process_time()
        Scheduler(made, executor, runs, folder, 1, watch.event, tick).run()
        end, cpu, late = time.monotonic(), time.process_time() - busy, memory()
        display.close()
        executor.close()
        assert all(row.status == "finished" for row in made.values())
    each = 1000 * (end - watch.since) / (parsed.runs - parsed.runs // 10)
    growth = late - watch.early
    print(f"{parsed.runs} runs, {parsed.executor}, {parsed.jobs} workers: {end - begin:.1f} s with their start")
    print(f"{each:.1f} ms a run after the first tenth; the driver's own {1000 * cpu / parsed.runs:.2f} ms a run")
    print(f"memory of the driver {late / 1e6:.1f} MB, {growth / 1e6:+.1f} MB since the first tenth")
    if each > MOST_MILLISECONDS or growth > MOST_GROWTH:
        sys.exit(f"too much: at most {MOST_MILLISECONDS} ms a run and {MOST_GROWTH / 1e6:.0f} MB more")


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].isdigit():  # a worker: the argument is its descriptor
        from plm.studies.worker import main as serve

        serve(do_nothing)
    else:
        main()
