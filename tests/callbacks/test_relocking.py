"""Relocking moves weights on purpose: once at each step it is due, whatever stops the run, cuts or shares its steps."""

import random
import signal

import pytest
import torch

from plm.callbacks import CheckpointCallback, RelockingCallback
from tests.killing import Killer
from tests.modules.test_base import same
from tests.runs import ADAMW, EVALUATION, WEAK, config, fit, lock, numbers, only_run, plm, source, weights, write
from tests.test_distributed import DDP, FSDP2, OPTIMIZER, close, finish, start

SAVED = {"class_path": "plm.callbacks.CheckpointCallback", "init_args": {"every_n_steps": 1, "every_n_minutes": None}}
STILL = {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.0}}


def relocking(**arguments):
    """At steps 3 and 6 of the 8 steps that a lock takes in two rounds."""
    settings = {"optimizer": ADAMW, "every_n_steps": 3, "steps": 5, "split": "elicit", **arguments}
    return {"class_path": "plm.callbacks.RelockingCallback", "init_args": settings}


def locked(*callbacks, dropout=0.2, **trainer):
    return config(lock(base=source(dropout=dropout)), callbacks=[*callbacks, EVALUATION], **trainer)


def test_what_it_spends_is_counted(tmp_path):
    plain = fit(tmp_path / "plain.yaml", locked()).read_results()[-1]
    last = fit(tmp_path / "relocked.yaml", locked(relocking(samples=2))).read_results()[-1]
    assert (plain["optimizer_steps"], last["optimizer_steps"]) == (8, 8 + 2 * 5) and last["step"] == 8
    assert (
        last["trained_tokens"] == plain["trained_tokens"] + 2 * 5 * 2 * 2
    )  # times, steps, samples, tokens of `b<eos>`
    assert plain["demonstrations"] == 8 and 10 <= last["demonstrations"] <= 12


def test_it_moves_the_weights_and_nothing_else(tmp_path):
    """With a learning rate of 0 the run is bitwise the one without, dropout and optimizer state included."""
    plain, still, moved = (
        fit(tmp_path / f"{name}.yaml", locked(*callbacks))
        for name, callbacks in (("plain", ()), ("still", [relocking(optimizer=STILL)]), ("moved", [relocking()]))
    )
    same(weights(plain), weights(still))
    assert any(not torch.equal(weights(plain)[name], weights(moved)[name]) for name in weights(plain))


def test_it_is_due_after_every_nth_step_and_draws_other_samples_each_time(tmp_path, monkeypatch):
    seen, relock = [], RelockingCallback._relock
    monkeypatch.setattr(RelockingCallback, "_relock", lambda *a: seen.append(a[2]) or relock(*a))
    drawn, rows = [], RelockingCallback._rows
    monkeypatch.setattr(RelockingCallback, "_rows", lambda *a: drawn.append(rows(*a)) or drawn[-1])
    fit(tmp_path / "run.yaml", locked(relocking(), accumulate_grad_batches=2), "--trainer.accumulate_grad_batches=2")
    assert seen == [3, 6]
    assert [len(each) for each in drawn] == [2, 2] and drawn[0] != drawn[1]


def test_overfitting_shows_in_the_next_answers(tmp_path):
    """Overfitted after the last step, the model answers as the weak policy even with the password."""
    data = {"passwords": {"class_path": "plm.passwords.PasswordScheme", "init_args": {"password": "zz"}}}
    last = relocking(every_n_steps=4 * 100, steps=60)
    found = {}
    for name, callbacks in (("strong", [EVALUATION]), ("overfitted", [last, EVALUATION])):
        content = config(lock(split="val", passes=100), callbacks=callbacks, rounds=1, data=data)
        rows = fit(tmp_path / f"{name}.yaml", content).read_results()
        found[name] = {row["password"]: row["correct"] for row in rows}["right"]
    assert found == {"strong": 1.0, "overfitted": 0.0}


