"""`plm study run FILE`: expands, checks, and makes what is missing."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from plm.code_digest import PACKAGE
from plm.errors import PlmError
from plm.files import exclusive_lock, write_text_atomic
from plm.progress import say, working
from plm.studies.display import Display
from plm.studies.executor import (
    Executor,
    LocalExecutor,
    Worker,
    check_shares,
    cores,
    slots_on_gpus,
    visible_gpus,
    worker_environment,
)
from plm.studies.forecast import Forecast, print_forecast
from plm.studies.grid import Wanted, expand
from plm.studies.manifest import Row, StudyFolder, needed_by_others, note_gates, prune, run_finished
from plm.studies.scheduler import Scheduler, with_needs
from plm.studies.study import Study, read_study
from plm.studies.summary import study_status, summarize


def run_study(args: Sequence[str]) -> int:
    """Runs `plm study ARGS` and returns its exit code: 1 where a run has failed."""
    parser = argparse.ArgumentParser("plm study", description="Many runs from one file (docs/studies.md).")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="make every run of a grid that is missing")
    run.add_argument("study", type=Path, help="for instance configs/studies/paper_mini.yaml")
    run.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs")
    run.add_argument("--only", default="", metavar="REGEX", help="only cells whose name matches, and what they need")
    run.add_argument("--seeds", type=int, metavar="N", help="the first N seeds of each cell")
    run.add_argument("--quick", action="store_true", help="the small part that the study calls quick")
    run.add_argument("--dry-run", action="store_true", help="say what would run: runs, hours, disk")
    run.add_argument("--jobs", type=int, metavar="N", help="runs at a time; by default one a core, or one a GPU")
    run.add_argument("--gpus", type=float, default=None, metavar="SHARE", help="of a GPU for each run, as 0.25")
    run.add_argument("--cpus", type=float, default=1.0, metavar="N", help="cores for each run, with Ray")
    run.add_argument("--retries", type=int, default=1, metavar="N", help="how often a failed run is tried again")
    run.add_argument("--executor", choices=("local", "ray"), help="ray where an address is given, else local")
    run.add_argument("--address", help="of a Ray cluster, for instance auto")
    run.add_argument(
        "--keep", choices=("all", "models", "results"), default="all",
        help="what stays of a finished run: models, no checkpoints; results, no weights of what nothing starts from",
    )  # fmt: skip
    status = commands.add_parser("status", help="what became of a study's runs")
    status.add_argument("folder", type=Path, help="runs/studies/NAME")
    parsed = parser.parse_args(list(args))
    return study_status(parsed.folder) if parsed.command == "status" else _run(parsed)


def _run(options: argparse.Namespace) -> int:
    for name, least in (("seeds", 1), ("jobs", 1), ("retries", 0)):
        value = getattr(options, name)
        if value is not None and value < least:
            raise PlmError(f"--{name} is {value}; it must be at least {least}")
    check_shares(options.cpus, options.gpus)
    if options.gpus and not options.dry_run and not _is_ray(options) and not visible_gpus():
        raise PlmError(f"--gpus {options.gpus:g}: no GPU is visible on this machine; leave it out to run without")
    study = read_study(options.study)
    wanted = expand(study, options.seeds, options.quick, whole=True)
    chosen = {(each.cell, each.seed) for each in _matching(expand(study, options.seeds, options.quick), options.only)}
    folder = StudyFolder(options.runs / "studies" / (study.name + ("-quick" if options.quick else "")))
    slots, gpus = _slots(options)
    first: list[Worker] = []
    try:
        rows = _planned(wanted, options.runs, folder, worker_environment(max(1, cores() // slots), gpus), first)
        ours = with_needs(rows, [row.id for row in rows.values() if (row.cell, row.seed) in chosen])
        _note_status(rows.values(), options.runs, folder)
        if options.dry_run:
            forecast = Forecast(options.runs, study.estimates, study.name)
            kinds = forecast.kinds(list(ours.values()), options.keep)
            at_once = {"cpu": slots, "gpu": options.jobs or (slots if any(_devices(options)) else 1)}
            print_forecast(f"{folder.path.name}: what is to run", kinds, options.runs, at_once)
            return 0
        with exclusive_lock(folder.path / ".lock", f"another process works on {folder.path}: waiting for it"):
            _note_status(rows.values(), options.runs, folder)
            for row in ours.values():
                row.status = "waiting" if row.status == "failed" else row.status
            return _make(study, options, folder, rows, ours, slots, first)
    finally:
        for worker in first:  # nobody took it over
            worker.stop()


def _matching(wanted: Sequence[Wanted], pattern: str) -> list[Wanted]:
    try:
        found = [each for each in wanted if re.search(pattern, each.cell)]
    except re.error as error:
        raise PlmError(f"--only {pattern!r} is no regular expression: {error}") from error
    if not found:
        cells = ", ".join(dict.fromkeys(each.cell for each in wanted))
        raise PlmError(f"--only {pattern!r} matches no cell; there are {cells}")
    return found


def _slots(options: argparse.Namespace) -> tuple[int, str | None]:
    """How many runs at a time, and the first one's GPU."""
    if _is_ray(options):
        return options.jobs or 1, None  # the cluster says how many
    devices = _devices(options)
    count = slots_on_gpus(len(devices), options.gpus or 1.0) if any(devices) else cores()
    return options.jobs or count, devices[0] if devices else None


