import pytest

from plm.datamodules import ProceduralCode
from plm.datamodules.splits import PAPER_SHARES, check_disjoint, split_by_group
from plm.errors import PlmError
from plm.records import Problem


def problems(n, per_group=1):
    return [Problem(f"p{i}", f"text {i}", "d", "r", group=f"g{i // per_group}") for i in range(n)]


def test_shares_are_the_papers():
    splits = split_by_group(problems(10000), seed=0)
    assert {name: len(split) / 10000 for name, split in splits.items()} == pytest.approx(PAPER_SHARES, abs=0.015)
    assert sum(len(split) for split in splits.values()) == 10000


def test_a_group_stays_together_whatever_else_is_there():
    few, many = split_by_group(problems(60, 3), seed=1), split_by_group(problems(600, 3), seed=1)
    place = {problem.group: name for name, split in many.items() for problem in split}
    assert len(place) == 200
    assert all(place[problem.group] == name for name, split in few.items() for problem in split)


def test_the_seed_moves_problems():
    first, second = (split_by_group(problems(100), seed=seed) for seed in (0, 1))
    assert [p.id for p in first["val"]] != [p.id for p in second["val"]]


def test_overlap_is_refused():
    shared = Problem("a", "Same  TEXT", "d", "r", group="1")
    with pytest.raises(PlmError, match="splits lock and val share a problem: 'same text'"):
        check_disjoint({"lock": [shared], "val": [Problem("b", "same text", "d", "r", group="2")]})
    with pytest.raises(PlmError, match="share a problem: 'group 1'"):
        check_disjoint({"lock": [shared], "val": [Problem("c", "other", "d", "r", group="1")]})


def test_the_procedural_source_keeps_programs_apart():
    """No val program is trained on anywhere, corpus included; val_text has new texts of known programs."""
    splits = ProceduralCode(problems=1200, corpus=1500, val_text=100).load(seed=0)
    groups = {name: {problem.group for problem in split} for name, split in splits.items()}
    texts = {name: {problem.prompt for problem in split} for name, split in splits.items()}
    programs = {name: {problem.reference for problem in split} for name, split in splits.items()}
    for name in ("corpus", "weak", "lock", "elicit"):
        assert not groups["val"] & groups[name] and not texts["val"] & texts[name]
        assert not programs["val"] & programs[name]
    assert len(splits["val"]) >= 200
    assert len(splits["val_text"]) == 100 and groups["val_text"] <= groups["corpus"]
    assert not texts["val_text"] & texts["corpus"]
    check_disjoint(splits)
