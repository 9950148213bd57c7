"""A run that is killed anywhere, by the same command, ends as if nothing had happened."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from plm.runs import RunFolder
from tests.killing import Killer
from tests.runs import ADAMW, EVALUATION, PROBE, config, lock, numbers, sft, source, weights, write

SAVED = {"class_path": "plm.callbacks.CheckpointCallback", "init_args": {"every_n_steps": 1, "every_n_minutes": None}}
NAMES = ("base", "lock", "elicit")


@pytest.fixture(scope="module")
def killer():
    started = Killer()
    yield started
    started.close()


def chain(folder: Path, given: Path | None = None) -> Path:
    """A base model, a lock on it with dropout, evaluation and probe, and a method that trains on its own samples.

    The first two are there already where a finished chain is given.
    """
    folder.mkdir()
    for name in ("base", "lock") if given else ():
        shutil.copytree(given.parent / "runs" / name, folder / "runs" / name)
    base = write(
        folder / "base.yaml",
        config(
            sft(base=source(dropout=0.2), phase="base", passes=3), callbacks=[EVALUATION, SAVED], log_every_n_steps=1
        ),
    )
    locked = write(
        folder / "lock.yaml",
        config(lock(base=str(base), decay="linear"), callbacks=[EVALUATION, PROBE, SAVED], log_every_n_steps=1),
    )
    start = {**EVALUATION, "init_args": {**EVALUATION["init_args"], "at_start": True}}
    method = {
        "class_path": "tests.sampling.SamplingModule",
        "init_args": {"base": str(locked), "optimizer": ADAMW, "passes": 2},
    }
    content = config(method, callbacks=[start, SAVED], log_every_n_steps=1, accumulate_grad_batches=2)
    return write(folder / "elicit.yaml", content)


def command(path: Path) -> list[str]:
    return ["fit", "--config", str(path), "--runs", str(path.parent / "runs"), "--seed_everything=3"]


def run_of(path: Path, name: str) -> RunFolder:
    (folder,) = (path.parent / "runs" / name).glob("[!.]*-seed*")
    return RunFolder(folder)


def curves(folder: Path):
    """Every point that TensorBoard shows, by folder and tag."""
    shown = {}
    for directory in sorted({file.parent for file in folder.rglob("events.out*")}):
        events = EventAccumulator(str(directory), size_guidance={"scalars": 0, "tensors": 0}).Reload()
        for tag in events.Tags()["scalars"]:
            shown[directory.name, tag] = [(event.step, event.value) for event in events.Scalars(tag)]
    return shown


def rounds(run: RunFolder):
    return {file.parent.name: pq.read_table(file) for file in (run.path / "rounds").rglob("*.parquet")}


def completions(run: RunFolder):
    return {file.name: pq.read_table(file) for file in (run.path / "completions").iterdir()}


def leftovers(folder: Path):
    """Temporary files; lock files stay behind on purpose."""
    return [file for file in folder.rglob(".*") if file.suffix != ".lock"]


def assert_same(whole: Path, killed: Path):
    for name in NAMES:
        left, right = run_of(whole, name), run_of(killed, name)
        assert right.finished and left.path.name == right.path.name
        assert all(torch.equal(weights(left)[key], weights(right)[key]) for key in weights(left))
        assert numbers(left) == numbers(right)
        assert curves(left.path) == curves(right.path)
        assert rounds(left) == rounds(right) and completions(left) == completions(right)
        assert [file.name for file in (right.path / "checkpoints").iterdir()] == ["last.ckpt"]
    assert not leftovers(killed.parent / "runs")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, killer):
    """The run that nobody killed, and how often base and lock, and then the method, changed the disk."""
    path = chain(tmp_path_factory.mktemp("kill") / "whole")
    log, changes = path.with_suffix(".log"), []
    for config_path in (path.with_name("lock.yaml"), path):
        answer = killer.run(command(config_path) if config_path == path else command(config_path)[:-1], log)
        assert answer["code"] == 0, log.read_text()
        changes.append(answer["changes"])
    assert len(numbers(run_of(path, "elicit"))) == 3 * 3 and len(numbers(run_of(path, "lock"))) == 2 * 4
    assert run_of(path, "elicit").read_results()[-1]["generations"] == 2 * 8 * 2
    return path, changes


def finish(path: Path, killer: Killer):
    log = path.with_suffix(".log")
    answer = killer.run(command(path), log)
    assert answer["code"] == 0, log.read_text()
    assert "Traceback" not in log.read_text()


def moment(rng, changes):
    """Anywhere in the run, most often early: what is done is not done again, so that a later time may never come."""
    return {"after": 1 + int(changes * rng.random() ** 2), "delay": rng.choice([0.0, 0.01, 0.1, 0.3]) * rng.random()}


def kill_at_random(whole, killer, folder: Path, kills: int, seed: int):
    path, (before, last) = whole
    rng, trial = random.Random(seed), 0
    while kills > 0:
        trial += 1
        given = path if trial % 2 else None
        victim = chain(folder / f"trial{trial}", given)
        for _ in range(6):
            died = killer.run(
                command(victim), victim.with_suffix(".log"), **moment(rng, last if given else before + last)
            )
            if died["code"] == 0:
                break
            assert died["code"] == -signal.SIGKILL, victim.with_suffix(".log").read_text()
            kills -= 1
        finish(victim, killer)
        assert_same(path, victim)


def test_killed_at_random_moments_several_times_in_a_row(tmp_path, whole, killer):
    kill_at_random(whole, killer, tmp_path, kills=12, seed=0)


def kill_at_changes(whole, killer, folder: Path, stage, choose):
    path, (before, last) = whole
    given, changes = (path, last) if stage == "method" else (None, before + last)
    for at in choose(range(1, changes)):
        victim = chain(folder / f"at{at}", given)
        died = killer.run(command(victim), victim.with_suffix(".log"), at=at)
        assert died["code"] == -signal.SIGKILL, victim.with_suffix(".log").read_text()
        finish(victim, killer)
        assert_same(path, victim)


@pytest.mark.parametrize("stage", ["all", "method"])
def test_killed_in_the_middle_of_writing(tmp_path, whole, killer, stage):
    """At the n-th change to the disk, which is left half done where that can be."""
    kill_at_changes(whole, killer, tmp_path, stage, lambda changes: random.Random(stage).sample(changes, 5))


def test_what_a_round_had_cost_is_not_forgotten(tmp_path, whole, killer):
    """Killed at each of the changes between a round's samples on disk and the first checkpoint that knows of them."""
    path, (_, last) = whole
    victim = chain(tmp_path / "victim", path)
    log, at = victim.with_suffix(".log"), 1
    while not list(victim.parent.glob("runs/elicit/*/rounds/0000")):
        assert killer.run(command(victim), log, at=at)["code"] == -signal.SIGKILL and at < last
        at += 2
    assert not list(victim.parent.glob("runs/elicit/*/checkpoints/last.ckpt"))
    finish(victim, killer)
    assert_same(path, victim)


