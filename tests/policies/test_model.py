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
from plm.identity import folder_digest, run_hash
from plm.policies import ModelLabels, ModelPolicy
from plm.policies.samples import SamplesFolder, Sampling, find_sampling, samples_name, sampling_config
from plm.runs import RunFolder
from tests.runs import EVALUATION, PROBE, REFERENCE, config, fit, lock, only_run, plm, sft, weights, write
from tests.tiny import TinyTask, character_tokenizer

pytestmark = pytest.mark.usefixtures("warm_children")

FILES = ["config.yaml", "manifest.json", "samples.parquet"]


def model(path, **arguments):
    return {"class_path": "plm.policies.ModelPolicy", "init_args": {"model": str(path), **arguments}}


@pytest.fixture(scope="module")
def shared(tmp_path_factory, warm_children):
    """A folder with a tiny model, and a lock to three samples of its own a problem."""
    folder = tmp_path_factory.mktemp("shared")
    write(folder / "weak.yaml", config(sft(split="weak", phase="weak"), callbacks=[], rounds=1))
    fit(folder / "lock.yaml", locked(folder / "weak.yaml"))
    return folder


@pytest.fixture
def weak(shared, tmp_path):
    """The config of the tiny model in a copy of that folder: identities do not depend on the place."""
    shutil.copytree(shared, tmp_path, dirs_exist_ok=True)
    return tmp_path / "weak.yaml"


def locked(weak, **arguments):
    policies = {"right": REFERENCE, "wrong": model(weak, **{"samples": 3, **arguments})}
    return config(lock(policies=policies), callbacks=[], rounds=2)


def sampled(path, name="weak"):
    """The sampling runs of a model, beside a config."""
    return [SamplesFolder(folder) for folder in sorted((path.parent / "runs" / f"samples_{name}").glob("[!.]*"))]


def test_samples_are_made_before_the_lock_with_where_they_come_from(shared):
    (samples,), run = sampled(shared / "weak.yaml"), only_run(shared / "lock.yaml")
    rows = pq.read_table(samples.samples_path).to_pylist()
    assert sorted(os.listdir(samples.path)) == FILES
    assert {(row["problem_id"], row["sample"]) for row in rows} == {(f"l{i}", n) for i in range(8) for n in range(3)}
    assert all(row["prompt"] == f"{row['problem_id']}\n" for row in rows)
    assert len({row["completion"] for row in rows}) > 12  # temperature 1
    manifest = samples.read_manifest()
    assert manifest["status"] == "finished" and manifest["parent"] == only_run(shared / "weak.yaml").id
    assert manifest["samples"] == {
        "split": "lock",
        "problems": 8,
        "answers": 24,
        "cut_off": sum(not row["finished"] for row in rows),
        "too_long": 0,
    }
    assert {"versions", "git", "seed", "samples_digest"} <= manifest.keys() and manifest["seconds"]["sampling"] > 0
    assert run.read_manifest()["references"]["model.init_args.policies.wrong.init_args.model"] == samples.id
    assert run.read_manifest()["parent"] is None  # a model from scratch: what it imitates is no parent


def test_the_rounds_train_on_the_samples_and_end_tokens_follow_finished_ones_only(shared):
    stored = pq.read_table(sampled(shared / "weak.yaml")[0].samples_path).to_pylist()
    tokenizer, used = character_tokenizer(), set()
    for index in range(2):
        for row in only_run(shared / "lock.yaml").read_round(index)[8:]:
            ids = list(row.completion_ids)
            done = ids[-1:] == [tokenizer.eos_token_id]
            used.add((row.problem_id, tokenizer.decode(ids[:-1] if done else ids), done))
    assert used <= {(row["problem_id"], row["completion"], row["finished"]) for row in stored}
    assert len(used) > 8 and {done for *_, done in used} == {True, False}


