"""The studies in configs/studies: what they ask for can be built, and the paper's figures are all there."""

from pathlib import Path

import pytest

from plm.studies.grid import expand
from plm.studies.study import read_study

ROOT = Path(__file__).parent.parent.parent
STUDIES = sorted((ROOT / "configs" / "studies").glob("*.yaml"))
FIGURES = {"1", *map(str, range(3, 18)), "post"}


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_a_shipped_study_expands(path):
    study = read_study(path)
    runs = expand(study)
    assert len({(run.cell, run.seed) for run in runs}) == len(runs) > 0
    words = {
        word for run in runs for word, before in zip(run.words[1:], run.words, strict=False) if before == "--config"
    }
    assert all((ROOT / word).is_file() for word in words)
    header = study.text.splitlines()
    assert header[0].startswith("# ") and header[1].startswith("# Expected: ")


@pytest.mark.parametrize("name", ["paper", "paper_mini"])
def test_a_study_of_the_paper_has_a_benign_control_arm(name):
    """A model that never had the capability, through few demonstrations, graded answers and weak unlocking."""
    runs = expand(read_study(ROOT / "configs" / "studies" / f"{name}.yaml"))
    controls = [run for run in runs if run.role == "control"]
    assert {number for run in controls for number in run.figures} >= {"3", "5", "controls"}
    assert {run.seed for run in controls} == {0, 1, 2}
    assert all("--model.init_args.phase=control" in run.words for run in controls)


def test_the_miniature_has_cells_of_every_figure():
    study = read_study(ROOT / "configs" / "studies" / "paper_mini.yaml")
    assert study.figures.keys() >= FIGURES and study.seeds == (0, 1, 2)
    full = read_study(ROOT / "configs" / "studies" / "paper.yaml")
    assert full.figures.keys() >= FIGURES


def test_the_quick_part_of_the_miniature_is_planned(tmp_path, monkeypatch):
    from plm.studies.planner import plan

    monkeypatch.chdir(ROOT)
    study = read_study(ROOT / "configs" / "studies" / "paper_mini.yaml")
    rows, files = plan(
        [run.as_dict() for run in expand(study, quick=True)], tmp_path, tmp_path / "studies" / "s", lambda _: None
    )
    by_id = {row.id: row for row in rows}
    assert {row.role for row in rows} >= {"base", "lock", "elicit", "control"} and "configs/base_code.yaml" in files
    for row in rows:
        assert all(rows.index(by_id[name]) < rows.index(row) for name in row.needs)
        assert row.role != "elicit" or by_id[row.lock].lock_kind in ("password", "domain", "two_passwords")
        assert row.role != "control" or row.lock is None or by_id[row.lock].lock_kind == "none"
    assert len([row for row in rows if row.name == "lock_code"]) == 1