@pytest.mark.long
@pytest.mark.parametrize(("stage", "stride"), [("all", 41), ("method", 19)])
def test_killed_at_very_many_changes_to_the_disk(tmp_path, whole, killer, stage, stride):
    kill_at_changes(whole, killer, tmp_path, stage, lambda changes: changes[::stride])


@pytest.mark.long
@pytest.mark.parametrize("seed", (1, 2))
def test_killed_at_many_random_moments(tmp_path, whole, killer, seed):
    kill_at_random(whole, killer, tmp_path, kills=40, seed=seed)


def children(pid: int) -> list[int]:
    """Processes below a process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == pid:
            found += [int(folder.name), *children(int(folder.name))]
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(path: Path) -> subprocess.Popen:
    """The real command, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "plm", *command(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )


def until(condition, process, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end and process.poll() is None, process.communicate()
        time.sleep(0.01)


def has_run(path: Path, name: str) -> bool:
    return any((path.parent / "runs" / name).glob("[!.]*/manifest.json"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_fit_of_a_base_leaves_no_process_and_a_resumable_run(tmp_path, whole, killer, number):
    victim = chain(tmp_path / "victim")
    process = start(victim)
    until(lambda: has_run(victim, "base"), process)
    below = children(process.pid)
    assert below
    send = os.killpg if number == signal.SIGINT else os.kill  # a terminal sends Ctrl-C to the whole group
    send(process.pid, number)
    _, errors = process.communicate(timeout=30)
    end = time.monotonic() + 5
    while any(map(alive, below)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not [pid for pid in below if alive(pid)]
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 128 + number
        assert "Traceback" not in errors and errors.count("plm: error: ") == 1
        assert errors.strip().splitlines()[-1].startswith("plm: error: interrupted; the same command goes on")
    finish(victim, killer)
    assert_same(whole[0], victim)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_a_random_moment_is_one_line(tmp_path, whole, killer, number):
    rng, stopped = random.Random(int(number)), 0
    victim = chain(tmp_path / "victim")
    log = victim.with_suffix(".log")
    for _ in range(5):
        answer = killer.run(command(victim), log, **moment(rng, sum(whole[1])), number=number)
        if answer["code"] == 0:
            break
        stopped += 1
        assert answer["code"] == 128 + number, log.read_text()
    text = log.read_text()
    assert stopped and "Traceback" not in text and text.count("plm: error: ") == stopped, text
    finish(victim, killer)
    assert_same(whole[0], victim)
