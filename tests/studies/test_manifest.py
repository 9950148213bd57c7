"""A study's manifest: what it says of runs whose lock fails its gate."""

from __future__ import annotations

from plm.studies.manifest import Row, StudyFolder, note_gates, read_manifest
from tests.studies.report_runs import Planted


def test_what_descends_from_a_lock_that_fails_its_gate_is_stamped(tmp_path):
    planted = Planted(tmp_path / "runs")
    good, bad = planted.lock(), planted.lock("lock_open", none=0.8)
    rows = [
        *(Row(lock.id, ["fit"], "lock", 0, lock=lock.id, status="finished") for lock in (good, bad)),
        *(Row(f"elicit/{lock.name}", ["fit"], "elicit", 0, lock=lock.id) for lock in (good, bad)),
        Row("lock_later/0", ["fit"], "lock", 0, lock="lock_later/0"),
        Row("base/0", ["fit"], "base", 0, status="finished"),
    ]
    note_gates(rows, planted.root, {})
    assert [row.stamp for row in rows] == ["", "unverified", "", "unverified", "", ""]
    StudyFolder(tmp_path / "study").write({}, rows)
    assert read_manifest(tmp_path / "study")[1] == rows
    note_gates(rows, planted.root, {"min_gap": 0.9})
    assert [row.stamp for row in rows] == ["unverified"] * 4 + ["", ""]
