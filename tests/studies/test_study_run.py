"""`plm study run` on tiny models: what it makes, what it refuses before it makes anything.

Worker and runs are in this process here; test_study_kill.py has processes.
"""

import json
import os

import pytest
import yaml

from plm.cli import run
from plm.files import read_jsonl
from plm.runs import RunFolder
from plm.studies import command, worker
from plm.studies.executor import Ended, Executor
from plm.studies.manifest import read_manifest
from tests.studies.tiny_study import write_study


class HereWorker:
    """A worker's work in this process, which has imported everything."""

    def __init__(self, environment):
        self.answers = []

    def ask(self, request):
        self.answers.append(worker._plan(request, open(os.devnull, "w")))

    def answer(self):
        return self.answers.pop()

    def stop(self):
        pass


class HereExecutor(Executor):
    """Makes a run as soon as it is submitted."""

    slots = 1

    def __init__(self):
        self.ended = []

    def idle(self):
        return [] if self.ended else [0]

    def submit(self, slot, job):
        answer = worker._run({"run": job.run, "args": job.args, "log": str(job.log)}, worker._plm)
        self.ended.append(Ended(slot, job.run, answer["code"], answer["seconds"], answer.get("error")))

    def wait(self, seconds):
        ended, self.ended = self.ended, []
        return ended

    def close(self):
        pass


