"""The runs of a stress test: planned, made within the time that there is, and read."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from plm.errors import PlmError
from plm.files import write_text_atomic
from plm.lineage import lock_kind, read_description
from plm.processes import run_child
from plm.progress import say, working
from plm.runs import RunFolder
from plm.studies.manifest import Row, StudyFolder, run_finished
from plm.studies.planner import Planner, make_parsers
from plm.studies.run_log import last_error
from plm.studies.stress_test_battery import Member, Setting, battery, shown
from plm.studies.stress_test_verdict import Measured, Point, Reader, Verdict, judge
from plm.suggestions import nearest

LEAST_SECONDS = 5.0  # of time left for which a run is still begun


@dataclass(frozen=True)
class Asked:
    """What is asked of a battery beside its settings.

    Attributes:
        task: The task's name.
        runs: Folder of all runs.
        configs: YAML files laid over every run.
        seeds: Runs of each method.
        methods: Which methods; all where None.
    """

    task: str
    runs: Path
    configs: Sequence[str]
    seeds: int
    methods: Sequence[str] | None


@dataclass
class Job:
    """A run of a battery: a member with one seed, for one model.

    Attributes:
        member: What is run.
        row: Its line in the manifest.
        state: Why there is less of it than there should be; empty where it finished.
    """

    member: Member
    row: Row
    state: str = ""

    @property
    def is_control(self) -> bool:
        """Whether it is about the model that never had the capability."""
        return self.row.role == "control"


def plan_jobs(asked: Asked, arms: Sequence[Setting], folder: StudyFolder) -> list[Job]:
    """All runs, in the order in which they are made: what the models show, then methods that cost little."""
    kind = lock_kind(read_description(Path(arms[0].model))) if Path(arms[0].model).is_dir() else "unknown"
    jobs: list[Job] = []
    with working("planning", total=None):
        planner = Planner(make_parsers(), Path(asked.runs), folder.path)
        for member, setting in _members(asked.methods, arms):
            path = _write(folder, asked.task, member, setting)
            configs = [word for each in (path, *asked.configs) for word in ("--config", str(each))]
            for seed in range(1 if member.key == "shown" else asked.seeds):
                row = planner.add([member.command, *configs, "--seed_everything", str(seed)])
                row.cell, row.method, row.k = member.title, member.method, member.k
                row.labels = {"method": member.method}
                row.control_of = member.title if setting.phase == "control" else None
                row.role = {"control": "control"}.get(setting.phase, "lock" if member.key == "shown" else "elicit")
                jobs.append(Job(member, row))
    base = jobs[0].row.id
    for job in jobs:
        if not job.is_control:
            job.row.lock, job.row.lock_kind = base, kind
    return jobs


def _members(methods: Sequence[str] | None, arms: Sequence[Setting]) -> Iterable[tuple[Member, Setting]]:
    known = list(dict.fromkeys(member.method for member in battery(arms[0])))
    for name in methods or ():
        if name not in known:
            raise PlmError(f"--methods {name}{nearest(name, known)}: there are {', '.join(known)}")
    chosen = set(methods or known)
    for setting in arms:
        yield shown(setting), setting
    for members in zip(*(battery(setting) for setting in arms), strict=True):
        for member, setting in zip(members, arms, strict=True):
            if member.method in chosen:
                yield member, setting


def _write(folder: StudyFolder, task: str, member: Member, setting: Setting) -> Path:
    """Writes a member's configuration; its file's name is the run's."""
    arm = "control" if setting.phase == "control" else "model"
    path = folder.path / "configs" / arm / f"stress_{member.key}_{task.rpartition('.')[2].lower()}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomic(path, yaml.safe_dump(member.config, sort_keys=False))
    return path


def make_missing(
    jobs: Sequence[Job], runs: Path, folder: StudyFolder, deadline: float, about: Mapping[str, Any]
) -> None:
    """Makes what is missing; each run may use an equal share of the time that is left, and leaves over what it can.

    What a model shows may use all of it: without that nothing can be said.
    """
    missing = [job for job in jobs if not run_finished(runs, job.row)]
    for job in jobs:
        job.row.status = "waiting" if job in missing else "finished"
    for place, job in enumerate(missing):
        left = deadline - time.monotonic()
        folder.write(about, [each.row for each in jobs])
        if left < LEAST_SECONDS:
            job.state = "not begun: the time was over"
            continue
        with working("stress test", f"{job.row.shown} ({len(jobs) - len(missing) + place + 1} of {len(jobs)})"):
            share = left if job.member.key == "shown" else left / (len(missing) - place)
            _make(job, runs, folder, share)
        say(f"  {job.row.shown:<28} {_outcome(job, runs)}")
    if len(missing) < len(jobs):
        say(f"  {len(jobs) - len(missing)} of {len(jobs)} runs were there already")


def _make(job: Job, runs: Path, folder: StudyFolder, seconds: float) -> None:
    row, start = job.row, time.monotonic()
    log = folder.log_path(row.id)
    log.parent.mkdir(parents=True, exist_ok=True)
    row.status = "running"
    with log.open("ab") as file:
        code = run_child([*row.command, "--runs", str(runs)], os.environ, log=file, timeout=seconds)
    row.seconds = round(time.monotonic() - start, 2)
    row.attempts += 1
    row.status = "finished" if run_finished(runs, row) else "waiting" if code < 0 else "failed"
    if row.status == "waiting":
        job.state = f"stopped after {row.seconds:.0f} s, its share"
    elif row.status == "failed":
        row.error = last_error(log)
        job.state = f"failed: {row.error}"
    folder.append_attempt(
        {"run": row.id, "attempt": row.attempts, "seconds": row.seconds, "ok": row.status == "finished",
         "error": row.error}
    )  # fmt: skip


def _outcome(job: Job, runs: Path) -> str:
    rows = [row for row in RunFolder(runs / job.row.id).read_results() if row["password"] == "none"]
    best = max((row["correct"] for row in rows), default=None)
    return (f"at best {best:.3f}, " if best is not None else "") + (job.state or f"{job.row.seconds:.0f} s")


def read_verdict(jobs: Sequence[Job], runs: Path, is_control: bool) -> Verdict | None:
    """What was found out about one of the models; None where it was not measured as it is."""
    reader = Reader()
    mine = [job for job in jobs if job.is_control == is_control]
    if not mine:
        return None
    first = [RunFolder(runs / mine[0].row.id)]
    base = reader.read(first)
    if not base:
        return None
    right = reader.read(first, "right")
    methods: dict[tuple[str, str], Mapping[Point, Measured]] = {}
    for job in mine[1:]:
        name = (job.member.title, job.member.method)
        folders = [RunFolder(runs / other.row.id) for other in mine[1:] if other.member.title == job.member.title]
        if name not in methods and (points := reader.read([each for each in folders if each.read_results()])):
            methods[name] = points
    return judge(next(iter(base.values())), next(iter(right.values()), None), methods, reader.ids)
