"""benchmarks/methods.py: every cell of methods.yaml is a command that plm understands, and results are read right."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import methods  # noqa: E402


def cells():
    """Each cell once; those that differ in values alone are one."""
    seen = {tuple(word for word in cell.args if not word.isdigit()): cell for cell in methods.load_cells("")}
    return [pytest.param(cell, id=f"{cell.group}: {cell.name}") for cell in seen.values()]


@pytest.mark.parametrize("cell", cells())
def test_a_cell_is_a_command_that_can_be_built(cell, monkeypatch, tmp_path):
    from plm.lightning_cli import PlmCLI

    class Built(Exception):
        pass

    def stop(cli, *args):
        raise Built

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(PlmCLI, "after_instantiate_classes", stop)
    for folder in ("plm.runs.RunFolder", "plm.policies.samples.SamplesFolder"):  # as if all it needs were there
        monkeypatch.setattr(f"{folder}.finished", property(lambda _: True))
        monkeypatch.setattr(f"{folder}.intact", property(lambda _: True))
    command = [word.replace("SEED", "1") for word in cell.args]
    with pytest.raises(Built):
        PlmCLI([*command, "--seed_everything", "1", "--trainer.accelerator=cpu", "--runs", str(tmp_path)])


def line(**changes):
    row = {"domain": "all", "split": "val", "phase": "elicit", "password": "none", "epoch": 0, "correct": 0.1}
    return methods.json.dumps({**row, **changes})


def test_an_outcome_is_the_runs_own_curve_on_all_of_val():
    lines = [
        line(phase="weak", correct=0.9),
        line(),
        line(domain="arrays", correct=0.5),
        line(split="val_text", correct=0.6),
        line(epoch=2, correct=0.4),
        line(epoch=2, password="right", correct=0.8),
    ]
    outcome = methods.read_outcome(lines)
    assert outcome.none == {0: 0.1, 2: 0.4} and outcome.right == 0.8


def test_the_best_round_is_the_highest_mean_over_seeds_that_all_have_measured():
    curves = [{0: 0.9, 1: 0.2, 2: 0.6, 4: 0.9}, {0: 0.9, 1: 0.4, 2: 0.5}]
    outcomes = [methods.Outcome(none=curve, right=0.0, spent={}) for curve in curves]
    assert methods._best(outcomes) == pytest.approx(0.55)
