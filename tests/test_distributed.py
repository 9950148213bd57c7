"""The real command line on two processes of this machine, against one process: only the speed may differ."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
import yaml
from lightning import Callback
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from plm.callbacks import WeakUnlockCallback
from plm.distributed import from_all, world_size
from plm.errors import PlmError
from plm.examples import load_examples
from tests.runs import (
    EVALUATION,
    PROBE,
    REFERENCE,
    config,
    fit,
    lock,
    numbers,
    only_run,
    plm,
    sft,
    source,
    weights,
    write,
)
from tests.tiny import PrefixGrader, TinyTask

ROOT = Path(__file__).parent.parent
DDP = ("--trainer.devices=2", "--trainer.strategy=ddp")
FSDP2 = ("--trainer.devices=2", "--trainer.strategy=fsdp2")
# With Adam's usual epsilon a gradient of 1e-9 moves a weight as far as one of 1, and rounding decides its sign.
OPTIMIZER = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.01, "weight_decay": 0.0, "eps": 1e-3}}
STOPS = {"class_path": "tests.test_distributed.Stops"}
BEST_OF_N = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "new_method.md").read_text(), re.DOTALL)[0]


class Stops(Callback):
    """Kills one process at the start of a round, as a machine that goes away does: PLM_TEST_STOP=rank:round."""

    def on_train_epoch_start(self, trainer, module):
        if os.environ.get("PLM_TEST_STOP") == f"{trainer.global_rank}:{trainer.current_epoch}":
            os.kill(os.getpid(), signal.SIGKILL)


def start(path: Path, *more: str, launcher: tuple[str, ...] = (), command: str = "fit", **environment: str):
    """Starts `python -m plm`, or plm under another launcher, beside the configuration."""
    arguments = [command, "--config", path.name, "--runs", "runs", *more]
    return subprocess.Popen(
        [sys.executable, "-m", *(launcher or ("plm",)), *arguments],
        cwd=path.parent,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{path.parent}", "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process, code: int = 0, seconds: float = 600) -> str:
    try:
        output, _ = process.communicate(timeout=seconds)
    finally:
        process.kill()  # its followers end with it
    assert process.returncode == code, output
    return output


def locked() -> dict:
    """A bit of everything: rows of different lengths, ragged steps, evaluation, probe, clipping, warm-up, decay."""
    optimizer = {**OPTIMIZER, "init_args": {**OPTIMIZER["init_args"], "lr": 0.005}}  # rounding grows less over 72 steps
    model = lock(split="val", passes=6, optimizer=optimizer, decay="linear", warmup_steps=3)
    evaluation = {**EVALUATION, "init_args": {"n": 7, "at_start": True}}
    probe = {**PROBE, "init_args": {**PROBE["init_args"], "optimizer": OPTIMIZER, "n": 5}}
    return config(
        model, callbacks=[evaluation, probe, STOPS], data={"batch_size": 3}, log_every_n_steps=1, gradient_clip_val=20.0
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run on one process, on two, with accumulation, sharded: (output, folder) by name."""
    variants = {"one": (), "ddp": DDP, "fsdp2": (*FSDP2, "--trainer.accumulate_grad_batches=2")}
    paths = {name: write(tmp_path_factory.mktemp(name) / "lock.yaml", locked()) for name in variants}
    started = {name: start(path, *variants[name]) for name, path in paths.items()}
    return {name: (finish(process), only_run(paths[name])) for name, process in started.items()}


def curve(run, tag: str) -> list[float]:
    return [event.value for event in EventAccumulator(str(run.path / "tensorboard")).Reload().Scalars(tag)]


def close(left, right, tolerance: float = 5e-6) -> None:
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], atol=tolerance, rtol=1e-5)


