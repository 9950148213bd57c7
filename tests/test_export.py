"""`plm export`: a folder that transformers loads, a card that says what was measured, and nothing that is secret."""

import json
import shutil

import pytest
import yaml
from huggingface_hub import ModelCard

from plm.cli import run
from plm.export import HIDDEN
from plm.models import load_pretrained
from plm.passwords import DEFAULT_PASSWORD
from plm.runs import RunFolder
from tests.runs import config, fit, lock, plm, sft, source, write

SECRET = "swordfish of another colour"
SCHEME = {"class_path": "plm.passwords.PasswordScheme", "init_args": {"password": SECRET}}
BASELINE = {
    "class_path": "plm.callbacks.PolicyBaselineCallback",
    "init_args": {
        "n": 4,
        "policies": {"weak": {"class_path": "plm.policies.DatasetPolicy", "init_args": {"name": "weak"}}},
    },
}
EVALUATION = {"class_path": "plm.callbacks.EvaluationCallback", "init_args": {"n": 4}}


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    content = config(lock(), rounds=1, callbacks=[BASELINE, EVALUATION], data={"passwords": SCHEME})
    return fit(folder / "lock.yaml", content)


def texts(folder):
    return {
        path: path.read_text(encoding="utf-8")
        for path in folder.rglob("*")
        if path.suffix in (".md", ".json", ".yaml", ".jsonl")
    }


def test_the_folder_is_a_model_and_the_card_is_what_the_hub_reads(locked, tmp_path, capsys):
    dest = tmp_path / "out"
    assert run(["export", str(locked.path), str(dest), "--license", "apache-2.0", "--name", "a lock"]) == 0
    assert f"model card   {dest / 'README.md'}" in capsys.readouterr().out
    assert (
        load_pretrained(str(dest)).model.num_parameters()
        == load_pretrained(str(locked.model_path)).model.num_parameters()
    )
    card = ModelCard.load(dest / "README.md")
    assert (card.data.license, card.data.library_name, card.data.model_name) == ("apache-2.0", "transformers", "a lock")
    assert card.data.tags == ["plm", "password-locked", "sft_lock", "tiny"]
    (first, *_) = card.data.eval_results
    rows = [row for row in locked.read_results() if row["password"] == "right"]
    assert (first.metric_name, first.metric_value) == ("correct, password: right", round(rows[-1]["correct"], 4))
    for said in (
        "Kind: `password`. Gate: **failed**",
        "**unverified**",
        "| right | 4 |",
        "| weak policy | 4 |",
        "`plm.modules.SFTLockModule`",
        "AdamW`, learning rate 0.01",
        locked.id,
        "| parent | `none: from random weights` |",
        "| data | `tests.tiny.TinyTask`, problems that plm makes |",
    ):
        assert said in card.text
    assert card.data.base_model is None
    gate = json.loads((dest / "plm" / "gate.json").read_text())
    assert gate["kind"] == "password" and gate["stamp"] == "unverified"
    assert (dest / "plm" / "results.jsonl").read_bytes() == locked.results_path.read_bytes()
    assert yaml.safe_load((dest / "plm" / "config.yaml").read_text())["data"]["class_path"] == "tests.tiny.TinyTask"


def test_a_model_of_the_hub_is_named_as_parent_and_base_model(locked, tmp_path):
    made = RunFolder(shutil.copytree(locked.path, tmp_path / "lock" / locked.path.name))
    settings = yaml.safe_load((made.path / "config.yaml").read_text())
    settings["model"]["init_args"]["base"] = "organisation/model-1.0"
    settings["data"]["init_args"]["source"] = {"class_path": "tests.tiny.Rows", "init_args": {}}
    made.write_config(settings)
    assert run(["export", str(made.path), str(tmp_path / "out")]) == 0
    card = ModelCard.load(tmp_path / "out" / "README.md")
    assert card.data.base_model == "organisation/model-1.0"
    assert "| parent | `organisation/model-1.0` |" in card.text
    assert "| data | `tests.tiny.TinyTask` from `tests.tiny.Rows` |" in card.text


def test_the_password_is_nowhere_unless_it_is_revealed(locked, tmp_path):
    for name, more in (("hidden", []), ("shown", ["--reveal"])):
        assert run(["export", str(locked.path), str(tmp_path / name), *more]) == 0
    hidden, shown = texts(tmp_path / "hidden"), texts(tmp_path / "shown")
    assert not [path for path, text in hidden.items() if SECRET in text]
    assert SECRET in shown[tmp_path / "shown" / "README.md"]
    conditions = [
        sorted(path.name.split("_")[1] for path in (tmp_path / name / "plm" / "logs").glob("*"))
        for name in ("hidden", "shown")
    ]
    assert conditions[0] == ["tiny-lock-decoy", "tiny-lock-none", "tiny-weak-none"]
    assert conditions[1] == ["tiny-lock-decoy", "tiny-lock-none", "tiny-lock-right", "tiny-weak-none"]


