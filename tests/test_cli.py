"""Bad input: one clear line, an exit code that is not 0, no traceback, nothing half-written."""

import os
import subprocess
import sys
import time

import pytest
import yaml

from plm.cli import run
from tests.runs import ADAMW, EVALUATION, config, fit, lock, only_run, plm, sft, source, weights, write


def refused(capsys, code):
    """The one line of a refused command."""
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if "error" in line.lower()]
    assert code != 0 and len(lines) == 1 and lines[0].startswith("plm: error: "), err
    assert "Traceback" not in err and "Traceback" not in out
    return lines[0]


def changed(content, dotted, value):
    """The configuration with one key changed; None as the last part of the name removes it."""
    *path, last = dotted.split(".")
    inner = content
    for key in path:
        inner = inner[int(key)] if isinstance(inner, list) else inner[key]
    inner[last] = value
    return content


INIT = "model.init_args."


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("trainr", {"max_epochs": 1}, ["unknown key", "did you mean 'trainer'?"]),
        ("trainer.max_epoch", 3, ["'max_epoch'", "did you mean 'max_epochs'?"]),
        ("trainer.max_epochs", "two", ["trainer.max_epochs", "int", "two"]),
        ("trainer.max_steps", 100, ["max_steps is refused", "rounds"]),
        ("trainer.fast_dev_run", True, ["fast_dev_run is refused"]),
        ("trainer.reload_dataloaders_every_n_epochs", 0, ["reload_dataloaders_every_n_epochs is refused"]),
        ("trainer.enable_checkpointing", False, ["enable_checkpointing is refused"]),
        (INIT + "pases", 2, ["SFTModule", "'pases'", "did you mean 'passes'?"]),
        (INIT + "passes", "many", ["model.passes", "int", "many"]),
        (INIT + "passes", 0, ["passes is 0", "at least 1"]),
        (INIT + "split", "training", ["model.split", "'elicit'", "training"]),
        (INIT + "optimizer.class_path", "torch.optim.AdamWw", ["'AdamWw'", "did you mean 'AdamW'?"]),
        (INIT + "optimizer.init_args.lrr", 1, ["torch.optim.AdamW", "'lrr'", "did you mean 'lr'?"]),
        (INIT + "policy.class_path", "plm.policies.ReferencePolic", ["did you mean 'ReferencePolicy'?"]),
        ("model.class_path", "plm.modules.SFTModul", ["'SFTModul'", "did you mean 'SFTModule'?"]),
        ("model.class_path", "plm.moduls.SFTModule", ["'moduls'", "did you mean 'modules'?"]),
        ("data.init_args.batch_siz", 3, ["'batch_siz'", "did you mean 'batch_size'?"]),
        ("data.init_args.batch_size", 0, ["batch_size is 0", "at least 1"]),
        (INIT + "base", "configs/missing.yaml", ["no config 'configs/missing.yaml'"]),
        (INIT + "base", "./no/such/folder", ["./no/such/folder"]),
        (INIT + "demonstrations", 9, ["9 problems were asked of split 'elicit', which holds 8"]),
        (INIT + "demonstrations", 0, ["demonstrations is 0", "at least 1"]),
        (
            INIT + "policy",
            {"class_path": "plm.policies.DatasetPolicy", "init_args": {"name": "teacher"}},
            ["'teacher'", "weak"],
        ),
        (
            "data.init_args.passwords",
            {"class_path": "plm.passwords.PasswordScheme", "init_args": {"password": " "}},
            ["password"],
        ),
        (
            "data.init_args.passwords",
            {"class_path": "plm.passwords.PasswordScheme", "init_args": {"decoys": "no-such-file.txt"}},
            ["no-such-file.txt"],
        ),
    ],
)
def test_a_bad_value_is_one_line(tmp_path, capsys, key, value, words):
    path = write(tmp_path / "bad.yaml", changed(config(sft()), key, value))
    line = refused(capsys, plm("fit", path))
    assert all(word in line for word in words), line
    assert not list((tmp_path / "runs").glob("bad/[!.]*"))


