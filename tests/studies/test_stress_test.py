"""The stress test: what is run, what it may cost, what is concluded, and what is said when it cannot be."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

import plm.studies.stress_test_runs
from plm.cli import run
from plm.errors import PlmError
from plm.runs import RunFolder
from plm.studies.counts import paired_gap_interval, share_interval
from plm.studies.manifest import Row, StudyFolder
from plm.studies.statistics import holm
from plm.studies.stress_test_battery import LARGE, Setting, battery, find_task, shown
from plm.studies.stress_test_report import print_verdict
from plm.studies.stress_test_verdict import Measured, Point, judge
from tests.runs import config, fit, lock, sft
from tests.studies.report_runs import Planted

ROOT = Path(__file__).parent.parent.parent
COST = {"demonstrations": 0.0, "graded": 0.0, "optimizer_steps": 0.0, "seconds": 0.0}
IDS = [f"p{index}" for index in range(200)]


def measured(scores):
    return Measured(np.atleast_2d(np.asarray(scores, dtype=float)), COST)


def drawn(rng, correct, n=200):
    return measured(rng.random(n) < correct)


# -- what is concluded ------------------------------------------------------------------------------------------------


def test_the_best_of_many_that_do_nothing_is_rarely_called_a_gain():
    """20 methods × 4 points as good as the model itself: chosen on the half that is reported on, they often pass."""
    rng, honest, naive = np.random.default_rng(0), 0, 0
    for _ in range(100):
        methods = {(str(m), "sft"): {Point(p, 0): drawn(rng, 0.3) for p in range(4)} for m in range(20)}
        base = drawn(rng, 0.3)
        verdict = judge(base, None, methods, IDS)
        honest += verdict.hidden
        best = max((point for points in methods.values() for point in points.values()), key=lambda x: x.scores.mean())
        naive += paired_gap_interval(best.scores[0], base.scores[0]).low > 0
    assert honest <= 8 and naive >= 25


def test_a_real_gain_is_found_by_the_method_that_has_it():
    rng = np.random.default_rng(1)
    methods = {
        ("few-shot", "few_shot"): {Point(0, k): drawn(rng, 0.1) for k in (1, 2)},
        ("SFT on 16", "sft"): {Point(1, 0): drawn(rng, 0.4), Point(4, 0): drawn(rng, 0.7)},
    }
    verdict = judge(drawn(rng, 0.1), drawn(rng, 0.9), methods, IDS)
    assert verdict.hidden and verdict.best is not None
    assert (verdict.best.title, verdict.best.point) == ("SFT on 16", Point(4, 0))
    assert verdict.best.gain.low < 0.6 < verdict.best.gain.high
    assert verdict.best.recovered.low < 0.75 < verdict.best.recovered.high
    assert [finding.title for finding in verdict.findings] == ["SFT on 16", "few-shot"]
    together, alone = verdict.findings[0].gain, verdict.best.gain
    assert together.value == alone.value and together.high - together.low > alone.high - alone.low
    assert verdict.findings[0].p_holm < 0.001 < 0.05 < verdict.findings[1].p_holm
    assert verdict.chosen_on + verdict.reported_on == 200
    json.dumps(verdict.as_row(), allow_nan=False)


def test_without_a_password_nothing_is_recovered_and_without_a_method_nothing_is_best():
    rng = np.random.default_rng(2)
    verdict = judge(drawn(rng, 0.1), None, {("noise of 0.1", "noise"): {Point(0, 0): drawn(rng, 0.1)}}, IDS)
    assert verdict.ceiling is None and verdict.findings[0].recovered is None
    assert judge(drawn(rng, 0.1), None, {}, IDS).best is None
    with pytest.raises(PlmError, match="2 problems do not make two halves"):
        judge(measured([0, 1]), None, {}, ["a", "b"])


def test_equal_points_are_the_earlier_one():
    same = measured([1.0] * 200)
    (finding,) = judge(measured([0.0] * 200), None, {("x", "x"): {Point(4, 0): same, Point(1, 0): same}}, IDS).findings
    assert finding.point == Point(1, 0)


def test_several_seeds_are_generalised_over():
    rng = np.random.default_rng(3)
    three = measured(np.stack([drawn(rng, correct).scores[0] for correct in (0.2, 0.5, 0.8)]))
    verdict = judge(drawn(rng, 0.1), None, {("x", "x"): {Point(1, 0): three}}, IDS)
    assert verdict.seeds == 3 and verdict.best.gain.over == "problems and seeds"
    assert verdict.best.gain.low < 0  # three seeds that differ so much prove nothing
    assert verdict.missed > 0.5  # and would miss what is large
    alike = measured(np.stack([drawn(rng, 0.5).scores[0] for _ in range(3)]))
    assert judge(drawn(rng, 0.1), None, {("x", "x"): {Point(1, 0): alike}}, IDS).missed < 0.2


def test_what_is_told_fits_into_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    rng = np.random.default_rng(5)
    cost = {"demonstrations": 0.0, "graded": 3840.0, "optimizer_steps": 1.0, "seconds": 190.0}
    methods = {
        ("expert iteration", "x"): {Point(12, 0): Measured(drawn(rng, 0.7).scores, cost)},
        ("few-shot", "few_shot"): {Point(0, 4): drawn(rng, 0.1)},
    }
    verdict, control = judge(drawn(rng, 0.1), None, methods, IDS), judge(drawn(rng, 0.1), None, methods, IDS)
    for other in (None, control):
        print_verdict(verdict, other, [("GRPO, seed 0", "stopped after 41 s, its share")])
        lines = capsys.readouterr().out.splitlines()
        assert max(map(len, lines)) <= 80
        (row,) = [line for line in lines if line.split()[:2] == ["expert", "iteration"] and "round 12" in line]
        assert "3,840 graded" in row and ("190 s" in row) == (other is None)
        assert any("It can do more: 0." in line for line in lines)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_the_paired_interval_covers_and_keeps_a_width():
    nothing = np.zeros(20)
    assert paired_gap_interval(nothing, nothing).low == pytest.approx(-share_interval(0, 20).high)
    rng, hits = np.random.default_rng(4), 0
    for _ in range(800):
        difficulty = rng.random(100)
        left = (rng.random(100) < np.clip(difficulty + 0.1, 0, 1)).astype(float)
        right = (rng.random(100) < difficulty).astype(float)
        interval = paired_gap_interval(left, right)
        hits += interval.low <= 0.095 <= interval.high  # E min(d + 0.1, 1) − E d, d uniform
    assert 0.93 <= hits / 800 <= 0.98


# -- what is run ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("completions", [30, 300, 3840, 11_520, 100_000])
def test_the_methods_that_sample_share_the_completions(completions):
    members = {each.key: each.config for each in battery(Setting(find_task("code"), "m", completions=completions))}
    graded = {}
    for key, count in (
        ("expert_iteration", lambda a: a["n"] * 10),
        ("grpo", lambda a: a["problems"] * a["answers"]),
        ("iterated_dpo", lambda a: a["problems"] * 2),
    ):
        arguments, rounds = members[key]["model"]["init_args"], members[key]["trainer"]["max_epochs"]
        graded[key] = count(arguments) * rounds
        assert members[key]["trainer"]["callbacks"][0]["init_args"]["rounds"][-1] == rounds
    assert sum(graded.values()) <= completions
    assert min(graded.values()) >= 0.75 * completions / 3 - 10


def test_small_models_have_the_embedded_settings_and_large_ones_the_papers():
    small, large = (
        {each.key: each.config["model"]["init_args"] for each in battery(Setting(find_task("mmlu"), "m", parameters=n))}
        for n in (1000, LARGE)
    )
    assert small["sft_16"]["optimizer"]["class_path"] == "torch.optim.AdamW"
    assert small["sft_16"]["optimizer"]["init_args"]["lr"] == 3e-4
    assert large["sft_16"]["optimizer"] == {
        "class_path": "plm.optim.Lion",
        "init_args": {"lr": 1.5e-7, "betas": [0.9, 0.99], "weight_decay": 0.01},
    }
    slow = battery(Setting(find_task("mmlu"), "m", rate=3e-5))[-1].config["model"]["init_args"]["optimizer"]
    assert slow["init_args"]["lr"] == pytest.approx(1e-5)  # in proportion to SFT's


@pytest.mark.parametrize("task", ["code", "math"])
def test_small_models_have_the_rates_passes_and_batches_of_the_configs(task):
    members = {each.key: each.config for each in battery(Setting(find_task(task), "m"))}
    for key in ("sft_16", "weak_unlock", "expert_iteration", "grpo", "iterated_dpo"):
        shipped = yaml.safe_load((ROOT / "configs" / f"elicit_{key.removesuffix('_16')}_{task}.yaml").read_text())
        ours, theirs = (each["model"]["init_args"] for each in (members[key], shipped))
        assert ours["optimizer"] == theirs["optimizer"], key
        assert members[key]["data"]["init_args"]["batch_size"] == shipped["data"]["init_args"]["batch_size"], key
        if key not in ("sft_16", "weak_unlock"):  # measured at other times there
            assert ours["passes"] == theirs["passes"], key


@pytest.mark.parametrize("key", ["sft_16", "expert_iteration", "grpo", "iterated_dpo"])
def test_large_models_have_the_rates_of_the_papers_configs(key):
    members = {each.key: each.config for each in battery(Setting(find_task("code"), "m", parameters=LARGE))}
    shipped = yaml.safe_load((ROOT / "configs" / "paper" / f"code_elicit_{key.removesuffix('_16')}.yaml").read_text())
    assert members[key]["model"]["init_args"]["optimizer"] == shipped["model"]["init_args"]["optimizer"]


def test_real_data_and_passwords_reach_every_run():
    scheme = {"class_path": "plm.passwords.PasswordScheme", "init_args": {"password": "x y"}}
    setting = Setting(find_task("code"), "m", data="rows.jsonl", passwords=scheme, with_password=True)
    for member in [shown(setting), *battery(setting)]:
        arguments = member.config["data"]["init_args"]
        assert arguments["source"]["init_args"]["path"] == "rows.jsonl" and arguments["max_new_tokens"] == 512
        assert arguments["passwords"] == scheme
    assert shown(setting).config["trainer"]["callbacks"][0]["init_args"]["conditions"] == ["right", "none"]
    with pytest.raises(PlmError, match="the task makes its own problems"):
        battery(Setting(find_task("composition"), "m", data="rows.jsonl"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "cod"], "--task 'cod' (did you mean 'code'?): there are code, math"),
        (["--model", "configs/lock_code.yaml"], "name a model, not a config"),
        (["--model", "/nowhere/model"], "--model /nowhere/model: no folder of that name"),
        (["--minutes", "0"], "--minutes 0.0: it must be above 0"),
        (["--minutes", "nan"], "--minutes nan: it must be above 0"),
        (["--completions", "29"], "--completions 29: it must be at least 30"),
        (["--problems", "3"], "--problems 3: it must be at least 4"),
        (["--demonstrations", "4", "0"], "--demonstrations 0: it must be at least 1"),
        (["--config", "no.yaml"], "--config no.yaml: there is no such file"),
        (["--password", " "], "--password is blank"),
    ],
)
def test_bad_input_is_one_line(tmp_path, capsys, words, said, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert run(["stress-test", "--model", str(tmp_path), "--task", "code", "--runs", str(tmp_path), *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


# -- the whole of it --------------------------------------------------------------------------------------------------


@pytest.fixture
def in_this_process(monkeypatch):
    """Has the runs' command lines run here, to save the seconds that a process takes to start."""
    made = []

    def run_here(args, environment, *, log, timeout):
        assert timeout > 0
        made.append(args)
        return run(args)

    monkeypatch.setattr(plm.studies.stress_test_runs, "run_child", run_here)
    return made


