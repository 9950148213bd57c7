"""A frozen model's answers: made before the fit, kept with where they come from, shared, mended, and drawn from."""

import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from plm.errors import PlmError
from plm.identity import folder_digest
from plm.policies import ModelLabels, ModelPolicy
from plm.policies.samples import SamplesFolder, find_sampling, samples_name
from plm.runs import RunFolder
from tests.runs import EVALUATION, PROBE, REFERENCE, config, fit, lock, numbers, only_run, plm, sft, write
from tests.tiny import TinyTask, character_tokenizer

FILES = ["config.yaml", "manifest.json", "samples.parquet"]


def model(path, **arguments):
    return {"class_path": "plm.policies.ModelPolicy", "init_args": {"model": str(path), **arguments}}


@pytest.fixture
def weak(tmp_path):
    """A config that makes a tiny model."""
    return write(tmp_path / "weak.yaml", config(sft(split="weak", phase="weak"), callbacks=[], rounds=1))


def locked(weak, **arguments):
    policies = {"right": REFERENCE, "wrong": model(weak, **{"samples": 3, **arguments})}
    return config(lock(policies=policies), callbacks=[], rounds=2)


def sampled(path, name="weak"):
    """The sampling runs of a model, beside a config."""
    return [SamplesFolder(folder) for folder in sorted((path.parent / "runs" / f"samples_{name}").glob("[!.]*"))]


def test_a_lock_to_a_model_fits_the_model_and_samples_it_first(tmp_path, weak, capfd):
    run = fit(tmp_path / "lock.yaml", locked(weak))
    (samples,) = sampled(weak)
    rows = pq.read_table(samples.samples_path).to_pylist()
    assert sorted(os.listdir(samples.path)) == FILES
    assert {(row["problem_id"], row["sample"]) for row in rows} == {(f"l{i}", n) for i in range(8) for n in range(3)}
    assert all(row["prompt"] == f"{row['problem_id']}\n" for row in rows)
    assert len({row["completion"] for row in rows}) > 12  # temperature 1
    manifest = samples.read_manifest()
    assert manifest["status"] == "finished" and manifest["parent"] == only_run(weak).id
    assert manifest["samples"] == {
        "split": "lock",
        "problems": 8,
        "answers": 24,
        "cut_off": sum(not row["finished"] for row in rows),
        "too_long": 0,
    }
    assert {"versions", "git", "seed", "samples_digest"} <= manifest.keys() and manifest["seconds"]["sampling"] > 0
    parents = run.read_manifest()["references"]
    assert parents["model.init_args.policies.wrong.init_args.model"] == samples.id
    assert run.read_manifest()["parent"] is None  # a model from scratch: what it imitates is no parent
    error = capfd.readouterr().err
    assert "weak.yaml is not fitted yet" in error and "has not answered the problems of lock yet" in error


def test_the_rounds_train_on_the_samples_and_end_tokens_follow_finished_ones_only(tmp_path, weak):
    run = fit(tmp_path / "lock.yaml", locked(weak))
    stored = pq.read_table(sampled(weak)[0].samples_path).to_pylist()
    tokenizer = character_tokenizer()
    wanted = {(row["problem_id"], row["completion"], row["finished"]) for row in stored}
    used = set()
    for index in range(2):
        for row in run.read_round(index)[8:]:
            ids = list(row.completion_ids)
            done = ids[-1:] == [tokenizer.eos_token_id]
            used.add((row.problem_id, tokenizer.decode(ids[:-1] if done else ids), done))
    assert used <= wanted and len(used) > 8 and {done for *_, done in used} == {True, False}


def test_greedy_answers_are_what_the_model_itself_says(tmp_path, weak):
    fit(tmp_path / "lock.yaml", locked(weak, temperature=0))
    (samples,) = sampled(weak)
    ours = {row["problem_id"]: row["completion"] for row in pq.read_table(samples.samples_path).to_pylist()}
    content = config(
        sft(), callbacks=[{**EVALUATION, "init_args": {"splits": ["lock"], "conditions": ["none"], "n": 8}}]
    )
    path = write(tmp_path / "predict.yaml", content)
    assert plm("predict", path, "--policy", str(only_run(weak).model_path)) == 0
    theirs = pq.read_table(only_run(path).path / "completions" / "predict-lock-none.parquet").to_pylist()
    assert ours == {row["problem_id"]: row["completion"] for row in theirs} and len(ours) == 8