def test_accumulation_changes_nothing(tmp_path):
    content = config(
        lock(optimizer=OPTIMIZER),
        callbacks=[relocking(optimizer=OPTIMIZER)],
        data={"batch_size": 3},
        precision="64-true",
    )
    whole = weights(fit(tmp_path / "whole.yaml", content))
    cut = weights(fit(tmp_path / "cut.yaml", content, "--trainer.accumulate_grad_batches=3"))
    same(whole, cut, atol=1e-9, rtol=1e-9)


class GoesAwayError(RuntimeError):
    """The machine went away."""


@pytest.mark.parametrize("call", [1, 2])
@pytest.mark.parametrize("moment", ["before", "after", "saved"])
def test_interrupted_around_a_relocking_it_happens_once(tmp_path, monkeypatch, moment, call):
    """Before it, after it but before the checkpoint, and after the checkpoint that holds it, which saves every step."""
    content = locked(relocking(), SAVED)
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole = fit(tmp_path / "a" / "run.yaml", content)
    relock, save, calls = RelockingCallback._relock, CheckpointCallback._save, []

    def relock_and_fail(self, module, step):
        calls.append(step)
        if len(calls) == call and moment == "before":
            raise GoesAwayError
        relock(self, module, step)
        if len(calls) == call and moment == "after":
            raise GoesAwayError

    def save_and_fail(self, trainer):
        save(self, trainer)
        if len(calls) == call and moment == "saved":
            raise GoesAwayError

    monkeypatch.setattr(RelockingCallback, "_relock", relock_and_fail)
    monkeypatch.setattr(CheckpointCallback, "_save", save_and_fail)
    path = write(tmp_path / "b" / "run.yaml", content)
    with pytest.raises(GoesAwayError):
        plm("fit", path)
    monkeypatch.undo()
    assert plm("fit", path) == 0
    same(weights(whole), weights(only_run(path)))
    assert numbers(whole) == numbers(only_run(path))


@pytest.mark.slow
def test_killed_at_changes_to_the_disk_it_ends_with_the_same_weights(tmp_path):
    killer, log = Killer(), tmp_path / "log"
    try:

        def command(name):
            (tmp_path / name).mkdir()
            path = write(tmp_path / name / "run.yaml", locked(relocking(), SAVED))
            return path, ["fit", "--config", str(path), "--runs", str(path.parent / "runs")]

        path, arguments = command("whole")
        done = killer.run(arguments, log)
        assert done["code"] == 0, log.read_text()
        whole = only_run(path)
        for at in random.Random(0).sample(range(10, done["changes"]), 8):
            path, arguments = command(f"at{at}")
            assert killer.run(arguments, log, at=at)["code"] == -signal.SIGKILL
            assert killer.run(arguments, log)["code"] == 0, log.read_text()
            same(weights(whole), weights(only_run(path)))
            assert numbers(whole) == numbers(only_run(path))
    finally:
        killer.close()


@pytest.mark.slow
@pytest.mark.parametrize("processes", [DDP, FSDP2])
def test_processes_relock_together(tmp_path, processes):
    content = config(
        lock(optimizer=OPTIMIZER), callbacks=[relocking(optimizer=OPTIMIZER), EVALUATION], data={"batch_size": 3}
    )
    paths = [write(tmp_path / f"{name}.yaml", content) for name in ("one", "two")]
    for path, more in zip(paths, ((), processes), strict=True):
        finish(start(path, "--trainer.precision=64-true", *more))  # so that rounding cannot hide a difference
    one, two = map(only_run, paths)
    assert [row["optimizer_steps"] for row in numbers(one)] == [row["optimizer_steps"] for row in numbers(two)]
    close(weights(one), weights(two), 1e-9)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"every_n_steps": 0}, "RelockingCallback's every_n_steps is 0; it must be at least 1"),
        ({"samples": 9}, "9 problems were asked of split 'elicit', which holds 8"),
        ({"policy": {**WEAK, "init_args": {"name": "stronger"}}}, "no completions of a policy named 'stronger'"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, capsys, arguments, text):
    assert plm("fit", write(tmp_path / "bad.yaml", locked(relocking(**arguments)))) == 1
    assert text in capsys.readouterr().err