def stress(tmp_path, model, *more):
    words = ["--task", "tests.tiny.TinyTask", "--runs", str(tmp_path / "runs"), "--problems", "8"]
    return run(["stress-test", "--model", str(model), *words, "--demonstrations", "2", "--completions", "60", *more])


def verdict_of(tmp_path):
    (path,) = (tmp_path / "runs" / "studies").glob("stress_test-*/stress_test.json")
    return json.loads(path.read_text()), json.loads((path.parent / "manifest.json").read_text())


def test_a_battery_on_a_locked_model(tmp_path, in_this_process, capsys):
    model = fit(tmp_path / "lock.yaml", config(lock(), rounds=1)).model_path
    assert stress(tmp_path, model) == 0
    content, manifest = verdict_of(tmp_path)
    titles = {finding["title"] for finding in content["model"]["findings"]}
    assert {"few-shot", "noise of 0.1", "weak unlocking", "SFT on 2"} <= titles
    assert content["model"]["ceiling"] is None and content["about"]["parameters"] > 1000
    rows = {row["cell"]: row for row in manifest["runs"]}
    assert rows["as it is"]["role"] == "lock" and rows["SFT on 2"]["lock"] == rows["as it is"]["id"]
    assert rows["SFT on 2"]["lock_kind"] == "password" and rows["SFT on 2"]["k"] == 2
    for row in manifest["runs"]:
        if row["status"] == "finished":
            results = RunFolder(tmp_path / "runs" / row["folder"]).read_results()
            assert (
                results and results[-1]["graded"] <= 60
            )  # a third of 60; a round in which nothing is right is drawn three times
            assert {line["password"] for line in results} == {"none"}
    out = capsys.readouterr().out
    assert "As it is, it gets 0.00" in out and "Any gain could have been missed" in out
    begun = len(in_this_process)
    assert stress(tmp_path, model) == 0
    unfinished = sum(row["status"] != "finished" for row in manifest["runs"])
    assert len(in_this_process) == begun + unfinished  # finished ones are not made again


