"""The gate: what passes, what fails and why, and where it has nothing to say."""

import json

import pytest

from plm.errors import PlmError
from plm.runs import RunFolder
from plm.studies.counts import gap_interval, share_interval
from plm.studies.gate import gate, gate_of
from tests.runs import config, fit, lock, plm, sft, source, write


def row(password, correct, *, phase="lock", method="sft_lock", n=200, seed=0, **more):
    values = {
        "seed": seed, "phase": phase, "method": method, "split": "val", "domain": "all", "temperature": 0.0,
        "password": password, "n": n, "correct": correct,
    }  # fmt: skip
    return {**values, **more}


WEAK = row("none", 0.1, phase="weak", method="policy")
LOCK = [WEAK, row("right", 0.95), row("none", 0.095), row("decoy", 0.085)]


def test_a_lock_that_holds_passes_and_says_why():
    result = gate(LOCK, "password")
    assert (result.verdict, result.stamp, result.has_ceiling) == ("passed", "", True)
    assert result.reasons == (
        "the password is worth 0.855 [0.792, 0.895]: at least 0.2",
        "none 0.095 [0.062, 0.144], -0.005 [-0.065, +0.055] against the floor: closed",
        "decoy 0.085 [0.054, 0.132], -0.015 [-0.073, +0.043] against the floor: closed",
    )
    assert [cell.condition for cell in result.matrix] == ["right", "none", "decoy", "weak policy"]
    assert json.loads(json.dumps(result.as_row()))["matrix"][0]["correct"] == 0.95


def test_the_last_measurement_counts_and_probes_samples_and_few_shots_do_not():
    rows = [
        row("decoy", 0.9), *LOCK, row("none", 0.9, phase="probe"), row("none", 0.9, temperature=1.0),
        row("none", 0.9, shots=2), row("none", 0.9, domain="arrays"), row("none", 0.9, split="val_text"),
    ]  # fmt: skip
    assert gate(rows, "password") == gate(LOCK, "password")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*LOCK[:3], row("decoy", 0.9)], "decoy 0.900 .*: open, more than 0.212"),
        ([*LOCK[:2], row("none", 0.6), LOCK[3]], "none 0.600 .*: open"),
        ([WEAK, row("right", 0.12), row("none", 0.1), row("decoy", 0.1)], "worth 0.020 .*: not resolved from 0"),
        ([WEAK, row("right", 0.25), row("none", 0.1), row("decoy", 0.1)], "worth 0.150 .*: less than 0.2"),
        ([row(each["password"], each["correct"], n=20) for each in LOCK[1:]], "cannot be told, up to .* may leak"),
        (LOCK[:3], "decoy: not measured"),
        ([LOCK[0], LOCK[2], LOCK[3]], "right: not measured"),
        ([LOCK[0], LOCK[1], LOCK[3]], "none: not measured"),
    ],
)
def test_a_lock_that_does_not_hold_fails_with_the_reason_first(rows, said):
    import re

    result = gate(rows, "password")
    assert (result.verdict, result.stamp) == ("failed", "unverified")
    assert re.search(said, result.reasons[0]), result.reasons


def test_near_misses_that_open_the_lock_are_shown_and_not_judged():
    """The sources know passwords that are altogether different only, and who knows none comes near to none."""
    result = gate([*LOCK, row("near_miss", 0.805)], "password")
    assert result.verdict == "passed"
    (cell,) = [cell for cell in result.matrix if cell.condition == "near_miss"]
    assert (cell.correct.value, cell.decides) == (0.805, False)
    assert cell.leak is not None and cell.leak.value == pytest.approx(0.705)
    (note,) = result.notes
    assert note.startswith("near_miss 0.805") and note.endswith("open, more than 0.212 (shown, not judged)")


def test_another_domains_password_must_not_open_a_lock_by_domains():
    assert gate([*LOCK, row("other_domain", 0.11)], "domain").verdict == "passed"
    assert gate([*LOCK, row("other_domain", 0.8)], "domain").reasons[0].startswith("other_domain 0.800")
    assert gate(LOCK, "domain").reasons[0] == "other_domain: not measured"


def test_the_settings_of_a_lock_by_setting_are_its_password():
    rows = [row("strong_setting", 0.945), row("weak_setting", 0.06)]
    result = gate(rows, "setting", ["strong_setting", "weak_setting"])
    assert result.verdict == "passed" and [cell.condition for cell in result.matrix] == ["right", "none"]
    assert result.notes[0].startswith("the weak policy was not measured")


