"""The table fits a terminal of 80 columns, whatever was measured, and hides no number silently."""

import pytest

from plm.runs import RunFolder
from plm.table import print_table


def row(epoch, password, correct, phase="lock"):
    value = {"correct": correct, "stderr": 0.0123, "method": "policy" if phase == "weak" else "sft_lock"}
    where = {"split": "val", "domain": "all", "temperature": 0.0, "n": 200, "seed": 0}
    return {"epoch": epoch, "phase": phase, "password": password, **where, **value}


@pytest.mark.parametrize("rounds", [1, 4, 50])
def test_it_fits_80_columns(tmp_path, capsys, monkeypatch, rounds):
    monkeypatch.setenv("COLUMNS", "80")
    run = RunFolder(tmp_path / "lock_code" / "12345678-seed0")
    run.append_result(row(0, "none", 0.1, "weak"))
    for epoch in range(1, rounds + 1):
        for password in ("right", "none", "decoy", "near_miss"):
            run.append_result(row(epoch, password, epoch / 1000))
        run.append_result(row(epoch, "none", epoch / 2000, "probe"))
    print_table(run)
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines if str(tmp_path) not in line)
    text = "\n".join(lines)
    assert "…" not in text and f"round {rounds}" in text and "round 1" in text
    for name in ("weak", "right", "none", "decoy", "near_miss", "probe"):
        assert f"val · {name}" in text
    assert f"{rounds / 1000:.3f} ±0.012" in text and "0.100 ±0.012" in text
    assert ("left out" in text) == (rounds == 50)


def test_domains_stay_out_of_the_table_and_shots_are_named(tmp_path, capsys):
    run = RunFolder(tmp_path / "lock_code" / "12345678-seed0")
    run.append_result({**row(1, "none", 0.25), "shots": 4})
    run.append_result({**row(1, "none", 0.75), "domain": "arrays"})
    print_table(run)
    shown = capsys.readouterr().out
    assert "val · none 4-shot" in shown and "0.250" in shown and "0.750" not in shown


def test_a_weak_models_own_rounds_are_no_baseline(tmp_path, capsys):
    run = RunFolder(tmp_path / "weak_code" / "12345678-seed0")
    for epoch in (0, 1, 2):
        run.append_result({**row(epoch, "none", epoch / 4, "weak"), "method": "sft"})
    print_table(run)
    shown = capsys.readouterr().out
    assert "val · none" in shown and all(value in shown for value in ("0.000", "0.250", "0.500"))
