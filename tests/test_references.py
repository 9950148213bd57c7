"""A model reference: configs laid over each other, and single values."""

import pytest

from plm.references import ModelReference
from tests.runs import config, only_run, plm, sft, write

pytestmark = pytest.mark.usefixtures("warm_children")


def test_its_parts():
    reference = ModelReference("a.yaml + b.yml + seed_everything=1 + model.passes=2")
    assert reference.is_config and [str(path) for path in reference.configs] == ["a.yaml", "b.yml"]
    expected = ["--config", "a.yaml", "--config", "b.yml", "--seed_everything=1", "--model.passes=2"]
    assert reference.arguments == expected
    assert not ModelReference("org/model").is_config and not ModelReference("runs/x/model").is_config


def test_a_reference_inside_of_a_reference_stands_in_brackets():
    inner = "b.yaml + model.init_args.base=(c.yaml + seed_everything=2) + seed_everything=1"
    reference = ModelReference(f"a.yaml + model.init_args.base=({inner}) + seed_everything=0")
    assert reference.values == [f"model.init_args.base=({inner})", "seed_everything=0"]
    values = ModelReference('a.yaml + policy={"model": "b.yaml + seed_everything=1"} + x=[1, "c.yaml + y=2"]').values
    assert values == ['policy={"model": "b.yaml + seed_everything=1"}', 'x=[1, "c.yaml + y=2"]']


def test_a_chain_of_references_makes_each_model_once(tmp_path):
    base = write(tmp_path / "base.yaml", config(sft(), callbacks=[], rounds=1))
    middle = write(tmp_path / "middle.yaml", config(sft(base=str(base)), callbacks=[], rounds=1))
    chain = f"{middle} + model.init_args.base=({base} + seed_everything=7)"
    assert plm("fit", write(tmp_path / "end.yaml", config(sft(base=chain), callbacks=[], rounds=1))) == 0
    assert only_run(tmp_path / "base.yaml").path.name.endswith("-seed7")
    assert only_run(tmp_path / "middle.yaml").read_manifest()["parent"] == only_run(tmp_path / "base.yaml").id


def test_single_values_make_another_run_of_the_same_config(tmp_path):
    base = write(tmp_path / "base.yaml", config(sft(), callbacks=[], rounds=1))
    for name, more in (("one", ""), ("two", " + seed_everything=7"), ("three", " + model.passes=2")):
        content = config(sft(base=f"{base}{more}"), callbacks=[], rounds=1)
        assert plm("fit", write(tmp_path / f"{name}.yaml", content)) == 0
    parents = {name: only_run(tmp_path / f"{name}.yaml").read_manifest()["parent"] for name in ("one", "two", "three")}
    assert len(set(parents.values())) == 3 and parents["two"].endswith("-seed7")
    assert parents["one"].split("-")[0] == parents["two"].split("-")[0]  # the seed stands beside the hash


def test_a_value_that_does_not_exist_is_one_line(tmp_path, capsys):
    base = write(tmp_path / "base.yaml", config(sft(), callbacks=[], rounds=1))
    path = write(tmp_path / "bad.yaml", config(sft(base=f"{base} + model.pases=2"), callbacks=[]))
    assert plm("fit", path) == 1
    (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("plm: error")]
    assert "pases" in line and "base.yaml" in line