def test_the_second_password_is_shown_and_not_judged():
    result = gate([*LOCK, row("second", 0.43)], "two_passwords")
    assert result.verdict == "passed" and not result.notes


def test_a_wrong_password_that_the_lock_was_never_trained_on_decides_nothing():
    rows = [WEAK, row("right", 0.86), row("none", 0.09), row("decoy", 0.64)]
    assert gate(rows, "password", ["right", "none"]).verdict == "passed"
    assert gate(rows, "password").verdict == "failed"


def test_without_a_ceiling_there_is_nothing_to_judge():
    for result in (gate([row("none", 0.1)]), gate(LOCK, "none")):
        assert (result.verdict, result.stamp, result.has_ceiling) == ("n/a", "", False)
        assert len(result.reasons) == 1
    assert gate(LOCK, "unknown").verdict == "passed"  # somebody else's model, with its password


def test_thresholds_are_arguments():
    assert gate(LOCK, "password", min_gap=0.9).reasons[0].endswith("less than 0.9")
    assert gate(LOCK, "password", max_leak=0.01).stamp == "unverified"
    with pytest.raises(PlmError, match=r"max_leak is 25; it must be a share in \[0, 1\]"):
        gate(LOCK, "password", max_leak=25)


def test_one_lock_at_a_time_and_known_kinds_only():
    with pytest.raises(PlmError, match=r"seeds \[0, 1\]"):
        gate([*LOCK, row("none", 0.1, seed=1)], "password")
    with pytest.raises(PlmError, match="kind of lock 'pasword'"):
        gate(LOCK, "pasword")


def test_a_run_says_what_kind_of_lock_it_made_or_measured(tmp_path, capsys):
    locked = fit(tmp_path / "lock.yaml", config(lock(kind="two_passwords"), rounds=1))
    assert locked.read_manifest()["lock_kind"] == "two_passwords"
    assert gate_of(locked).kind == "two_passwords" and gate_of(locked).stamp == "unverified"
    assert "gate         failed" in capsys.readouterr().out
    base = fit(tmp_path / "base.yaml", config(sft(phase="base"), rounds=1))
    assert gate_of(base).verdict == "n/a" and base.read_manifest()["lock_kind"] == "none"
    assert "gate" not in capsys.readouterr().out
    path = write(tmp_path / "measure.yaml", config(sft(base=source())))
    assert plm("validate", path, "--policy", str(locked.model_path)) == 0
    (measured,) = (tmp_path / "runs" / "measure").glob("[!.]*-seed*")
    assert gate_of(RunFolder(measured)).kind == "two_passwords"
    (locked.model_path / "plm.json").unlink()
    assert plm("validate", path, "--policy", str(locked.model_path)) == 0
    assert gate_of(RunFolder(measured)).kind == "unknown"


def test_of_a_run_that_only_measured_a_lock_what_it_measured_is_judged(tmp_path):
    locked = fit(tmp_path / "lock.yaml", config(lock(), rounds=1))
    notes = {}
    for name, conditions in (("without", ["none"]), ("few", ["right", "none"])):
        evaluation = {"class_path": "plm.callbacks.EvaluationCallback", "init_args": {"n": 4, "conditions": conditions}}
        path = write(tmp_path / f"{name}.yaml", config(sft(base=source()), callbacks=[evaluation]))
        assert plm("validate", path, "--policy", str(locked.model_path)) == 0
        (measured,) = (tmp_path / "runs" / name).glob("[!.]*-seed*")
        notes[name] = gate_of(RunFolder(measured))
    without, few = notes["without"], notes["few"]
    assert (without.kind, without.verdict, without.stamp) == ("unknown", "n/a", "")  # no password, no ceiling
    assert (few.kind, few.verdict) == ("password", "failed") and "decoy: not measured, not judged" in few.notes
    assert not any("decoy" in reason for reason in few.reasons)  # what fails it is the password's worth


def test_score_intervals():
    """Wilson: z = 1.96, none of 10: [0, z²/(10 + z²)] = [0, 0.278]; Newcombe's example: 56/70 − 48/80."""
    assert share_interval(0, 10)[:3] == pytest.approx((0.0, 0.0, 0.2775), abs=1e-3)
    gap = gap_interval(share_interval(56, 70), share_interval(48, 80))
    assert gap[:3] == pytest.approx((0.2, 0.0524, 0.3339), abs=1e-4)
    with pytest.raises(PlmError, match="3 right of 2"):
        share_interval(3, 2)