def test_greedy_answers_are_what_the_model_itself_says(tmp_path, weak, capfd):
    fit(tmp_path / "greedy.yaml", locked(weak, temperature=0))
    assert "weak.yaml has not answered the problems of lock yet" in capfd.readouterr().err
    (samples,) = [each for each in sampled(weak) if each.read_manifest()["samples"]["answers"] == 8]
    ours = {row["problem_id"]: row["completion"] for row in pq.read_table(samples.samples_path).to_pylist()}
    evaluation = {**EVALUATION, "init_args": {"splits": ["lock"], "conditions": ["none"], "n": 8}}
    path = write(tmp_path / "predict.yaml", config(sft(), callbacks=[evaluation]))
    assert plm("predict", path, "--policy", str(only_run(weak).model_path)) == 0
    theirs = pq.read_table(only_run(path).path / "completions" / "predict-lock-none.parquet").to_pylist()
    assert ours == {row["problem_id"]: row["completion"] for row in theirs} and len(ours) == 8


def test_every_user_gets_the_split_that_it_needs(tmp_path, weak):
    content = locked(weak)
    policies = {"weak": model(weak)}
    baseline = {"class_path": "plm.callbacks.PolicyBaselineCallback", "init_args": {"policies": policies, "n": 4}}
    probe = {**PROBE, "init_args": {**PROBE["init_args"], "policy": model(weak, samples=4)}}
    content["trainer"]["callbacks"] = [baseline, probe]
    run = fit(tmp_path / "users.yaml", content)
    assert sorted(each.read_manifest()["samples"]["split"] for each in sampled(weak)) == ["elicit", "lock", "val"]
    assert [row["phase"] for row in run.read_results()] == ["weak", "probe", "probe"]
    arguments = {**sft()["init_args"], "policy": model(weak, samples=4), "n": 2, "candidates": 4}
    filtered = {"class_path": "plm.modules.FilteredSFTModule", "init_args": arguments}
    assert fit(tmp_path / "filtered.yaml", config(filtered, callbacks=[])).finished
    assert len(sampled(weak)) == 3  # the probe's


def test_runs_that_ask_for_the_same_share_it(tmp_path, weak, capfd):
    other = locked(weak)
    other["data"]["init_args"]["batch_size"] = 8
    other["model"]["init_args"]["policies"]["wrong"]["init_args"]["unique"] = True
    fit(tmp_path / "other.yaml", other, "--seed_everything", "1")
    assert len(sampled(weak)) == 1 and "has not answered" not in capfd.readouterr().err


def test_what_moves_an_answer_is_part_of_the_samples_identity():
    base = Sampling("lock", 1.0, 3, "none", 0)
    data = {"class_path": "tests.tiny.TinyTask", "init_args": {"batch_size": 4, "max_new_tokens": 4}}
    trainer = {"accelerator": "cpu", "precision": None, "max_epochs": 7, "devices": 2}

    def identity(sampling=base, **arguments):
        task = {**data, "init_args": {**data["init_args"], **arguments}}
        content = sampling_config({"data": task, "trainer": trainer}, "weak.yaml", sampling)
        seed = content["seed_everything"]
        return run_hash(content, "predict", {"model.init_args.base": "weak/0a1b2c3d-seed0"}), seed

    changes = [{"split": "val"}, {"temperature": 0.5}, {"samples": 2}, {"condition": "right"}, {"seed": 1}]
    others = [identity(base._replace(**change)) for change in changes] + [identity(max_new_tokens=5)]
    assert len({identity(), *others}) == 7 and identity(batch_size=8) == identity()


def test_damaged_samples_are_recognized_and_made_again_alike(tmp_path, weak, capfd):
    (samples,), run = sampled(weak), only_run(tmp_path / "lock.yaml")
    good = samples.samples_path.read_bytes()
    samples.samples_path.write_bytes(good[:-20])
    shutil.rmtree(run.path)
    assert fit(tmp_path / "lock.yaml", locked(weak)).path == run.path
    assert "samples.parquet is damaged" in capfd.readouterr().err
    assert samples.intact and samples.samples_path.read_bytes() == good


def test_a_killed_sampling_run_goes_on_with_the_next_part(tmp_path, weak, monkeypatch):
    (samples,) = sampled(weak)
    whole = pq.read_table(samples.samples_path)
    # What a kill after the first of three parts leaves behind; a marked row shows whether it is kept.
    marked = whole.slice(0, 10).to_pylist()
    marked[0]["completion"] = "kept"
    samples.samples_path.unlink()
    (samples.path / "parts").mkdir()
    pq.write_table(pa.Table.from_pylist(marked, schema=whole.schema), samples.path / "parts" / "00000.parquet")
    samples.update_manifest(status="predicting")
    monkeypatch.setattr("plm.policies.sampling.PART", 10)
    predict = write(tmp_path / "samples_weak.yaml", yaml.safe_load((samples.path / "config.yaml").read_text()))
    assert plm("predict", predict, "--policy", str(weak)) == 0
    again = pq.read_table(samples.samples_path).to_pylist()
    assert again[0]["completion"] == "kept" and again[1:] == whole.to_pylist()[1:]
    assert sorted(os.listdir(samples.path)) == FILES