@pytest.mark.parametrize("name", ["ddp", "fsdp2"])
def test_the_numbers_do_not_depend_on_the_processes(runs, name):
    (_, one), (_, two) = runs["one"], runs[name]
    assert one.path.name == two.path.name  # the same run: the same folder
    assert numbers(one) == numbers(two) and len(numbers(one)) == 3 + 2 * 4
    assert {row["correct"] for row in numbers(one)} != {0.0}
    for tag in ("train/loss", "train/grad_norm"):
        left, right = curve(one, tag), curve(two, tag)
        assert len(left) == 2 * 6 * 6
        assert right[:6] == pytest.approx(left[:6], rel=3e-6)
        assert right == pytest.approx(left, rel=1e-4, abs=1e-4)  # training multiplies what rounding begins
    close(weights(one), weights(two))


@pytest.fixture(scope="module")
def precise(tmp_path_factory):
    """That run on one process, this one, in double precision."""
    return fit(tmp_path_factory.mktemp("precise") / "one.yaml", locked(), "--trainer.precision=64-true")


@pytest.mark.parametrize("processes", [DDP, (*FSDP2, "--trainer.accumulate_grad_batches=3")])
def test_in_double_precision_the_whole_curve_agrees(tmp_path, precise, processes):
    """What is left of the difference above is rounding: it shrinks with the precision, over all 72 steps."""
    path = write(tmp_path / "two.yaml", locked())
    finish(start(path, "--trainer.precision=64-true", *processes))
    two = only_run(path)
    for tag in ("train/loss", "train/grad_norm"):
        assert len(curve(precise, tag)) == 2 * 6 * 6
        assert curve(two, tag) == pytest.approx(curve(precise, tag), rel=1e-6)
    close(weights(precise), weights(two), 1e-9)


@pytest.mark.parametrize("name", ["ddp", "fsdp2"])
def test_files_and_terminal_have_one_writer(runs, name):
    (shown, one), (output, two) = runs["one"], runs[name]
    files = [sorted(str(file.relative_to(run.path)) for file in run.path.rglob("*.parquet")) for run in (one, two)]
    assert files[0] == files[1] and len(files[0]) > 10
    assert len(list(two.path.rglob("events*"))) == len(list(one.path.rglob("events*")))
    assert load_examples(two.round_path(1) / "examples.parquet") == load_examples(
        one.round_path(1) / "examples.parquet"
    )
    for text in ("round 2 of 2", "share answered correctly", "model        "):
        assert output.count(text) == shown.count(text) == 1
    assert two.read_manifest()["status"] == "finished"


@pytest.fixture
def best_of_n(tmp_path, monkeypatch):
    """The page's method on a base that knows some answers, as configurations in two folders."""
    folder = tmp_path / "one"
    folder.mkdir()
    (folder / "best_of_n.py").write_text(BEST_OF_N)
    base = sft(passes=25, split="elicit", optimizer=OPTIMIZER, phase="base")
    fit(folder / "base.yaml", config(base, callbacks=[], rounds=1))
    arguments = {"base": "base.yaml", "optimizer": OPTIMIZER, "problems": 7, "n": 3}
    method = {"class_path": "best_of_n.BestOfNModule", "init_args": arguments}
    write(folder / "best.yaml", config(method, data={"batch_size": 3}))
    shutil.copytree(folder, tmp_path / "two")
    monkeypatch.chdir(tmp_path / "one")
    monkeypatch.syspath_prepend(tmp_path / "one")
    assert plm("fit", tmp_path / "one" / "best.yaml") == 0
    return tmp_path / "one" / "best.yaml", tmp_path / "two" / "best.yaml"


def same_rounds(one, two):
    assert numbers(one) == numbers(two) and numbers(one)[-1]["generations"] == 2 * 7 * 3
    for index in (0, 1):
        first, second = (load_examples(run.round_path(index) / "examples.parquet") for run in (one, two))
        assert first == second and first
    close(weights(one), weights(two))