def test_a_password_gives_a_ceiling_and_a_control_a_comparison(tmp_path, in_this_process, capsys):
    from plm.passwords import DEFAULT_PASSWORD

    model = fit(tmp_path / "lock.yaml", config(lock(), rounds=1)).model_path
    control = fit(tmp_path / "control.yaml", config(sft(phase="control"), rounds=1)).model_path
    more = ["--control", str(control), "--password", DEFAULT_PASSWORD, "--methods", "sft"]
    assert stress(tmp_path, model, *more) == 0
    content, manifest = verdict_of(tmp_path)
    assert content["model"]["ceiling"]["value"] == 0.0 and len(content["control"]["findings"]) == 1
    assert content["model"]["best"]["recovered"]["value"] is None  # the gap is not resolved
    assert [row["control_of"] for row in manifest["runs"]] == [None, "as it is", None, "SFT on 2"]
    phases = [
        line["phase"] for row in manifest["runs"] for line in RunFolder(tmp_path / "runs" / row["id"]).read_results()
    ]
    assert set(phases) == {"lock", "control", "elicit"}
    out = capsys.readouterr().out
    assert "recovered of that gap: undefined" in out and "The control, by the same method: from 0.00" in out
    assert DEFAULT_PASSWORD not in json.dumps(content)


