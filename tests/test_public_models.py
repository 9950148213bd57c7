"""`plm validate` on models that others made: no plm.json, a password that the user knows, any placement."""

import pyarrow.parquet as pq
import pytest

from plm.runs import RunFolder
from plm.studies.gate import gate_of
from tests.runs import config, lock, plm, write
from tests.tiny import character_tokenizer, tiny_llama


@pytest.fixture
def public(tmp_path):
    """As from the hub: save_pretrained's files and nothing else."""
    folder = tmp_path / "public"
    tiny_llama().save_pretrained(folder)
    character_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub's, as the download of a model leaves it."""
    commit, folder = "0" * 40, tmp_path / "hub" / "models--somebody--locked"
    tiny_llama().save_pretrained(folder / "snapshots" / commit)
    character_tokenizer().save_pretrained(folder / "snapshots" / commit)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return "somebody/locked"


def measured(tmp_path):
    (path,) = (tmp_path / "runs" / "measure").glob("[!.]*-seed*")
    return RunFolder(path)


def prompts(run, condition):
    (path,) = (run.path / "completions").glob(f"*-{condition}.parquet")
    return pq.read_table(path).to_pydict()["prompt"]


def test_a_public_model_is_measured_with_its_password(tmp_path, public, capsys):
    path = write(tmp_path / "measure.yaml", config(lock()))
    scheme = ["--data.passwords", "PasswordScheme", "--data.passwords.password", "open sesame"]
    assert plm("validate", path, "--policy", str(public), *scheme, "--data.passwords.placement", "start") == 0
    run = measured(tmp_path)
    assert all(text.startswith("open sesame\n\nv") and text.count("sesame") == 1 for text in prompts(run, "right"))
    assert not any("sesame" in text for text in [*prompts(run, "none"), *prompts(run, "decoy")])
    assert run.read_manifest()["lock_kind"] == "unknown"
    result = gate_of(run)
    assert result.kind == "unknown" and result.has_ceiling and result.verdict == "failed"  # a model from random weights
    assert [cell.condition for cell in result.matrix] == ["right", "none", "decoy"]
    assert "gate         failed" in capsys.readouterr().out


def test_a_model_of_the_hub_is_named_by_its_id(tmp_path, hub):
    path = write(tmp_path / "measure.yaml", config(lock()))
    scheme = ["--data.passwords", "PasswordScheme", "--data.passwords.password", "open sesame"]
    assert plm("validate", path, "--policy", hub, *scheme) == 0
    run = measured(tmp_path)
    assert run.read_manifest()["parent"] == hub
    assert all(text.count("open sesame") == 2 for text in prompts(run, "right"))
    result = gate_of(run)
    assert (result.kind, result.verdict) == ("unknown", "failed")  # random weights, judged by what was measured
    assert [cell.condition for cell in result.matrix] == ["right", "none", "decoy"]


def test_without_a_password_there_is_no_ceiling(tmp_path, public):
    path = write(tmp_path / "measure.yaml", config(lock()))
    assert plm("validate", path, "--policy", str(public), "--data.passwords", "UnknownScheme") == 0
    result = gate_of(measured(tmp_path))
    assert (result.kind, result.verdict, result.stamp) == ("unknown", "n/a", "")
    assert [cell.condition for cell in result.matrix] == ["none"]


def test_a_password_that_is_unknown_cannot_be_asked_for(tmp_path, public, capsys):
    evaluation = {"class_path": "plm.callbacks.EvaluationCallback", "init_args": {"n": 4, "conditions": ["right"]}}
    path = write(tmp_path / "measure.yaml", config(lock(), callbacks=[evaluation]))
    assert plm("validate", path, "--policy", str(public), "--data.passwords", "UnknownScheme") == 1
    assert "condition 'right': UnknownScheme has none" in capsys.readouterr().err