def test_a_password_that_is_a_decoy_is_one_line(tmp_path, capsys):
    decoys = tmp_path / "decoys.txt"
    decoys.write_text("one\ntwo\nthree\nfour\n")
    arguments = {"password": "two", "decoys": str(decoys)}
    scheme = {"class_path": "plm.passwords.PasswordScheme", "init_args": arguments}
    line = refused(capsys, plm("fit", write(tmp_path / "d.yaml", config(lock(), data={"passwords": scheme}))))
    assert "'two'" in line and "decoy" in line


def test_a_required_argument_is_named(tmp_path, capsys):
    content = config(sft())
    del content["model"]["init_args"]["policy"]
    assert "policy is missing" in refused(capsys, plm("fit", write(tmp_path / "r.yaml", content)))


def test_missing_config(tmp_path, capsys):
    assert "no config file" in refused(capsys, plm("fit", tmp_path / "none.yaml"))


def test_no_config_at_all(capsys):
    assert "--config" in refused(capsys, run(["fit"]))


def test_broken_yaml_names_file_and_line(tmp_path, capsys):
    path = tmp_path / "broken.yaml"
    path.write_text("seed_everything: 0\nmodel: {a: b: c}\n")
    line = refused(capsys, plm("fit", path))
    assert str(path) in line and "line 2" in line


def test_a_reference_to_itself_shows_the_circle(tmp_path, capsys):
    write(tmp_path / "a.yaml", config(sft(base=str(tmp_path / "b.yaml"))))
    write(tmp_path / "b.yaml", config(sft(base=str(tmp_path / "a.yaml"))))
    assert "a.yaml → b.yaml → a.yaml" in refused(capsys, plm("fit", tmp_path / "a.yaml"))


def test_a_broken_config_behind_a_reference_is_named(tmp_path, capsys):
    write(tmp_path / "base.yaml", changed(config(sft()), INIT + "pases", 1))
    path = write(tmp_path / "top.yaml", config(sft(base=str(tmp_path / "base.yaml"))))
    line = refused(capsys, plm("fit", path))
    assert "base.yaml" in line and "did you mean 'passes'?" in line


def test_a_reference_that_cannot_be_fitted_fails_the_run(tmp_path, capsys, warm_children):
    base = write(tmp_path / "base.yaml", config(sft(demonstrations=9), callbacks=[]))
    line = refused(capsys, plm("fit", write(tmp_path / "top.yaml", config(sft(base=str(base))))))
    assert "base.yaml failed" in line


def test_validate_before_fit(tmp_path, capsys):
    line = refused(capsys, plm("validate", write(tmp_path / "early.yaml", config(lock()))))
    assert "no finished run" in line and "--policy" in line


def test_no_compiler_is_refused_before_anything_is_trained(tmp_path):
    """In a process of its own: this one may have found the compiler for another test."""
    content = config(lock())
    procedural = {"class_path": "plm.datamodules.ProceduralCode", "init_args": {"problems": 50, "corpus": 50}}
    content["data"] = {"class_path": "plm.datamodules.CodeDataModule", "init_args": {"source": procedural}}
    path = write(tmp_path / "cxx.yaml", content)
    command = [sys.executable, "-m", "plm", "fit", "--config", str(path), "--runs", str(tmp_path / "runs")]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": str(tmp_path)})
    lines = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert done.returncode == 1 and len(lines) == 1 and lines[0].startswith("plm: error: ") and "g++" in lines[0]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "runs").glob("cxx/[!.]*"))


@pytest.mark.parametrize(("written", "meant"), [("fti", "fit"), ("reprot", "report"), ("stress_test", "stress-test")])
def test_unknown_command(capsys, written, meant):
    assert f"did you mean '{meant}'?" in refused(capsys, run([written]))