def test_every_user_gets_the_split_that_it_needs(tmp_path, weak):
    content = locked(weak, temperature=0)
    baseline = {
        "class_path": "plm.callbacks.PolicyBaselineCallback",
        "init_args": {"policies": {"weak": model(weak)}, "n": 4},
    }
    probe = {**PROBE, "init_args": {**PROBE["init_args"], "policy": model(weak, temperature=0)}}
    content["trainer"]["callbacks"] = [baseline, probe]
    run = fit(tmp_path / "lock.yaml", content)
    assert sorted(each.read_manifest()["samples"]["split"] for each in sampled(weak)) == ["elicit", "lock", "val"]
    assert [row["phase"] for row in run.read_results()] == ["weak", "probe", "probe"]
    filtered = {
        "class_path": "plm.modules.FilteredSFTModule",
        "init_args": {**sft()["init_args"], "policy": model(weak, samples=40), "n": 2, "candidates": 4},
    }
    assert fit(tmp_path / "filtered.yaml", config(filtered, callbacks=[])).finished
    assert len(sampled(weak)) == 4


def test_runs_that_ask_for_the_same_share_it_and_others_do_not(tmp_path, weak):
    fit(tmp_path / "lock.yaml", locked(weak))
    (samples,) = sampled(weak)
    before = samples.samples_path.stat().st_mtime_ns
    other = locked(weak)
    other["data"]["init_args"]["batch_size"] = 8
    other["model"]["init_args"]["policies"]["right"] = model(weak, samples=3, unique=True)
    fit(tmp_path / "other.yaml", other, "--seed_everything", "1")
    assert len(sampled(weak)) == 1 and samples.samples_path.stat().st_mtime_ns == before
    for number, changed in enumerate(({"temperature": 0.5}, {"samples": 2}, {"condition": "right"}, {"seed": 1})):
        fit(tmp_path / f"changed{number}.yaml", locked(weak, **changed))
        assert len(sampled(weak)) == number + 2


def test_damaged_samples_are_recognized_and_made_again_alike(tmp_path, weak, capfd):
    path = tmp_path / "lock.yaml"
    run = fit(path, locked(weak))
    (samples,) = sampled(weak)
    good = samples.samples_path.read_bytes()
    samples.samples_path.write_bytes(good[:-20])
    shutil.rmtree(run.path)
    assert plm("fit", path) == 0
    assert "samples.parquet is damaged" in capfd.readouterr().err
    assert pq.read_table(samples.samples_path).to_pylist() and samples.intact
    assert samples.samples_path.read_bytes() == good


def test_a_killed_sampling_run_goes_on_with_the_next_part(tmp_path, weak, monkeypatch):
    path = tmp_path / "lock.yaml"
    fit(path, locked(weak))
    (samples,) = sampled(weak)
    whole = pq.read_table(samples.samples_path)
    config_text = (samples.path / "config.yaml").read_text()
    # What a kill after the first of three parts leaves behind; a marked row shows whether it is kept.
    marked = whole.slice(0, 10).to_pylist()
    marked[0]["completion"] = "kept"
    samples.samples_path.unlink()
    (samples.path / "parts").mkdir()
    pq.write_table(whole.slice(0, 0).from_pylist(marked, schema=whole.schema), samples.path / "parts" / "00000.parquet")
    samples.update_manifest(status="predicting")
    monkeypatch.setattr("plm.policies.sampling.PART", 10)
    predict = write(tmp_path / "samples_weak.yaml", yaml.safe_load(config_text))
    assert plm("predict", predict, "--policy", str(weak)) == 0
    again = pq.read_table(samples.samples_path).to_pylist()
    assert again[0]["completion"] == "kept" and again[1:] == whole.to_pylist()[1:]
    assert sorted(os.listdir(samples.path)) == FILES