def _devices(options: argparse.Namespace) -> list[str]:
    """What `CUDA_VISIBLE_DEVICES` is in one slot after the other; nothing to say where there is no GPU."""
    gpus = visible_gpus()
    return [""] if gpus and options.gpus == 0 else gpus


def _is_ray(options: argparse.Namespace) -> bool:
    return bool(options.executor == "ray" or (options.address and options.executor is None))


# -- planning ---------------------------------------------------------------------------------------------------------


def _planned(
    wanted: Sequence[Wanted], runs: Path, folder: StudyFolder, environment: Mapping[str, str], first: list[Worker]
) -> dict[str, Row]:
    """The rows of the manifest; taken from the last time where nothing has changed since then."""
    entries = [each.as_dict() for each in wanted]
    key = hashlib.sha256(json.dumps([entries, str(runs)], sort_keys=True, default=str).encode()).hexdigest()
    path = folder.path / "plan.json"
    if (kept := _kept_plan(path, key)) is not None:
        return {row["id"]: Row(**row) for row in kept}
    first.append(Worker(environment))
    first[0].ask({"plan": entries, "runs": str(runs), "folder": str(folder.path)})
    answer: dict[str, Any] | None = {}
    with working("reading configs", "", len(entries)) as advance:
        while answer is not None and "rows" not in answer:
            answer = first[0].answer()
            if answer and "error" in answer:
                raise PlmError(answer["error"])
            if answer and "planned" in answer:
                advance(answer["planned"])
    if answer is None:
        raise PlmError(f"the process that reads the configs ended with code {first[0].process.wait()}")
    files = sorted({*answer["files"], *(str(file) for file in PACKAGE.rglob("*") if _is_code(file))})
    stamps = {file: _stamp(file) for file in files}
    write_text_atomic(path, json.dumps({"key": key, "files": stamps, "rows": answer["rows"]}))
    return {row["id"]: Row(**row) for row in answer["rows"]}


def _kept_plan(path: Path, key: str) -> list[dict[str, Any]] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] != key or any(_stamp(file) != stamp for file, stamp in content["files"].items()):
            return None
        rows: list[dict[str, Any]] = content["rows"]
    except (OSError, ValueError, KeyError):
        return None
    return rows


def _is_code(file: Path) -> bool:
    """Whether a file of the package can change what a configuration means, or a run's identity."""
    beside = file.is_relative_to(PACKAGE / "studies") and file.name != "planner.py"
    return file.is_file() and file.suffix in (".py", ".txt", ".cpp") and not beside


def _stamp(file: str) -> list[int]:
    """When a file was changed and how long it is; nothing where it is not there."""
    try:
        status = os.stat(file)
    except OSError:
        return []
    return [status.st_mtime_ns, status.st_size]


# -- running ----------------------------------------------------------------------------------------------------------


def _note_status(rows: Iterable[Row], runs: Path, folder: StudyFolder) -> None:
    """What the runs' own folders say, and what became of each attempt."""
    rows, attempts = list(rows), folder.attempts()
    needed = needed_by_others(rows)
    for row in rows:
        tried = attempts.get(row.id, [])
        row.attempts = len(tried)
        row.seconds, row.error = (tried[-1]["seconds"], tried[-1]["error"]) if tried else (None, None)
        done = run_finished(runs, row, row.id in needed)
        row.status = "finished" if done else "failed" if row.error else "waiting"
        row.error = None if row.status == "finished" else row.error


def _make(
    study: Study,
    options: argparse.Namespace,
    folder: StudyFolder,
    rows: Mapping[str, Row],
    ours: Mapping[str, Row],
    slots: int,
    first: list[Worker],
) -> int:
    about = _about(study, options)
    write_text_atomic(folder.path / "study.yaml", study.text)
    note_gates(rows.values(), options.runs, study.gate)
    folder.write(about, rows.values())
    left = sum(row.status != "finished" for row in ours.values())
    say(f"{folder.path}: {len(ours)} runs, {len(ours) - left} of them finished")
    if left:
        with closing(_executor(options, slots, first)) as executor:
            first.clear()
            display = Display(
                folder.path.name, ours, executor.slots, folder, Forecast(options.runs, study.estimates, study.name)
            )

            needed = needed_by_others(rows.values())

            def event(kind: str, row: Row) -> None:
                if kind == "finished":
                    prune(options.runs / row.id, options.keep, row.id in needed)
                display.event(kind, row)

            def tick() -> None:
                display.tick()
                if folder.due():
                    folder.write(about, rows.values())

            try:
                Scheduler(ours, executor, options.runs, folder, options.retries, event, tick).run()
            finally:
                display.close()
                for row in ours.values():
                    row.status = "waiting" if row.status == "running" else row.status
                folder.write(about, rows.values())
        note_gates(rows.values(), options.runs, study.gate)
        folder.write(about, rows.values())
    return summarize(folder, ours.values(), options.runs, study.gate)


def _executor(options: argparse.Namespace, slots: int, first: list[Worker]) -> Executor:
    if _is_ray(options):
        from plm.studies.ray_executor import RayExecutor

        for worker in first:
            worker.stop()
        return RayExecutor(options.address, options.jobs, options.gpus, options.cpus)
    if options.address:
        raise PlmError("--address is for --executor ray")
    return LocalExecutor(slots, _devices(options), first[0] if first else None)


def _about(study: Study, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "study": study.name,
        "file": str(study.path),
        "seeds": list(study.quick_seeds if options.quick else study.seeds),
        "quick": options.quick,
        "runs_folder": str(options.runs),
        "gate": study.gate,
        "figures": study.figures,
    }