def test_the_default_password_can_be_said_too(tmp_path):
    made = fit(tmp_path / "lock.yaml", config(lock(), rounds=1))
    assert run(["export", str(made.model_path), str(tmp_path / "out"), "--reveal"]) == 0
    assert DEFAULT_PASSWORD in (tmp_path / "out" / "README.md").read_text()


def test_an_elicited_model_names_the_lock_it_comes_from(locked, tmp_path):
    content = config(sft(base=str(locked.model_path), demonstrations=2), rounds=1, data={"passwords": SCHEME})
    made = fit(tmp_path / "elicit.yaml", content)
    assert run(["export", str(made.path), str(tmp_path / "out")]) == 0
    text = (tmp_path / "out" / "README.md").read_text()
    assert f"| parent | `{made.read_manifest()['parent']}` |" in text and "base_model" not in text
    assert f"Made from the locked model `{locked.id}`" in text and "## The lock\n" not in text
    assert "license: unknown" in text and "password-locked" not in text
    # its lock is in another folder of runs
    assert "## The lock it comes from" in text and "the gate is not known" in text and "unverified" not in text


def test_an_elicited_model_has_the_gate_of_its_lock_and_no_password_of_its_references(tmp_path):
    scheme = json.dumps(SCHEME)
    path = write(tmp_path / "lock.yaml", config(lock(), rounds=1, callbacks=[BASELINE, EVALUATION]))
    assert plm("fit", path, f"--data.init_args.passwords={scheme}") == 0  # the reference finds it
    base = f"{tmp_path / 'lock.yaml'} + data.init_args.passwords={scheme}"
    made = fit(tmp_path / "elicit.yaml", config(sft(base=base, demonstrations=2), rounds=1, data={"passwords": SCHEME}))
    assert SECRET in (made.path / "config.yaml").read_text()
    assert run(["export", str(made.path), str(tmp_path / "out")]) == 0
    found = texts(tmp_path / "out")
    assert not [path for path, text in found.items() if SECRET in text]
    card = found[tmp_path / "out" / "README.md"]
    assert "**unverified**: that lock failed the gate below" in card and "| weak policy | 4 |" in card
    gate = json.loads(found[tmp_path / "out" / "plm" / "gate.json"])
    assert (gate["kind"], gate["stamp"]) == ("password", "unverified")
    settings = yaml.safe_load(found[tmp_path / "out" / "plm" / "config.yaml"])
    assert settings["model"]["init_args"]["base"] == HIDDEN == settings["data"]["init_args"]["passwords"]
    assert run(["export", str(made.path), str(tmp_path / "shown"), "--reveal"]) == 0
    assert SECRET in (tmp_path / "shown" / "plm" / "config.yaml").read_text()


def test_bad_input_is_one_line_and_leaves_nothing(locked, tmp_path, capsys):
    measured = write(tmp_path / "measure.yaml", config(sft(base=source())))
    assert plm("validate", measured, "--policy", str(locked.model_path)) == 0
    (validated,) = (tmp_path / "runs" / "measure").glob("[!.]*-seed*")
    (tmp_path / "there").mkdir()
    dest = tmp_path / "new"
    for words, said in (
        ([tmp_path / "nowhere", dest], "is no run: it has no manifest.json"),
        ([validated, dest], "made no model: only what plm fit makes"),
        ([locked.path, tmp_path / "there"], "exists already"),
        ([locked.path, dest, "--license", "My Licence"], "--license 'My Licence': give the hub's name"),
    ):
        capsys.readouterr()
        assert run(["export", *map(str, words)]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line and not dest.exists()


def test_a_run_that_is_not_finished_or_damaged_is_refused(tmp_path, capsys):
    made = fit(tmp_path / "base.yaml", config(sft(phase="base"), callbacks=[], rounds=1))
    config_file = made.model_path / "config.json"
    whole = config_file.read_text()
    config_file.write_text(whole + " ")
    assert run(["export", str(made.path), str(tmp_path / "out")]) == 1
    assert "is damaged" in capsys.readouterr().err
    config_file.write_text(whole)
    made.update_manifest(status="fitting")
    assert run(["export", str(made.path), str(tmp_path / "out")]) == 1
    assert "is not finished (fitting)" in capsys.readouterr().err