def test_two_processes_share_the_making(tmp_path, weak):
    fit(tmp_path / "first.yaml", config(sft(base=str(weak)), callbacks=[]))
    paths = [write(tmp_path / f"{name}.yaml", locked(weak)) for name in ("one", "two")]
    command = [sys.executable, "-m", "plm", "fit", "--runs", str(tmp_path / "runs"), "--config"]
    running = [subprocess.Popen([*command, str(path)], stderr=subprocess.PIPE, text=True) for path in paths]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    assert sum("has not answered" in error for error in errors) == 1 and len(sampled(weak)) == 1
    assert numbers(only_run(paths[0])) == numbers(only_run(paths[1]))


def test_under_a_launcher_the_first_process_makes_the_samples(tmp_path, weak):
    path = write(tmp_path / "lock.yaml", locked(weak))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "plm"]
    options = [
        "fit",
        "--config",
        str(path),
        "--runs",
        str(tmp_path / "runs"),
        "--trainer.devices=2",
        "--trainer.strategy=ddp",
    ]
    done = subprocess.run([*torchrun, *options], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(sampled(weak)) == 1 and done.stderr.count("has not answered") == 1
    alone = fit(tmp_path / "alone.yaml", locked(weak))
    assert [row.completion_ids for row in only_run(path).read_round(1)] == [
        row.completion_ids for row in alone.read_round(1)
    ]


def test_validate_makes_no_samples_and_finds_the_run(tmp_path, weak):
    path = tmp_path / "lock.yaml"
    fit(path, locked(weak) | {})
    shutil.rmtree(sampled(weak)[0].path)
    content = yaml.safe_load(path.read_text())
    content["trainer"]["callbacks"] = []
    assert plm("validate", path) == 0
    assert sampled(weak) == []


def test_a_folder_of_samples_is_taken_as_it_is(tmp_path, weak):
    fit(tmp_path / "lock.yaml", locked(weak))
    folder = tmp_path / "given"
    shutil.copytree(sampled(weak)[0].path, folder)
    run = fit(tmp_path / "again.yaml", locked(folder))
    (identity,) = set(run.read_manifest()["references"].values())
    assert identity == SamplesFolder(folder).digest() and not (tmp_path / "runs" / "samples_given").exists()


def test_a_model_folder_and_configs_laid_over_each_other_are_references_too(tmp_path, weak):
    longer = write(tmp_path / "longer.yaml", {"trainer": {"max_epochs": 3}})
    fit(tmp_path / "lock.yaml", locked(f"{weak} + {longer}"))
    (fitted,) = [RunFolder(path) for path in (tmp_path / "runs" / "weak").glob("[!.]*")]
    assert yaml.safe_load((fitted.path / "config.yaml").read_text())["trainer"]["max_epochs"] == 3
    fit(tmp_path / "folder.yaml", locked(fitted.model_path))
    assert len(sampled(weak)) == 2
    assert folder_digest(fitted.model_path) in {each.read_manifest()["parent"] for each in sampled(weak)}


def test_a_failure_of_the_sampling_is_one_line_and_leaves_no_run(tmp_path, weak, capfd):
    content = locked(weak, split="val_texts")
    assert plm("fit", write(tmp_path / "lock.yaml", content)) != 0
    assert "val_texts" in capfd.readouterr().err
    content = locked(weak, condition="second")
    assert plm("fit", write(tmp_path / "lock.yaml", content)) == 1
    error = capfd.readouterr().err
    assert "second_password" in error and "sampling" in error and "failed" in error
    assert not list((tmp_path / "runs").glob("lock/[!.]*"))


# -- drawing ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    rows = [("w0", "a", True), ("w0", "b", False), ("w0", "a", True), ("w1", "c", True)]
    names = ("problem_id", "completion", "finished")
    pq.write_table(
        pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)}), tmp_path / "samples.parquet"
    )
    return tmp_path


def test_draws_are_a_function_of_seed_and_problem(folder):
    policy, problems = ModelPolicy(str(folder)), TinyTask().split("weak")[:2]
    draws = [policy.answers(problems, seed) for seed in range(200)]
    assert draws == [policy.answers(problems, seed) for seed in range(200)]
    assert {text for _, text in draws} == {"c"}
    share = sum(text == "a" for text, _ in draws) / 200
    assert 0.55 < share < 0.78  # two of three
    ends = [policy.finished(problems, seed)[0] for seed in range(200)]
    assert ends == [text == "a" for text, _ in draws]


