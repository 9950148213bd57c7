"""Reading runs for a report: what is found, what is left out, and what the reader is told."""

from __future__ import annotations

import csv
import json
import shutil

import pytest

from plm.errors import PlmError
from plm.runs import RunFolder
from plm.studies.report.collect import collect
from plm.studies.report.view import View
from plm.studies.report.writing import write_report
from tests.studies.report_runs import Planted


@pytest.fixture
def planted(tmp_path):
    return Planted(tmp_path / "runs")


def ids(collection):
    return sorted(collection.runs)


def test_runs_are_found_from_any_level_and_once(planted):
    lock = planted.lock()
    sft = planted.elicit(lock, {0: 0.1, 1: 0.5})
    for paths in (
        [planted.root],
        [lock.path, sft.path],
        [planted.root / "lock_code", planted.root],
        [planted.root.parent],
    ):
        assert ids(collect(paths)) == [sft.id, lock.id]
    assert ids(collect([sft.path])) == [sft.id]


def test_no_runs_is_one_clear_line(tmp_path, planted):
    with pytest.raises(PlmError, match="nowhere: no such folder"):
        collect([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(PlmError, match="empty holds no runs; a run is a folder NAME/HASH-seedN"):
        collect([tmp_path / "empty"])
    run = planted.run("base", model={"class_path": "plm.modules.SFTModule"}, phase="base", method="sft")
    with pytest.raises(PlmError, match="has measured anything yet"):
        collect([run.path])


def test_an_unreadable_folder_is_one_clear_line(planted, monkeypatch):
    planted.lock()
    locked = planted.root / "lock_code"

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)  # as root, every folder can be read
    with pytest.raises(PlmError, match=r"cannot read .*lock_code: Permission denied"):
        collect([locked])


def test_a_torn_last_line_is_not_counted_and_told(planted):
    lock = planted.lock()
    with lock.results_path.open("a") as stream:
        stream.write('{"run": "torn", "corr')
    collection = collect([planted.root])
    assert len(collection.runs[lock.id].rows) == 4
    assert collection.notices == [f"{lock.id}: the last line of results.jsonl is torn; it is not counted"]


def test_a_broken_run_is_left_out_and_named(planted):
    good, bad = planted.lock(), planted.lock("lock_other")
    lines = bad.results_path.read_text().splitlines()
    bad.results_path.write_text("\n".join(["{not json", *lines]) + "\n")
    collection = collect([planted.root])
    assert ids(collection) == [good.id]
    assert "lock_other" in collection.notices[0] and "line 1: not a JSON object" in collection.notices[0]


def test_lines_that_are_no_evaluations_are_counted_out(planted):
    lock = planted.lock()
    good = lock.read_results()[0]
    for row in ({"hello": 1}, {**good, "correct": float("nan")}, {**good, "correct": 7}, {**good, "n": "many"}):
        with lock.results_path.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
    collection = collect([planted.root])
    assert len(collection.runs[lock.id].rows) == 4
    assert collection.notices == [f"{lock.id}: 4 lines of results.jsonl are no evaluations"]


def test_a_broken_config_or_description_is_named(planted):
    planted.lock()
    for name, file in (("lock_a", "config.yaml"), ("lock_b", "model/plm.json"), ("lock_c", "manifest.json")):
        (planted.lock(name).path / file).write_text("{")
    collection = collect([planted.root])
    assert {run.name for run in collection.runs.values()} == {"lock_code"}
    assert [notice.split("/")[0] for notice in collection.notices] == ["lock_a", "lock_b", "lock_c"]


def test_unfinished_runs_are_shown_and_told(planted):
    lock = planted.lock()
    lock.update_manifest(status="fitting")
    collection = collect([planted.root])
    assert collection.notices == [f"{lock.id}: not finished (fitting); shown as far as it came"]


def test_lineage_comes_from_the_description_the_parents_or_the_study(planted):
    lock = planted.lock()
    sft = planted.elicit(lock, {1: 0.5})
    again = planted.elicit(sft, {1: 0.6}, "elicit_again")
    (again.model_path / "plm.json").unlink()  # as `plm validate` leaves none
    collection = collect([planted.root])
    assert [collection.lock_of(collection.runs[run.id]) for run in (lock, sft, again)] == [lock.id] * 3
    alone = collect([sft.path])
    assert alone.lock_of(alone.runs[sft.id]) == lock.id
    assert View(alone).collection.notices == [
        "lock_code: this lock is not among the runs, so that there is no ceiling and no gate"
    ]


def study(planted, lock, sft, failed="elicit_sft_code/00000000-seed1"):
    """A study's folder, as docs/studies.md describes it."""
    folder = planted.root / "studies" / "mini"
    folder.mkdir(parents=True)
    (folder / "study.yaml").write_text("seeds: [0]\n")
    common = {"seed": 0, "task": "code", "figures": [], "attempts": 1, "control_of": None, "error": None}
    common |= {"lock": lock.id, "status": "finished"}
    tuned = {"cell": "SFT on 16", "role": "elicit", "figures": ["3"], "labels": {"method": "tuning"}}
    lost = {"cell": "SFT on 99", "role": "elicit", "figures": ["3"], "status": "failed", "error": "out of memory"}
    rows = [
        {"id": lock.id, "folder": lock.id, **common, "cell": None, "model": "locked well", "role": "lock"},
        {"id": sft.id, "folder": sft.id, **common, **tuned},
        {"id": failed, "folder": failed, **common, **lost, "seed": 1},
    ]
    (folder / "manifest.json").write_text(
        json.dumps({"study": "mini", "runs_folder": "runs", "gate": {"min_gap": 0.95}, "runs": rows})
    )
    return folder


def test_a_study_gives_roles_labels_thresholds_and_what_failed(planted):
    lock = planted.lock()
    sft = planted.elicit(lock, {0: 0.1, 1: 0.5})
    planted.lock("lock_elsewhere")  # in the same runs folder, but no part of the study
    view = View(collect([study(planted, lock, sft)]))
    assert view.collection.title == "mini" and ids(view.collection) == [sft.id, lock.id]
    assert [arm.name for arm in view.arms] == ["SFT on 16", "lock_code"]
    (only,) = view.locks
    assert only.name == "locked well"  # as the study calls it
    assert only.verdict == "failed" and only.stamp == "unverified"  # a gap of 0.8 is below the study's 0.95
    assert [each["status"] for each in view.collection.planned] == ["finished", "finished", "failed"]


def test_a_torn_study_is_one_clear_line(planted):
    lock = planted.lock()
    folder = study(planted, lock, planted.elicit(lock, {1: 0.5}))
    (folder / "manifest.json").write_text('{"study": "mini", "runs"')
    with pytest.raises(PlmError, match=r"mini/manifest.json: it cannot be read"):
        collect([folder])
    (folder / "manifest.json").write_text('{"study": "mini"}')
    with pytest.raises(PlmError, match="no list of runs in it"):
        collect([folder])


def test_of_two_runs_of_one_seed_the_one_with_descendants_stays(planted):
    old = planted.lock()
    new = planted.lock(digest="0b0b0b0b")
    planted.elicit(old, {1: 0.5})
    view = View(collect([planted.root]))
    (lock,) = (arm for arm in view.arms if arm.role == "lock")
    assert [run.id for run in lock.runs] == [RunFolder(old.path).id]
    assert view.collection.notices == [
        f"{new.id}: left out, {old.id} has the same configuration and seed (made by other code)"
    ]


def test_a_figure_shows_the_cells_that_a_study_names_for_it(planted):
    lock = planted.lock()
    sft = planted.elicit(lock, {0: 0.1, 1: 0.5})
    folder = study(planted, lock, sft)
    other = planted.elicit(lock, {0: 0.1, 1: 0.9}, k=256)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["runs"].append(
        {**manifest["runs"][1], "id": other.id, "folder": other.id, "cell": "SFT on 256", "figures": ["8"]}
    )
    (folder / "manifest.json").write_text(json.dumps(manifest))
    view = View(collect([folder]))
    assert [arm.name for arm in view.part("3").locks[0].elicitations] == ["SFT on 16"]
    assert [arm.name for arm in view.part("8").locks[0].elicitations] == ["SFT on 256"]
    assert view.part("17") is view and len(view.locks[0].elicitations) == 2
    written = write_report([folder], folder / "report")
    page = (folder / "report" / "index.html").read_text()
    assert written.title == "mini" and "cell SFT on 99, seed 1: out of memory" in page
    with (folder / "report" / "tables" / "provenance.csv").open() as stream:
        lost = [row for row in csv.DictReader(stream) if row["status"] == "failed"]
    assert [(row["run"], row["error"]) for row in lost] == [("elicit_sft_code/00000000-seed1", "out of memory")]


def test_copies_of_runs_are_counted_not_listed(planted, tmp_path):
    planted.lock()
    planted.lock("lock_other")
    shutil.copytree(planted.root, tmp_path / "copy")
    collection = collect([planted.root, tmp_path / "copy", planted.root])
    assert len(collection.runs) == 2
    assert collection.notices == [
        f"{tmp_path / 'copy'}: 2 of its runs were read elsewhere already, and are left out here"
    ]