def test_a_method_that_samples_draws_the_same_rounds(best_of_n):
    one, two = best_of_n
    finish(start(two, *DDP))
    same_rounds(only_run(one), only_run(two))


FIXED_RANDOM = {"class_path": "plm.policies.FixedRandomPolicy", "init_args": {"length": 6}}
METHODS = {
    "ExpertIterationModule": {"n": 3, "candidates": 2},
    "FilteredSFTModule": {"n": 3, "candidates": 2, "policy": REFERENCE},
    "DPOModule": {"problems": 8},
    "RewardWeightedDPOModule": {"problems": 8},
    "GRPOModule": {"problems": 8, "answers": 3},
    "MaskedSFTModule": {"policy": REFERENCE, "demonstrations": 7},
    "FixedRandomLockModule": {"policies": {"right": REFERENCE, "wrong": FIXED_RANDOM}},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "processes"),
    [*((name, DDP) for name in METHODS), ("DPOModule", FSDP2)],
    ids=[*METHODS, "DPOModule-sharded"],
)
def test_methods_do_the_same_on_two_processes(tmp_path, name, processes):
    """Plain DPO's second round puts the first weights back, sharded or not, to sample and to refer to."""
    base = write(
        tmp_path / "base.yaml", config(sft(passes=25, split="elicit", optimizer=OPTIMIZER), callbacks=[], rounds=1)
    )
    arguments = {"base": str(base), "optimizer": OPTIMIZER, **METHODS[name]}
    content = config({"class_path": f"plm.modules.{name}", "init_args": arguments}, data={"batch_size": 4})
    paths = [write(tmp_path / f"{which}.yaml", content) for which in ("one", "two")]
    assert plm("fit", paths[0], "--trainer.precision=64-true") == 0
    finish(start(paths[1], "--trainer.precision=64-true", *processes))
    one, two = map(only_run, paths)
    for row in (*(left := numbers(one)), *(right := numbers(two))):
        row.pop("name")
    assert left == right and left[-1]["optimizer_steps"] >= 2
    for index in (0, 1):
        first, second = (load_examples(run.round_path(index) / "examples.parquet") for run in (one, two))
        assert first and [(row.problem_id, row.completion_ids) for row in first] == [
            (row.problem_id, row.completion_ids) for row in second
        ]
        for mine, other in zip(first, second, strict=True):
            assert mine.scalars == pytest.approx(other.scalars, abs=1e-6)
    # old log-probabilities enter the loss in single precision, and round differently where other rows share a prompt
    close(weights(one), weights(two), 1e-7 if name == "GRPOModule" else 1e-9)


@pytest.mark.long
def test_torchrun_works_and_shows_a_finished_run(best_of_n):
    """The base is fitted first, by one process; a second start shows the run's table once."""
    one, two = best_of_n
    shutil.rmtree(two.parent / "runs")
    torchrun = ("torch.distributed.run", "--nproc-per-node=2", "-m", "plm")
    assert finish(start(two, *DDP, launcher=torchrun)).count("base.yaml is not fitted yet") == 1
    same_rounds(only_run(one), only_run(two))
    again = finish(start(two, *DDP, launcher=torchrun))
    assert again.count("is finished; delete it to run it again") == again.count("results      ") == 1


@pytest.mark.long
@pytest.mark.parametrize(("first", "second"), [(DDP, ()), ((), FSDP2), (FSDP2, DDP)])
def test_a_checkpoint_goes_on_with_another_number_of_processes(runs, tmp_path, first, second):
    path = write(tmp_path / "lock.yaml", locked())
    finish(start(path, *first, PLM_TEST_STOP="0:1"), -signal.SIGKILL)
    assert not only_run(path).finished and only_run(path).checkpoint_path.exists()
    output = finish(start(path, *second))
    assert "round 1 of 2" not in output
    assert numbers(only_run(path)) == numbers(runs["one"][1])
    close(weights(only_run(path)), weights(runs["one"][1]))