def study(path, *more):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "Worker", HereWorker)
        patch.setattr(command, "_executor", lambda *_: HereExecutor())
        patch.setattr(worker, "_settle", lambda: None)  # this process has other tests to run
        return run(["study", "run", str(path), "--runs", str(path.parent / "runs"), "--jobs", "1", *more])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A part of a study, and then the whole one."""
    path = write_study(tmp_path_factory.mktemp("study") / "s")
    assert study(path, "--only", "SFT on 1", "--seeds", "1") == 0
    first = read_manifest(path.parent / "runs" / "studies" / "tiny")[1]
    assert study(path) == 0
    return path, {row.id: row for row in first}, read_manifest(path.parent / "runs" / "studies" / "tiny")


def test_a_part_is_made_and_the_rest_waits(made):
    _, first, _ = made
    status = {(row.cell or row.name, row.seed): row.status for row in first.values()}
    assert status["SFT on 1", 0] == "finished" and status["lock", 0] == "finished"
    waiting = [name for name, each in status.items() if each == "waiting"]
    assert ("SFT on 1", 1) in waiting and ("lock", 1) in waiting and len(waiting) == 8 - 1 + 1


def test_every_run_is_made_once_after_what_it_needs(made):
    path, _, (_, rows) = made
    attempts = read_jsonl(path.parent / "runs" / "studies" / "tiny" / "attempts.jsonl")
    assert not [each for each in attempts if not each["ok"]]
    assert all(row.status == "finished" and row.attempts == 1 for row in rows)
    assert len(rows) == 8 + 1 + 2 + 1  # cells, base, locks, and the base's answers, which both locks imitate
    folders = [*(path.parent / "runs").glob("[!s]*/[!.]*"), *(path.parent / "runs").glob("samples*/[!.]*")]
    assert {f"{each.parent.name}/{each.name}" for each in folders} == {row.id for row in rows}


def test_a_cell_of_a_seed_starts_from_the_lock_of_that_seed(made):
    path, _, (_, rows) = made
    by_id = {row.id: row for row in rows}
    for row in rows:
        if row.cell:
            parent = RunFolder(path.parent / "runs" / row.id).read_manifest()["parent"]
            assert row.base == parent and by_id[row.base].seed == row.seed
            assert row.lock.startswith("lock/") and by_id[row.lock].seed == row.seed and row.lock_kind == "password"
    (twice,) = [row for row in rows if row.cell == "twice" and row.seed == 1]
    assert by_id[twice.base].cell == "SFT on 2"  # the model in the chain is the cell, not another run


def test_a_row_says_what_the_run_is(made):
    _, _, (about, rows) = made
    (row,) = [row for row in rows if row.cell == "SFT on 2" and row.seed == 1]
    assert (row.role, row.task, row.method, row.k, row.figures) == ("elicit", "tiny", "SFT", 2, ["3"])
    assert {row.role for row in rows} == {"base", "lock", "elicit", "samples"}
    assert [row.model for row in rows if row.role == "lock"] == ["lock", "lock"] and row.model == "tuned"
    assert about["figures"] == {"3": {"x": "k"}} and about["seeds"] == [0, 1]


def test_times_are_those_of_the_run_and_not_of_the_process(made):
    path, _, (_, rows) = made
    spent = [RunFolder(path.parent / "runs" / row.id).read_manifest()["seconds"] for row in rows if row.cell]
    walls = [row.seconds for row in rows if row.cell]
    assert all(each["start-up"] + each["training"] <= wall for each, wall in zip(spent, walls, strict=True))


def test_a_finished_study_does_nothing(made, capfd):
    path, _, _ = made
    assert study(path) == 0
    assert "12 runs, 12 of them finished" in " ".join(capfd.readouterr().err.split())


def test_status_and_dry_run(made, capfd):
    path, _, _ = made
    assert run(["study", "status", str(path.parent / "runs" / "studies" / "tiny")]) == 0
    said = " ".join(capfd.readouterr().err.split())
    assert "12 finished" in said
    for seed in (0, 1):  # of tiny models nobody learns anything: the locks are none, and it is said
        assert f"unverified lock, seed {seed} fails its gate:" in said
    assert study(path, "--dry-run", "--seeds", "3") == 0
    said = capfd.readouterr().out
    assert "runs    17, of which 5 are to be made" in said and "disk" in said and "nothing is known" not in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda grid: grid[0].update(config="configs/absent.yaml"), ("cell SFT on 1 (seed 0)", "absent.yaml")),
        (lambda grid: grid[0]["set"].update({"model.init_args.pases": 2}), ("cell SFT on 1 (seed 0)", "pases")),
        (lambda grid: grid[0].update({"from": "configs/nowhere.yaml"}), ("cell SFT on 1", "nowhere.yaml")),
        (lambda grid: grid[3].pop("from"), ("cell measured", "nothing says which model")),
        (lambda grid: grid.append({**grid[2], "cell": "again"}), ("cells twice", "again", "are one run")),
        (lambda grid: grid[0]["set"].update({"trainer.devices": 2}), ("cell SFT on 1", "trainer.devices is 2")),
    ],
)
def test_what_is_wrong_with_a_cell_is_one_line_before_anything_runs(tmp_path, capfd, change, said):
    path = write_study(tmp_path / "s")
    content = yaml.safe_load(path.read_text())
    content["grid"].insert(2, {**content["grid"][1], "cell": "twice more", "seeds": [4]})
    change(content["grid"])
    path.write_text(yaml.safe_dump(content))
    assert study(path) == 1
    (line,) = [text for text in capfd.readouterr().err.splitlines() if text.startswith("plm: error")]
    assert all(word in line for word in said)
    assert not [each for each in (path.parent / "runs").glob("*") if each.name != "studies"]


def test_a_run_that_fails_is_named_with_its_log(tmp_path, capfd):
    path = write_study(tmp_path / "s")
    content = yaml.safe_load(path.read_text())
    content["grid"] = [{**content["grid"][0], "set": {"model.init_args.demonstrations": 999}, "axes": {"k": [1]}}]
    path.write_text(yaml.safe_dump(content))
    assert study(path, "--seeds", "1", "--retries", "2") == 1
    said = " ".join(capfd.readouterr().err.split())
    assert "1 failed" in said and "SFT on 1, seed 0" in said and "999" in said
    attempts = [
        json.loads(each) for each in (path.parent / "runs/studies/tiny/attempts.jsonl").read_text().splitlines()
    ]
    tried = [each for each in attempts if not each["ok"]]
    assert len(tried) == 3 and all("999" in each["error"] for each in tried)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--only", "nothing"], "matches no cell; there are SFT on 1"),
        (["--only", "("], "no regular expression"),
        (["--jobs", "0"], "--jobs is 0"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--gpus", "2"], "--gpus is 2; it must be 0, or a share of one GPU"),
        (["--gpus", "nan"], "--gpus is nan"),
        (["--gpus", "0.5"], "--gpus 0.5: no GPU is visible on this machine"),
        (["--cpus", "0"], "--cpus is 0; it must be a whole number, or a share"),
        (["--cpus", "1.5"], "--cpus is 1.5"),
    ],
)
def test_what_is_wrong_with_the_command_is_one_line(tmp_path, capfd, more, said):
    assert study(write_study(tmp_path / "s"), *more) == 1
    assert said in capfd.readouterr().err