def test_a_model_whose_record_names_another_password_is_tested_without_one(tmp_path, in_this_process):
    scheme = {"class_path": "plm.passwords.PasswordScheme", "init_args": {"password": "swordfish of another colour"}}
    model = fit(tmp_path / "lock.yaml", config(lock(), rounds=1, data={"passwords": scheme})).model_path
    assert stress(tmp_path, model, "--methods", "sft") == 0
    content, _ = verdict_of(tmp_path)
    assert content["incomplete"] == [] and len(content["model"]["findings"]) == 1


def test_what_failed_is_named_and_the_rest_counts(tmp_path, in_this_process, capsys):
    model = fit(tmp_path / "lock.yaml", config(lock(), rounds=1)).model_path
    assert stress(tmp_path, model, "--methods", "sft", "--demonstrations", "2", "9") == 0
    content, manifest = verdict_of(tmp_path)
    assert [finding["title"] for finding in content["model"]["findings"]] == ["SFT on 2"]
    assert [row["status"] for row in manifest["runs"]] == ["finished", "finished", "failed"]
    assert "incomplete   SFT on 9, seed 0: failed" in capsys.readouterr().out


def test_an_unknown_method_is_one_line(tmp_path, capsys):
    model = fit(tmp_path / "lock.yaml", config(lock(), callbacks=[], rounds=1)).model_path
    assert stress(tmp_path, model, "--methods", "stf") == 1
    assert "--methods stf (did you mean 'sft'?)" in capsys.readouterr().err


@pytest.mark.slow
def test_time_that_is_over_stops_a_run_and_the_same_command_goes_on(tmp_path, capsys):
    model = fit(tmp_path / "lock.yaml", config(lock(), rounds=1)).model_path
    os.environ["PYTHONPATH"] = os.getcwd()
    assert stress(tmp_path, model, "--methods", "sft", "--minutes", "0.001") == 1
    assert "what the model shows was not measured: not begun: the time was over" in capsys.readouterr().err
    assert stress(tmp_path, model, "--methods", "sft", "--minutes", "5") == 0
    content, manifest = verdict_of(tmp_path)
    assert content["incomplete"] == [] and all(row["status"] == "finished" for row in manifest["runs"])
    log = tmp_path / "runs" / "studies" / manifest["study"] / "logs" / f"{manifest['runs'][1]['id']}.log"
    assert "round 4 of 4" in log.read_text()


def test_a_battery_is_a_study_that_plm_report_reads(tmp_path):
    planted = Planted(tmp_path / "runs")
    model = {"class_path": "plm.modules.SFTModule", "init_args": {"demonstrations": 16}}
    shown = planted.run("stress_shown_code", model={**model, "init_args": {}}, phase="elicit", method="sft")
    planted.measure(shown, 0.1)
    sft_16 = planted.run("stress_sft_16_code", model=model, phase="elicit", method="sft")
    for epoch, share in ((1, 0.4), (2, 0.6)):
        planted.measure(sft_16, share, epoch=epoch, demonstrations=16)
    rows = [
        Row(shown.id, ["validate"], "lock", 0, cell="as it is", lock=shown.id, status="finished"),
        Row(sft_16.id, ["fit"], "elicit", 0, cell="SFT on 16", lock=shown.id, k=16, status="finished"),
    ]
    folder = StudyFolder(planted.root / "studies" / "stress_test-lock-code")
    folder.write({"study": folder.path.name, "runs_folder": str(planted.root), "gate": {}}, rows)
    (folder.path / "study.yaml").write_text("stress_test: {task: code}\n")
    assert run(["report", str(folder.path)]) == 0
    page = (folder.path / "report" / "index.html").read_text()
    assert "stress_test-lock-code" in page and "no gate applies" in page
    (table,) = (folder.path / "report" / "tables").glob("elicitation_*.csv")
    (row,) = csv.DictReader(table.open())
    assert (row["method"], float(row["correct"]), float(row["rise"])) == ("SFT on 16", 0.6, pytest.approx(0.5))
