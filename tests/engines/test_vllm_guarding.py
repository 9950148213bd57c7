"""The guard beside a trainer that starts vLLM: real processes, killed in the middle; vLLM itself is not needed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

FOLDER = Path(__file__).parents[2] / "plm" / "engines" / "vllm"
TRAINER = f"""
import os, subprocess, sys, time
sys.path.insert(0, {str(FOLDER)!r})
from guarding import MARK, guarded

def start(code, **arguments):
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, **arguments)
    return [child.pid, int(child.stdout.readline())]

GRANDCHILD = "import subprocess, sys, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
bare = {{key: value for key, value in os.environ.items() if key != MARK}}
"""
MOMENTS = {
    "at once, by the mark": "pids = start(GRANDCHILD)",
    "later, without a mark": "pids = start(GRANDCHILD, env=bare); time.sleep(2)",
}


@pytest.fixture
def trainer():
    made = []

    def run(body):
        code = TRAINER + body
        made.append(subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True))
        return made[-1]

    yield run
    for child in made:
        child.kill()
        child.wait()


def alive(number):
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE


def ended(numbers, seconds=20):
    until = time.monotonic() + seconds
    while any(map(alive, numbers)) and time.monotonic() < until:
        time.sleep(0.05)
    return not any(map(alive, numbers))


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_trainer_that_is_killed_takes_all_with_it(trainer, moment):
    child = trainer(f"with guarded():\n    {MOMENTS[moment]}\n    print(*pids, flush=True)\n    time.sleep(60)")
    numbers = [int(word) for word in child.stdout.readline().split()]
    guards = [each.pid for each in psutil.Process(child.pid).children() if "guarding.py" in " ".join(each.cmdline())]
    assert len(numbers) == 2 and len(guards) == 1 and all(map(alive, numbers))
    os.kill(child.pid, signal.SIGKILL)
    assert ended([*numbers, *guards])


@pytest.mark.parametrize(("raises", "left"), [(True, False), (False, True)])
def test_what_was_started_ends_with_a_start_that_fails_alone(trainer, raises, left):
    child = trainer(
        "before = start(GRANDCHILD)\n"
        "try:\n"
        "    with guarded():\n"
        "        pids = start(GRANDCHILD)\n"
        f"        assert not {raises}\n"
        "except AssertionError:\n"
        "    pass\n"
        "assert MARK not in os.environ\n"
        "print(*before, *pids, flush=True)\n"
        "time.sleep(60)"
    )
    numbers = [int(word) for word in child.stdout.readline().split()]
    kept = numbers if left else numbers[:2]
    try:
        assert len(numbers) == 4 and ended([number for number in numbers if number not in kept])
        assert all(map(alive, kept))
        assert {each.pid for each in psutil.Process(child.pid).children() if alive(each.pid)} == set(kept[::2])
    finally:
        for number in filter(alive, kept):
            os.kill(number, signal.SIGKILL)
