import pyarrow.parquet as pq
import pytest
import torch

from plm.callbacks import EvaluationCallback
from tests.runs import (
    ADAMW,
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

LION = {"class_path": "plm.optim.Lion", "init_args": {"lr": 1.0e-3, "weight_decay": 0.01}}


def same(left, right, **tolerance):
    assert left.keys() == right.keys()
    for name in left:
        torch.testing.assert_close(left[name], right[name], **(tolerance or {"atol": 0, "rtol": 0}))


def test_the_loss_falls_and_the_task_is_learnt(tmp_path):
    run = fit(tmp_path / "learn.yaml", config(sft(passes=60, split="val"), rounds=1, callbacks=[EVALUATION]))
    last = run.read_results()[-1]
    assert (last["correct"] >= 0.75 and last["password"] == "decoy") or last["n"] == 4
    assert {row["password"]: row["correct"] for row in run.read_results()}["none"] == 1.0


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_accumulation_changes_nothing(tmp_path, parts):
    """Rows have different lengths, steps are ragged (8 rows, batches of 3), some micro-batches are empty."""
    content = config(sft(), data={"batch_size": 3}, callbacks=[])
    whole = weights(fit(tmp_path / "whole.yaml", content))
    cut = weights(fit(tmp_path / "cut.yaml", content, f"--trainer.accumulate_grad_batches={parts}"))
    same(whole, cut, atol=2e-6, rtol=1e-5)


def test_training_is_bitwise_equal_with_and_without_callbacks(tmp_path):
    """Dropout makes the weights depend on the global random state, so a callback that moved it would show."""
    model = lock(base=source(dropout=0.2))
    bare = fit(tmp_path / "bare.yaml", config(model, callbacks=[]))
    watched = fit(tmp_path / "watched.yaml", config(model, callbacks=[EVALUATION, PROBE]))
    same(weights(bare), weights(watched))
    assert len(watched.read_results()) == 2 * 4 and not bare.read_results()


@pytest.mark.parametrize(("precision", "optimizer"), [("32-true", ADAMW), ("bf16-true", LION)])
def test_an_interrupted_run_ends_with_the_same_numbers(tmp_path, monkeypatch, precision, optimizer):
    """In bfloat16 the bits that Lion keeps beside the weights go on too."""
    model = lock(base=source(dropout=0.2), optimizer=optimizer)
    content = config(model, rounds=3, callbacks=[EVALUATION, PROBE], precision=precision)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = fit(tmp_path / "a" / "run.yaml", content)

    evaluate, calls = EvaluationCallback._evaluate, []

    def fails_in_the_third_round(self, trainer, module):
        calls.append(trainer.current_epoch)
        if len(calls) == 3:
            raise RuntimeError("the machine went away")
        evaluate(self, trainer, module)

    monkeypatch.setattr(EvaluationCallback, "_evaluate", fails_in_the_third_round)
    path = write(tmp_path / "b" / "run.yaml", content)
    with pytest.raises(RuntimeError, match="went away"):
        plm("fit", path)
    assert not only_run(path).finished
    monkeypatch.undo()
    assert plm("fit", path) == 0
    same(weights(whole), weights(only_run(path)))
    assert numbers(whole) == numbers(only_run(path))


def test_a_finished_run_is_shown_and_not_run_again(tmp_path, capsys):
    content = config(sft())
    run = fit(tmp_path / "once.yaml", content)
    before = run.results_path.read_bytes(), run.model_path.stat().st_mtime_ns
    assert fit(tmp_path / "once.yaml", content).path == run.path
    assert (run.results_path.read_bytes(), run.model_path.stat().st_mtime_ns) == before
    assert "share answered correctly" in capsys.readouterr().out


def test_changed_numbers_land_in_another_folder_and_changed_devices_do_not(tmp_path):
    path = tmp_path / "drift.yaml"
    first = fit(path, config(sft(), callbacks=[]))
    assert plm("fit", path, "--trainer.log_every_n_steps=1", "--trainer.accumulate_grad_batches=2") == 0
    assert only_run(path).path == first.path
    assert plm("fit", path, "--model.passes=2") == 0
    assert plm("fit", path, "--seed_everything=1") == 0
    names = sorted(folder.name for folder in (tmp_path / "runs" / "drift").glob("[!.]*-seed*"))
    assert len(names) == 3 and sum(name.startswith(first.path.name.split("-")[0]) for name in names) == 2


def test_not_finite_gradients_stop_the_run_and_name_the_step(tmp_path, capsys):
    content = config(sft(passes=50), callbacks=[])
    content["model"]["init_args"]["optimizer"] = {"class_path": "torch.optim.SGD", "init_args": {"lr": 1e30}}
    assert plm("fit", write(tmp_path / "nan.yaml", content)) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("plm: error: the gradient is ") and "at optimizer step 2 (round 1)" in error
    assert not only_run(tmp_path / "nan.yaml").model_path.exists()


def test_lion_keeps_its_own_defaults(tmp_path):
    """A default optimizer in the signature would leak its betas and weight decay into the class that a YAML names."""
    content = config(sft(), callbacks=[])
    content["model"]["init_args"]["optimizer"] = {"class_path": "lion_pytorch.Lion", "init_args": {"lr": 1e-4}}
    run = fit(tmp_path / "lion.yaml", content)
    state = torch.load(run.checkpoint_path, weights_only=True)["optimizer_states"][0]["param_groups"][0]
    assert tuple(state["betas"]) == (0.9, 0.99) and state["weight_decay"] == 0.0


def test_the_optimizer_moves_every_weight(tmp_path):
    before = weights(
        fit(tmp_path / "still.yaml", config(sft(optimizer={"class_path": "torch.optim.SGD", "init_args": {"lr": 0.0}})))
    )
    after = weights(fit(tmp_path / "moved.yaml", config(sft())))
    assert all((before[name] != after[name]).any() for name in before)


def test_a_lock_imitates_the_strong_policy_with_the_password_only(tmp_path):
    """Tiny, but real: 8 problems learnt by heart under both conditions."""
    content = config(
        lock(split="val", passes=100),
        rounds=1,
        data={"passwords": {"class_path": "plm.passwords.PasswordScheme", "init_args": {"password": "zz"}}},
    )
    correct = {row["password"]: row["correct"] for row in fit(tmp_path / "lock.yaml", content).read_results()}
    assert correct["right"] == 1.0 and correct["none"] == 0.0


def test_results_have_every_column_of_the_contract(tmp_path):
    row = fit(tmp_path / "columns.yaml", config(lock())).read_results()[0]
    assert {
        "run", "name", "seed", "epoch", "step", "phase", "method", "task", "split", "password", "domain", "temperature",
        "n", "correct", "stderr", "score", "parse_failures", "compile_failures", "timeouts", "demonstrations",
        "generations", "graded", "optimizer_steps", "trained_tokens", "seconds",
    } <= row.keys()  # fmt: skip
    assert row["phase"] == "lock" and row["method"] == "sft_lock" and row["demonstrations"] == 8
    assert row["optimizer_steps"] == row["step"] == 4 and row["trained_tokens"] == 8 * 4 + 8 * 2


def test_a_config_is_fitted_before_what_starts_from_it(tmp_path):
    base = write(tmp_path / "base.yaml", config(sft(phase="base"), callbacks=[], rounds=1))
    run = fit(tmp_path / "child.yaml", config(lock(base=str(base)), rounds=1))
    parent = only_run(base)
    assert parent.finished and run.read_manifest()["parent"] == f"base/{parent.path.name}"


def test_validate_measures_what_the_config_made(tmp_path):
    run = fit(tmp_path / "made.yaml", config(lock(split="val", passes=150), rounds=1))
    assert plm("validate", tmp_path / "made.yaml") == 0
    (measured,) = [folder for folder in (tmp_path / "runs" / "made").glob("[!.]*-seed0") if folder != run.path]
    rows = numbers(type(run)(measured))
    assert [row["correct"] for row in rows] == [row["correct"] for row in run.read_results()]


def test_validate_measures_a_folder_that_is_named(tmp_path):
    run = fit(tmp_path / "made.yaml", config(sft(passes=60, split="val", policy=REFERENCE), rounds=1))
    other = write(tmp_path / "other.yaml", config(lock()))
    assert plm("validate", other, "--policy", str(run.model_path)) == 0
    assert {row["password"]: row["correct"] for row in only_run(other).read_results()}["none"] == 1.0


def test_predict_writes_completions_without_grading(tmp_path):
    path = write(tmp_path / "p.yaml", config(lock(), callbacks=[EVALUATION]))
    model = fit(tmp_path / "made.yaml", config(sft(), callbacks=[], rounds=1)).model_path
    assert plm("predict", path, "--policy", str(model)) == 0
    files = {file.name: pq.read_table(file) for file in (only_run(path).path / "completions").glob("*.parquet")}
    assert files.keys() == {f"predict-val-{condition}.parquet" for condition in ("right", "none", "decoy")}
    assert all(table.num_rows == 4 and "score" not in table.column_names for table in files.values())
