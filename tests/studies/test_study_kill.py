"""A study that is stopped anywhere, by any signal, ends by the same command as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import torch

from plm.files import read_jsonl
from plm.runs import RunFolder
from plm.studies.manifest import read_manifest
from tests.runs import numbers, weights
from tests.studies.tiny_study import write_study

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 900  # seconds, for a very busy machine


class Command:
    """The study's command in a process group of its own; whatever it starts carries its mark."""

    def __init__(self, path: Path, *more: str) -> None:
        self.path, self.mark = path, uuid.uuid4().hex
        args = ["study", "run", str(path), "--runs", str(path.parent / "runs"), *more]
        with path.with_suffix(".log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "plm", *args], cwd=ROOT, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PLM_TEST_MARK": self.mark},
            )  # fmt: skip

    def wait_for_attempts(self, count: int) -> None:
        until = time.monotonic() + PATIENCE
        while len(read_jsonl(self.path.parent / "runs/studies/tiny/attempts.jsonl")) < count:
            assert self.process.poll() is None and time.monotonic() < until, self.log()
            time.sleep(0.02)

    def workers(self) -> list[int]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                marked = f"PLM_TEST_MARK={self.mark}".encode() in (folder / "environ").read_bytes()
                if marked and int(folder.name) != self.process.pid and "Z" not in _state(folder):
                    found.append(int(folder.name))
            except OSError:
                continue
        return found

    def halt_worker(self) -> tuple[int, str]:
        """Halts the one worker in the middle of a run; says its process and the run."""
        (worker,) = self.workers()
        os.kill(worker, signal.SIGSTOP)
        halted, until = time.time(), time.monotonic() + PATIENCE
        folder, running = self.path.parent / "runs/studies/tiny", []
        while not running:  # in a manifest that was written when all that had ended before was known
            assert self.process.poll() is None and time.monotonic() < until, self.log()
            time.sleep(0.1)
            if (folder / "manifest.json").stat().st_mtime > halted + 2:
                running = [row.id for row in read_manifest(folder)[1] if row.status == "running"]
        (run,) = running
        return worker, run

    def assert_nothing_is_left(self) -> None:
        until = time.monotonic() + 15
        while self.workers() and time.monotonic() < until:
            time.sleep(0.05)
        assert not self.workers()

    def end(self) -> int:
        return self.process.wait(PATIENCE)

    def log(self) -> str:
        return self.path.with_suffix(".log").read_text()


def _state(folder: Path) -> str:
    return (folder / "stat").read_text().rpartition(")")[2].split()[0]


def folders(path: Path):
    _, rows = read_manifest(path.parent / "runs/studies/tiny")
    return rows, {(row.cell or row.name, row.seed): RunFolder(path.parent / "runs" / row.id) for row in rows}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_and_interrupted_studies_make_every_run_once_with_the_same_numbers(tmp_path):
    whole, stopped = write_study(tmp_path / "whole"), write_study(tmp_path / "stopped")
    assert Command(whole, "--jobs", "2").end() == 0

    driver = Command(stopped, "--jobs", "2")
    driver.wait_for_attempts(1)
    driver.process.send_signal(signal.SIGINT)
    assert driver.end() == 130, driver.log()
    assert driver.log().rstrip().endswith("plm: error: interrupted; the same command goes on where it was")
    driver.assert_nothing_is_left()

    driver = Command(stopped, "--jobs", "2")
    driver.wait_for_attempts(4)
    assert driver.workers()
    driver.process.kill()
    assert driver.end() == -signal.SIGKILL
    driver.assert_nothing_is_left()

    driver = Command(stopped, "--jobs", "1")
    driver.wait_for_attempts(6)
    worker, halted = driver.halt_worker()
    os.kill(worker, signal.SIGKILL)
    assert driver.end() == 0, driver.log()
    driver.assert_nothing_is_left()

    assert "Traceback" not in driver.log()
    attempts = read_jsonl(stopped.parent / "runs/studies/tiny/attempts.jsonl")
    killed = [each["run"] for each in attempts if not each["ok"] and "ended by signal 9" in each["error"]]
    assert killed == [halted]
    well = [each["run"] for each in attempts if each["ok"]]
    rows, ours = folders(stopped)
    assert len(well) == len(set(well)) and all(row.status == "finished" for row in rows)
    _, theirs = folders(whole)
    assert ours.keys() == theirs.keys() and len(ours) == 12
    for name, run in ours.items():
        assert numbers(run) == numbers(theirs[name]), name
        if run.model_path.exists():
            left, right = weights(run), weights(theirs[name])
            assert all(torch.equal(left[key], right[key]) for key in left), name