def test_unique_leaves_out_repetitions(folder):
    policy, problems = ModelPolicy(str(folder), unique=True), TinyTask().split("weak")[:1]
    share = sum(policy.answers(problems, seed) == ["a"] for seed in range(200)) / 200
    assert 0.38 < share < 0.62


def test_a_problem_without_samples_is_named(folder):
    with pytest.raises(PlmError, match=r"no answer to problem w2.*split"):
        ModelPolicy(str(folder)).answers(TinyTask().split("weak"), 0)


def test_a_folder_without_samples_says_who_makes_them(tmp_path):
    with pytest.raises(PlmError, match="plm fit makes them"):
        ModelPolicy(str(tmp_path)).answers(TinyTask().split("weak"), 0)


@pytest.mark.parametrize("arguments", [{"temperature": -1.0}, {"samples": 0}, {"temperature": float("nan")}])
def test_arguments_out_of_range(arguments):
    with pytest.raises(PlmError, match="must be at least"):
        ModelPolicy("x", **arguments)


def test_the_split_is_the_users_unless_the_policy_has_one():
    arguments = {"model": "m", "split": None, "temperature": 0.0, "samples": 4, "condition": "none", "seed": 0}
    policy = {"class_path": "plm.policies.ModelPolicy", "init_args": arguments}
    content = {"model": {"init_args": {"split": "lock", "policies": {"wrong": policy}}}}
    assert find_sampling(content, "model.init_args.policies.wrong.init_args.model") == ("lock", 0.0, 1, "none", 0)
    arguments["split"] = "val"
    assert find_sampling(content, "model.init_args.policies.wrong.init_args.model").split == "val"
    assert (
        find_sampling(
            {"model": {"class_path": "plm.modules.SFTModule", "init_args": {"base": "m"}}}, "model.init_args.base"
        )
        is None
    )


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("configs/weak_code.yaml", "samples_weak_code"),
        ("configs/weak_code.yaml + configs/paper/weak_code.yaml", "samples_weak_code"),
        ("EleutherAI/pythia-1b", "samples_pythia-1b"),
        ("runs/weak_code/0a1b2c3d-seed0/model", "samples_weak_code"),
        ("some/folder", "samples_folder"),
    ],
)
def test_names(reference, name):
    assert samples_name(reference) == name


def test_a_models_soft_labels_are_kept_with_its_answers(tmp_path, weak):
    content = locked(weak, temperature=0)
    content["data"]["class_path"] = "tests.policies.choosing.ChoosingTask"
    labels = {"class_path": "plm.policies.ModelLabels", "init_args": {"model": str(weak)}}
    content["model"] |= {"class_path": "plm.modules.SoftLabelLockModule"}
    content["model"]["init_args"]["policies"]["right"] = labels
    run = fit(tmp_path / "lock.yaml", content)
    (samples,) = sampled(weak)  # labels and greedy answers are asked for together
    rows = pq.read_table(samples.samples_path).to_pylist()
    policy, problems = ModelLabels(str(samples.path)), TinyTask().split("lock")
    for row, label, best in zip(rows, policy.distributions(problems, 0), policy.answers(problems, 0), strict=True):
        assert set(label) == {"a", "b", "c"} and sum(label.values()) == pytest.approx(1.0)
        assert best == row["completion"] == max(label, key=label.get)
    trained = [row for row in run.read_round(0) if any(row.scalars.values())]
    assert len(trained) == 8
    with pytest.raises(PlmError, match="no answer to problem w0"):
        policy.distributions(TinyTask().split("weak"), 0)


def test_labels_of_a_task_without_choices_are_refused(folder):
    table = pq.read_table(folder / "samples.parquet")
    pq.write_table(table.append_column("probabilities", pa.array([None] * 4, pa.string())), folder / "samples.parquet")
    with pytest.raises(PlmError, match="has no choices"):
        ModelLabels(str(folder)).answers(TinyTask().split("weak"), 0)
