"""benchmarks/methods.py: what the table says of planted runs; that the study behind it is one."""

import json
import sys
from pathlib import Path

import pytest

from plm.studies.grid import expand
from plm.studies.study import read_study
from tests.studies.report_runs import Planted

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))

import methods  # noqa: E402


def test_every_cell_has_a_group_and_rows_of_the_specification():
    wanted = [each for each in expand(read_study(methods.STUDY)) if each.cell]
    assert {each.seed for each in wanted} == {0, 1, 2}
    assert all(each.labels["group"] and each.labels["row"] for each in wanted)


@pytest.fixture
def study(tmp_path):
    """Two seeds of a lock and of SFT on it, in which seed 1 of another method has failed."""
    planted, rows = Planted(tmp_path / "runs"), []
    for seed in (0, 1):
        lock = planted.lock(seed=seed, right=0.9, none=0.1)
        sft = planted.elicit(lock, {0: 0.1, 1: 0.6 + 0.2 * seed, 2: 0.5}, k=16)
        planted.measure(sft, 0.7, "right", epoch=2)
        common = {"task": "code", "figures": [], "attempts": 1, "control_of": None, "error": None, "seed": seed}
        common |= {"lock": lock.id, "status": "finished"}
        labels = {"group": "Demonstrations", "row": "ELI-1"}
        rows.append({"id": lock.id, "folder": lock.id, **common, "cell": None, "role": "lock"})
        rows.append({"id": sft.id, "folder": sft.id, **common, "cell": "SFT on 16", "role": "elicit", "labels": labels})
    lost = {"id": "elicit_dpo_code/0-seed1", "folder": "elicit_dpo_code/0-seed1", "role": "elicit", "cell": "DPO"}
    rows.append({**lost, "seed": 1, "status": "failed", "error": "out of memory", "figures": [], "labels": labels})
    folder = tmp_path / "runs" / "studies" / "methods"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text("seeds: [0, 1]\n")
    (folder / "manifest.json").write_text(json.dumps({"study": "methods", "runs_folder": "runs", "runs": rows}))
    return folder


def test_the_table_has_means_over_seeds_the_best_round_and_what_was_recovered(study):
    lines = methods.tables(study).splitlines()
    (lock,) = [line for line in lines if line.startswith("| lock_code |")]
    assert lock.startswith("| lock_code | 2 | 0.900 ± 0.000 | 0.100 ± 0.000 | 0.100 ± 0.000 | – |")
    (sft,) = [line for line in lines if line.startswith("| SFT on 16 |")]
    cells = [cell.strip() for cell in sft.strip("|").split("|")]
    assert cells[:7] == ["SFT on 16", "ELI-1", "2", "0.100 ± 0.000", "0.500 ± 0.000", "0.700 ± 0.100", "0.700 ± 0.000"]
    assert cells[7].startswith("0.50 [") and cells[8] == "16"


def test_a_run_that_failed_is_said(study):
    assert methods.tables(study).splitlines()[-1] == "DPO, seed 1: failed: out of memory"
