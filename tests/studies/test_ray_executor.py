"""Studies on Ray, started on this machine: runs are made once, what dies is replaced, nothing outlives the driver."""

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

from plm.studies.executor import Job
from plm.studies.manifest import Row, StudyFolder
from plm.studies.scheduler import Scheduler

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
from plm.studies.ray_executor import RayExecutor  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def executor():
    made = RayExecutor(None, 2, program="benchmarks.study")
    yield made
    made.close()


def marked(mark):
    """Command lines of processes whose environment carries the mark."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PLM_TEST_MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode().strip()[-120:])
        except OSError:
            continue
    return found


def test_every_run_is_made_once(tmp_path, executor):
    rows = {f"a/{n}-seed0": Row(f"a/{n}-seed0", ["fit", f"a/{n}-seed0"], "elicit", 0) for n in range(6)}
    folder = StudyFolder(tmp_path / "studies" / "s")
    Scheduler(rows, executor, tmp_path, folder, 0, lambda *_: None, lambda: None).run()
    assert all(row.status == "finished" and row.attempts == 1 for row in rows.values())
    assert executor.slots == 2 and executor.idle() == [0, 1]


def test_a_run_that_fails_says_why(tmp_path, executor):
    executor.submit(0, Job("a/0-seed0", ["fit"], tmp_path / "a.log"))  # the program misses its arguments
    ended = []
    while not ended:
        ended = executor.wait(5)
    assert ended[0].code == 1 and "--runs" in ended[0].error and "Traceback" in (tmp_path / "a.log").read_text()


def test_an_actor_that_dies_is_replaced(tmp_path, executor):
    executor.submit(0, Job("b/0-seed0", ["fit", "b/0-seed0", "--runs", str(tmp_path)], tmp_path / "b.log"))
    ray.kill(executor._actors[0])
    ended = []
    while not ended:
        ended = executor.wait(5)
    assert ended[0].code == 0 or "Ray:" in ended[0].error
    executor.submit(0, Job("c/0-seed0", ["fit", "c/0-seed0", "--runs", str(tmp_path)], tmp_path / "c.log"))
    ended = []
    while not ended:
        ended = executor.wait(5)
    assert ended[0].run == "c/0-seed0" and ended[0].code == 0


def test_nothing_outlives_a_driver_that_is_killed(tmp_path):
    mark = uuid.uuid4().hex
    driver = subprocess.Popen(
        [sys.executable, "benchmarks/study.py", "--executor", "ray", "--runs", "5000"], cwd=ROOT,
        stderr=subprocess.PIPE, text=True, env={**os.environ, "PLM_TEST_MARK": mark}, start_new_session=True,
    )  # fmt: skip
    assert "finished" in driver.stderr.readline()
    assert len(marked(mark)) > 3
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    until = time.monotonic() + 240  # Ray's own processes notice the end of a driver when they next look for it
    while marked(mark) and time.monotonic() < until:
        time.sleep(0.5)
    assert not marked(mark)
