"""How many runs a machine has room for, and which GPU each of them sees."""

import argparse
import math
import subprocess
import sys

import pytest

from plm.errors import PlmError
from plm.studies import command
from plm.studies.executor import Job, LocalExecutor, check_shares, cores, slots_on

PROGRAM = "tests.studies.says_devices"


@pytest.mark.parametrize(
    ("machine", "each", "room"),
    [
        ((8, 0), (1, 0), 8),
        ((8, 0), (3, 0), 2),
        ((8, 0), (0.5, 0), 16),
        ((8, 2), (1, 1), 2),
        ((8, 1), (1, 0.25), 4),
        ((64, 1), (1, 0.1), 10),  # 1 / 0.1 must not be 9.99…
        ((8, 2), (1, 0.6), 2),  # 0.6 twice is more than one GPU, though 2 / 0.6 is 3.3
        ((2, 1), (1, 0.25), 2),  # cores are what is short
        ((8, 0), (1, 0.5), 0),
    ],
)
def test_room_on_a_machine(machine, each, room):
    assert slots_on(*machine, *each) == room


@pytest.mark.parametrize(
    ("cpus", "gpus"),
    [
        (0, None),
        (-1, None),
        (1.5, None),
        (math.nan, None),
        (math.inf, None),
        (1, 2),
        (1, -0.5),
        (1, math.nan),
        (1, 1e-9),
    ],
)
def test_what_no_run_can_have_is_refused(cpus, gpus):
    with pytest.raises(PlmError, match="--cpus is" if gpus is None else "--gpus is"):
        check_shares(cpus, gpus)


@pytest.mark.parametrize(
    ("words", "there", "slots", "devices"),
    [
        ({}, [], None, []),
        ({}, ["0", "1"], 2, ["0", "1"]),
        ({"gpus": 0.25}, ["2", "5"], 8, ["2", "5"]),
        ({"gpus": 0.6}, ["0", "1"], 2, ["0", "1"]),
        ({"gpus": 0.25, "jobs": 3}, ["0", "1"], 3, ["0", "1"]),
        ({"gpus": 0.0}, ["0", "1"], None, [""]),  # none, though there are some
    ],
)
def test_slots_of_this_machine(monkeypatch, words, there, slots, devices):
    monkeypatch.setattr(command, "visible_gpus", lambda: there)
    options = argparse.Namespace(**{"executor": None, "address": None, "jobs": None, "gpus": None, **words})
    assert command._devices(options) == devices
    assert command._slots(options) == (cores() if slots is None else slots, devices[0] if devices else None)


def test_processes_see_their_gpu_alone(tmp_path):
    executor = LocalExecutor(3, ["2", "5"], program=PROGRAM)
    try:
        for slot in executor.idle():
            name = f"a/{slot}-seed0"
            executor.submit(slot, Job(name, ["fit", name, "--runs", str(tmp_path)], tmp_path / f"{slot}.log"))
        ended = []
        while len(ended) < 3:
            ended += executor.wait(5)
    finally:
        executor.close()
    assert all(each.code == 0 for each in ended)
    assert [(tmp_path / f"a/{slot}-seed0/devices.txt").read_text() for slot in range(3)] == ["2", "5", "2"]


def test_a_worker_settles_once():
    program = (
        "import gc; from plm.studies.worker import _settle; _settle(); count = gc.get_freeze_count(); _settle();"
        "from plm.engines import keeping, memory;"
        "assert count > 100_000 and gc.get_freeze_count() == count, count;"
        "assert memory._memory == {} and keeping._keeper is not None"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
