"""A study on Ray; cores and shares of GPUs on a cluster of two machines, which Ray itself counts, without any GPU."""

import time

import pytest

from plm.cli import run
from plm.errors import PlmError
from plm.runs import RunFolder
from plm.studies.executor import Job
from plm.studies.manifest import read_manifest
from tests.runs import numbers
from tests.studies.tiny_study import write_study

ray = pytest.importorskip("ray", reason="the extra cluster is not installed")
from ray.cluster_utils import Cluster  # noqa: E402

from plm.studies.ray_executor import RayExecutor  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ASKED = {"share": (1, 0.6), "none": (2, 0), "half": (1, 0.5), "default": (1, None)}  # cores, GPUs of each run


def test_a_study_on_ray_measures_the_same_as_without(tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = {}
    for name, more in (("local", []), ("ray", ["--executor", "ray"])):
        path = write_study(tmp_path / name)
        words = ["--runs", str(path.parent / "runs"), "--only", "SFT on 1", "--seeds", "1", "--jobs", "1", *more]
        assert run(["study", "run", str(path), *words]) == 0
        _, rows = read_manifest(path.parent / "runs" / "studies" / "tiny")
        finished = [row for row in rows if row.status == "finished"]
        found[name] = {row.shown: numbers(RunFolder(path.parent / "runs" / row.id)) for row in finished}
    assert found["ray"] == found["local"] and "SFT on 1, seed 0" in found["ray"] and len(found["ray"]) == 4


def test_shares_of_gpus_are_handed_on_and_never_put_together_of_two(tmp_path):
    cluster = Cluster()
    for _ in range(2):
        cluster.add_node(num_cpus=3, num_gpus=1)
    room = {}
    try:
        for name, (cpus, gpus) in ASKED.items():
            made = RayExecutor(cluster.address, None, gpus, cpus, program="tests.studies.says_devices")
            room[name] = made.slots
            _say_devices(made, tmp_path / name)
            made.close()
        with pytest.raises(PlmError, match="no machine of the cluster has room for a run of 4 cores and 0 GPUs"):
            RayExecutor(cluster.address, None, 0, 4)
    finally:
        cluster.shutdown()
    assert room == {"share": 2, "none": 2, "half": 4, "default": 2}
    seen = {name: [file.read_text() for file in (tmp_path / name).rglob("devices.txt")] for name in ASKED}
    assert seen == {"share": ["0"] * 2, "none": [""] * 2, "half": ["0"] * 4, "default": ["0"] * 2}


def _say_devices(made, runs):
    """A run in every slot at once."""
    for slot in range(made.slots):
        name = f"a/{slot}-seed0"
        made.submit(slot, Job(name, ["fit", name, "--runs", str(runs)], runs / f"{slot}.log"))
    ended = []
    until = time.monotonic() + 120
    while len(ended) < made.slots and time.monotonic() < until:
        ended += made.wait(5)
    assert sorted(each.slot for each in ended) == list(range(made.slots))
    assert all(each.code == 0 for each in ended), ended