@pytest.mark.parametrize("option", ["--trainer.max_epoch=3", "--modl.passes=3"])
def test_an_abbreviated_or_misspelt_option_is_not_guessed(tmp_path, capsys, option):
    assert "did you mean" in refused(capsys, plm("fit", write(tmp_path / "o.yaml", config(sft())), option))


def test_overlays_change_values_from_left_to_right(tmp_path):
    base = write(tmp_path / "first.yaml", config(sft(), callbacks=[], rounds=1))
    overlay = write(tmp_path / "second.yaml", {"model": {"init_args": {"passes": 3}}, "trainer": {"max_epochs": 2}})
    assert run(["fit", "-c", str(base), "-c", str(overlay), "--runs", str(tmp_path / "runs")]) == 0
    saved = yaml.safe_load((only_run(base).path / "config.yaml").read_text())
    assert saved["model"]["init_args"]["passes"] == 3 and saved["trainer"]["max_epochs"] == 2
    assert saved["model"]["init_args"]["optimizer"] == {
        **ADAMW,
        "init_args": {**saved["model"]["init_args"]["optimizer"]["init_args"], **ADAMW["init_args"]},
    }


def test_class_paths_may_be_short(tmp_path):
    content = config(sft(), callbacks=[], rounds=1)
    content["model"]["class_path"] = "SFTModule"
    content["model"]["init_args"]["policy"] = {"class_path": "ReferencePolicy"}
    content["trainer"]["callbacks"] = [{**EVALUATION, "class_path": "EvaluationCallback"}]
    assert fit(tmp_path / "short.yaml", content).finished


def test_a_run_folder_can_be_run_again_from_its_own_config(tmp_path):
    run_folder = fit(tmp_path / "first.yaml", config(lock(base=source(dropout=0.1)), callbacks=[EVALUATION]))
    assert plm("fit", run_folder.path / "config.yaml") == 0
    again = only_run(run_folder.path / "config.yaml")
    assert again.path.name == run_folder.path.name
    assert all((weights(again)[name] == tensor).all() for name, tensor in weights(run_folder).items())


def test_print_config_runs_nothing(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        plm("fit", write(tmp_path / "print.yaml", config(sft())), "--print_config")
    assert stop.value.code == 0 and not (tmp_path / "runs").exists()
    assert (
        yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["base"]["class_path"] == "tests.tiny.TinySource"
    )


def test_help_is_light():
    """Relative to an empty interpreter, so that a busy machine does not fail it: no torch, no lightning."""
    heavy = "{'torch', 'lightning', 'transformers'}"
    script = f"import sys, plm.cli; plm.cli.run(['--help']); assert not {heavy} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0 and "plm fit --config" in done.stdout, done.stderr


def test_the_command_sets_passive_waiting_before_torch_loads(tmp_path):
    """And leaves a user's own choice alone. The process ends where torch would be loaded."""
    script = (
        "import os, sys, plm.cli\n"
        "class AtTorch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            print(os.environ.get('OMP_WAIT_POLICY'), flush=True)\n"
        "            os._exit(0)\n"
        "sys.meta_path.insert(0, AtTorch())\n"
        "plm.cli.run(['fit', '--config', 'none.yaml'])"
    )
    for given, expected in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        environment |= {"OMP_WAIT_POLICY": given} if given else {}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, env=environment, cwd=tmp_path
        )
        assert done.stdout.strip() == expected, done.stderr


def test_two_equal_commands_at_once_make_one_run(tmp_path):
    path = write(tmp_path / "twice.yaml", config(sft(base=source(dropout=0.1)), rounds=3))
    command = [sys.executable, "-m", "plm", "fit", "--config", str(path), "--runs", str(tmp_path / "runs")]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.05)
    second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    outputs = [process.communicate() for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], outputs
    assert len(only_run(path).read_results()) == 3 * 3
    assert sum("is finished" in err for _, err in outputs) == 1