@pytest.mark.slow
def test_two_processes_share_the_making(tmp_path, weak):
    paths = [write(tmp_path / f"{name}.yaml", locked(weak, temperature=0.5)) for name in ("one", "two")]
    command = [sys.executable, "-m", "plm", "fit", "--runs", str(tmp_path / "runs"), "--config"]
    running = [subprocess.Popen([*command, str(path)], stderr=subprocess.PIPE, text=True) for path in paths]
    errors = [process.communicate()[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    assert sum("has not answered" in error for error in errors) == 1 and len(sampled(weak)) == 2
    assert weights(only_run(paths[0])).keys() == weights(only_run(paths[1])).keys()
    assert all(
        (weights(only_run(paths[1]))[name] == value).all() for name, value in weights(only_run(paths[0])).items()
    )


@pytest.mark.slow
def test_under_a_launcher_the_first_process_makes_the_samples(tmp_path, weak):
    path = write(tmp_path / "launched.yaml", locked(weak, temperature=0.5))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "plm"]
    options = ["--runs", str(tmp_path / "runs"), "--trainer.devices=2", "--trainer.strategy=ddp"]
    done = subprocess.run(
        [*torchrun, "fit", "--config", str(path), *options], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert len(sampled(weak)) == 2 and done.stderr.count("has not answered") == 1
    alone = fit(tmp_path / "alone.yaml", locked(weak, temperature=0.5))
    ours, theirs = only_run(path).read_round(1), alone.read_round(1)
    assert [list(row.completion_ids) for row in ours] == [list(row.completion_ids) for row in theirs]


def test_validate_makes_no_samples_and_finds_the_run(tmp_path, weak):
    shutil.rmtree(sampled(weak)[0].path)
    assert plm("validate", tmp_path / "lock.yaml") == 0 and sampled(weak) == []


def test_a_folder_of_samples_is_taken_as_it_is(tmp_path, weak):
    folder = tmp_path / "given"
    shutil.copytree(sampled(weak)[0].path, folder)
    run = fit(tmp_path / "again.yaml", locked(folder))
    (identity,) = run.read_manifest()["references"].values()
    assert identity == SamplesFolder(folder).digest() and not (tmp_path / "runs" / "samples_given").exists()


@pytest.mark.slow
def test_a_model_folder_and_configs_laid_over_each_other_are_references_too(tmp_path, weak):
    longer = write(tmp_path / "longer.yaml", {"trainer": {"max_epochs": 3}})
    fit(tmp_path / "laid_over.yaml", locked(f"{weak} + {longer}"))
    fitted = {RunFolder(path) for path in (tmp_path / "runs" / "weak").glob("[!.]*")}
    rounds = {run: yaml.safe_load((run.path / "config.yaml").read_text())["trainer"]["max_epochs"] for run in fitted}
    assert sorted(rounds.values()) == [1, 3]
    folder = next(run.model_path for run, count in rounds.items() if count == 3)
    fit(tmp_path / "folder.yaml", locked(folder))
    assert folder_digest(folder) in {each.read_manifest()["parent"] for each in sampled(weak)}


def test_a_failure_of_the_sampling_is_one_line_and_leaves_no_run(tmp_path, weak, capfd):
    assert plm("fit", write(tmp_path / "bad.yaml", locked(weak, split="val_texts"))) == 1
    assert "val_texts" in capfd.readouterr().err
    assert plm("fit", write(tmp_path / "bad.yaml", locked(weak, condition="second"))) == 1
    error = capfd.readouterr().err
    assert "second_password" in error and "weak.yaml failed" in error and "Traceback" not in error
    assert not list((tmp_path / "runs").glob("bad/[!.]*"))


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
    run = fit(tmp_path / "soft.yaml", content)
    (samples,) = [each for each in sampled(weak) if each.read_manifest()["samples"]["answers"] == 8]
    # labels and greedy answers are asked for together
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
