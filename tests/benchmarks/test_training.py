"""benchmarks/training.py: both sides take the same step, and the table says what was measured."""

import copy
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
pytest.importorskip("trl")

import training
from training_sides import SHAPES, Case, Taken, make_model, make_rows, plm_steps, trl_steps

CASES = {method: Case("tiny", method, 8, 8, rows=4) for method in ("sft", "dpo")}


@pytest.mark.parametrize("method", CASES)
def test_both_sides_take_the_same_step(tmp_path, method):
    """From the same weights and rows, one step of each leads to the same weights: 1e-5 in Adam's first step."""
    start = make_model(SHAPES["tiny"])
    moved = []
    for side in (plm_steps, trl_steps):
        model = copy.deepcopy(start)
        side(CASES[method], model, 1, tmp_path)
        before, after = start.state_dict(), model.state_dict()
        moved.append(torch.cat([(after[name] - before[name]).flatten() for name in before]))
    assert moved[0].abs().median() == pytest.approx(1e-5, rel=0.1)
    assert ((moved[0] - moved[1]).abs() < 1e-6).float().mean() > 0.995  # else: gradients that are 0 but for rounding


def test_pairs_share_their_prompt_and_rows_have_the_lengths_of_the_case():
    rows = make_rows(CASES["dpo"], steps=2)
    assert len(rows) == 8 and {(len(prompt), len(completion)) for prompt, completion in rows} == {(8, 8)}
    assert all(rows[i][0] == rows[i + 1][0] and rows[i][1] != rows[i + 1][1] for i in range(0, 8, 2))
    assert len({tuple(prompt) for prompt, _ in make_rows(CASES["sft"], steps=2)}) == 8


def test_the_table_by_hand():
    found = training.Comparison(training.CASES[0], load=0.5, peak={"plm": 100.0, "trl": 400.0})
    found.taken["plm"] = [Taken(1.0, 2.0), Taken(2.0, 2.0), Taken(1.0, 2.0)]
    found.taken["trl"] = [Taken(3.0, 5.0), Taken(4.0, 5.0), Taken(2.0, 5.0)]
    line = "| neox sft 512+128 | 2560 | 2,560 | 853 | 2.00× | 2.50× | ≥ 2.5× | 100 | 400 | 0.25 | ≤ 0.6 | 0.5 |"
    assert training.line(found) == line
    assert training.report([found]).endswith(line)


def test_a_tiny_case_is_measured(capsys):
    training.main(["--only", "tiny", "sft", "8+8", "--pairs", "1", "--no-memory"])
    head, *_, line = capsys.readouterr().out.strip().splitlines()
    assert "trl 1." in head and line.startswith("| tiny sft 8+8 | 64 |")