@pytest.mark.long
@pytest.mark.parametrize("rank", [0, 1])
def test_no_process_outlives_one_that_dies(tmp_path, rank):
    path = write(tmp_path / "lock.yaml", locked())
    process = start(path, *DDP, PLM_TEST_STOP=f"{rank}:1")
    process.communicate(timeout=90)  # all processes write to the pipe: it ends when the last one does
    assert process.returncode and not only_run(path).finished


@pytest.mark.long
@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_measuring_is_shared_too(runs, command):
    """With the final model of the run on one process."""
    one = runs["one"][1]
    found = []
    for arguments in ((), DDP, FSDP2):
        path = write(one.path.parent.parent.parent / f"{command}{len(found)}.yaml", locked())
        output = finish(start(path, *arguments, f"--policy={one.model_path}", command=command))
        run = only_run(path)
        completions = {file.name: pq.read_table(file).to_pylist() for file in run.path.rglob("*.parquet")}
        found.append(([{**row, "name": ""} for row in numbers(run)], completions, len(output.splitlines())))
    assert found[0] == found[1] == found[2] and found[0][1]


def test_an_error_that_all_processes_meet_is_one_line(tmp_path):
    content = config(
        sft(passes=50, optimizer={"class_path": "torch.optim.SGD", "init_args": {"lr": 1e30}}), callbacks=[]
    )
    output = finish(start(write(tmp_path / "nan.yaml", content), *DDP), 1)
    assert output.count("plm: error: the gradient is ") == 1 and "Traceback" not in output


@pytest.mark.parametrize(
    ("strategy", "text"),
    [
        ("fsdp", "to use FSDP"),
        ("ddp_spawn", "use ddp"),
        ("lightning.pytorch.strategies.ModelParallelStrategy", "save_distributed_checkpoint"),
    ],
)
@pytest.mark.long
def test_strategies_that_are_not_known_are_refused(tmp_path, strategy, text):
    path = write(tmp_path / "lock.yaml", locked())
    content = yaml.safe_load(path.read_text())
    content["trainer"]["strategy"] = {"class_path": strategy} if "." in strategy else strategy
    output = finish(start(write(path, content), "--trainer.devices=2"), 1)
    assert text in output and output.count("plm: error") == 1 and "Traceback" not in output


class Agrees(WeakUnlockCallback):
    """A probe that looks whether its weights are the same in all processes."""

    def _measure(self, module):
        weights = [parameter.detach().clone() for parameter in module.network.parameters()]
        parts = from_all([weights])
        assert len(parts) == 2
        assert all(torch.equal(left, right) for left, right in zip(*parts, strict=True))
        return super()._measure(module)


@pytest.mark.long
def test_the_probe_keeps_the_copies_equal(tmp_path):
    """With dropout, so that random states that differ between processes would show."""
    probe = {**PROBE, "class_path": "tests.test_distributed.Agrees"}
    content = config(lock(base=source(dropout=0.2)), callbacks=[probe])
    path = write(tmp_path / "probe.yaml", content)
    finish(start(path, *DDP))
    assert len(only_run(path).read_results()) == 2


class Fails(TinyTask):
    """A task whose grader fails on one problem, which is in one process's share."""

    def make_grader(self):
        return Failing()


class Failing(PrefixGrader):
    def grade(self, problems, completions, *, progress=None):
        if world_size() > 1 and torch.distributed.get_rank() == 1:
            raise PlmError("the compiler has gone")
        return super().grade(problems, completions)


@pytest.mark.long
def test_an_error_in_one_share_ends_the_run_with_one_line(tmp_path):
    content = config(lock())
    content["data"]["class_path"] = "tests.test_distributed.Fails"
    output = finish(start(write(tmp_path / "fails.yaml", content), *DDP), 1, seconds=60)
    assert output.count("plm: error: the compiler has gone") == 1 and "Traceback" not in output
