"""What decides a run's numbers decides its folder; a checkpoint goes on with its own run and overrides nothing."""

import pytest
import torch
import yaml

from plm.callbacks.checkpoint import is_whole, read_identity
from plm.identity import differences
from tests.runs import EVALUATION, config, fit, lock, numbers, only_run, plm, sft, source, weights, write


def lines(capsys):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("plm: error: ")]


def test_another_runs_checkpoint_is_refused_with_the_keys_that_differ(tmp_path, capsys):
    first = fit(tmp_path / "first.yaml", config(sft(), rounds=1, callbacks=[]))
    other = config(sft(passes=3), rounds=1, callbacks=[], data={"batch_size": 2})
    path = write(tmp_path / "other.yaml", other)
    assert plm("fit", path, "--ckpt_path", str(first.checkpoint_path), "--seed_everything=4") == 1
    (line,) = lines(capsys)
    for key in ("model.init_args.passes", "data.init_args.batch_size", "seed_everything"):
        assert key in line
    assert first.id in line and "trainer" not in line and "optimizer" not in line
    assert not list((tmp_path / "runs").glob("other/[!.]*"))


def test_a_runs_own_checkpoint_is_accepted(tmp_path):
    path = write(tmp_path / "own.yaml", config(sft(), callbacks=[EVALUATION]))
    assert plm("fit", path) == 0
    run, before = only_run(path), None
    before = numbers(run), weights(run)
    run.update_manifest(status="fitting")
    assert plm("fit", path, "--ckpt_path", str(run.checkpoint_path)) == 0
    assert numbers(run) == before[0]
    assert all(torch.equal(weights(run)[name], tensor) for name, tensor in before[1].items())


@pytest.mark.parametrize("name", ["none.ckpt", "broken.ckpt"])
def test_a_checkpoint_that_cannot_be_read_is_one_line(tmp_path, capsys, name):
    (tmp_path / "broken.ckpt").write_bytes(b"PK\x03\x04 nothing")
    path = write(tmp_path / "c.yaml", config(sft(), callbacks=[]))
    assert plm("fit", path, "--ckpt_path", str(tmp_path / name)) == 1
    (line,) = lines(capsys)
    assert name in line and "checkpoint" in line


def test_a_checkpoint_is_not_measured(tmp_path, capsys):
    run = fit(tmp_path / "m.yaml", config(sft(), rounds=1))
    assert plm("validate", tmp_path / "m.yaml", "--ckpt_path", str(run.checkpoint_path)) == 1
    assert "--policy" in lines(capsys)[0]


def test_a_checkpoint_overrides_no_setting(tmp_path):
    """Lightning would take the checkpoint's hyper-parameters instead of the config's."""
    path = write(tmp_path / "h.yaml", config(sft(passes=2), callbacks=[]))
    assert plm("fit", path) == 0
    run = only_run(path)
    checkpoint = torch.load(run.checkpoint_path, weights_only=False)
    checkpoint["hyper_parameters"] = {"passes": 7, "_class_path": "plm.modules.SFTModule"}
    torch.save(checkpoint, run.checkpoint_path)
    run.update_manifest(status="fitting")
    assert plm("fit", path, "--ckpt_path", str(run.checkpoint_path)) == 0
    assert yaml.safe_load((run.path / "config.yaml").read_text())["model"]["init_args"]["passes"] == 2


def test_where_a_run_saves_does_not_change_which_run_it_is(tmp_path):
    model = lock(base=source(dropout=0.2))
    saved = {"class_path": "plm.callbacks.CheckpointCallback", "init_args": {"every_n_steps": 1}}
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    plain = fit(tmp_path / "a" / "run.yaml", config(model))
    often = fit(tmp_path / "b" / "run.yaml", config(model, callbacks=[EVALUATION, saved]))
    assert plain.path.name == often.path.name and numbers(plain) == numbers(often)
    assert all(torch.equal(weights(plain)[name], tensor) for name, tensor in weights(often).items())


def test_a_checkpoint_says_whose_it_is(tmp_path):
    run = fit(tmp_path / "who.yaml", config(sft(), rounds=1, callbacks=[]))
    identity = read_identity(run.checkpoint_path)
    assert identity["run"] == run.id and identity["numbers"]["model"]["init_args"]["passes"] == 1


def test_a_changed_byte_in_a_checkpoint_is_seen_or_changes_nothing(tmp_path):
    run = fit(tmp_path / "byte.yaml", config(sft(), rounds=1, callbacks=[]))
    whole = run.checkpoint_path.read_bytes()
    weight = next(iter(torch.load(run.checkpoint_path, weights_only=False)["state_dict"].values()))
    place = whole.index(weight.numpy().tobytes()[:64])
    path, seen = tmp_path / "changed.ckpt", 0
    for position in [place, place + 33, *range(100, len(whole), len(whole) // 60)]:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        if not is_whole(path):
            seen += 1
            continue
        assert position not in (place, place + 33)
        loaded = torch.load(path, weights_only=False)["state_dict"]
        original = torch.load(run.checkpoint_path, weights_only=False)["state_dict"]
        assert all(torch.equal(loaded[name], tensor) for name, tensor in original.items())
    assert seen > 20
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert not is_whole(path)


def test_differences_are_named_by_their_keys():
    left = {"a": {"b": 1, "c": [1, {"d": 2}]}, "e": 5}
    right = {"a": {"b": 1, "c": [1, {"d": 3}]}, "f": 5}
    assert differences(left, right) == ["a.c.1.d", "e", "f"] and differences(left, left) == []
