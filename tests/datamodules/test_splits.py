import dataclasses
import re

import pytest

from plm.datamodules import ProceduralCode
from plm.datamodules.splits import PAPER_SHARES, check_disjoint, normalized_program, split_by_group
from plm.errors import PlmError
from plm.records import IOTest, Problem, Rendering
from tests.runs import config, lock, plm, write
from tests.tiny import TinyTask

TESTS = (IOTest("", "1"),)
PROGRAM = 'int main() { puts("a // b"); }'


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


def test_repeated_problems_stay_together_and_the_others_where_they_were():
    """Chains too: the first two have one text, the second and the third one program."""
    alone = [Problem(f"p{i}", f"text {i}", "d", f"int x{i};", TESTS) for i in range(200)]
    again = [Problem(f"q{i}", f"TEXT  {i}", "d", f"int y{i};", TESTS) for i in range(200)]
    last = [Problem(f"r{i}", f"other {i}", "d", f"int  y{i}; // why", TESTS) for i in range(200)]
    before, after = split_by_group(alone, seed=0), split_by_group([*alone, *again, *last], seed=0)
    place = {problem.id: name for name, split in after.items() for problem in split}
    assert all(place[f"p{i}"] == place[f"q{i}"] == place[f"r{i}"] for i in range(200))
    assert all(place[problem.id] == name for name, split in before.items() for problem in split)
    check_disjoint(after)


A = Problem("a", "Same  TEXT", "d", PROGRAM, TESTS, group="1")
B = Problem("b", "other text", "d", "int main() {}", TESTS, group="2")


@pytest.mark.parametrize(
    ("change", "shared"),
    [
        ({"id": "a"}, "problems a and a have the same id ('a')"),
        ({"prompt": "same text "}, "problems a and b have the same text ('same text')"),
        ({"group": "1"}, "problems a and b have the same group ('1')"),
        ({"reference": f"// comment\n{PROGRAM} /* more\n */"}, "problems a and b have the same program ("),
        ({"reference": PROGRAM, "tests": ()}, "problems a and b have the same program ("),
        ({"renderings": {"es": Rendering("same text", "r")}}, "problems a and b have the same text ("),
    ],
)
def test_overlap_is_refused_by_the_names_of_both(change, shared):
    with pytest.raises(PlmError, match=re.escape(f"splits lock and val overlap: {shared}")) as caught:
        check_disjoint({"lock": [A], "val": [dataclasses.replace(B, **change)]})
    assert "\n" not in str(caught.value)
    check_disjoint({"lock": [A, dataclasses.replace(B, **change)], "val": []})


def test_short_answers_are_no_programs():
    check_disjoint({"lock": [Problem("a", "2 + 2?", "d", "4")], "val": [Problem("b", "1 + 3?", "d", "4")]})


def test_what_is_in_a_string_belongs_to_the_program():
    assert normalized_program('f("a // b");  // c') == 'f("a // b");'
    assert normalized_program('f("a // b");') != normalized_program('f("a // c");')
    assert normalized_program("int/* no */x; // 1\nint y;") == "int x; int y;"


def test_val_text_may_know_programs_but_no_text():
    known = dataclasses.replace(B, reference=PROGRAM, group="1")
    check_disjoint({"corpus": [A], "val_text": [known]})
    with pytest.raises(PlmError, match="same text"):
        check_disjoint({"corpus": [A], "val_text": [dataclasses.replace(known, prompt=A.prompt)]})


class LeakyTask(TinyTask):
    """A problem of `lock` is in `val` too, under another name."""

    def load_splits(self):
        splits = super().load_splits()
        splits["val"][0] = dataclasses.replace(splits["val"][0], prompt=splits["lock"][3].prompt.upper())
        return splits


def test_a_run_with_an_overlap_does_not_start(tmp_path, capsys):
    content = config(lock(), callbacks=[], rounds=1)
    content["data"]["class_path"] = "tests.datamodules.test_splits.LeakyTask"
    assert plm("fit", write(tmp_path / "run.yaml", content)) == 1
    assert "splits lock and val overlap: problems l3 and v0 have the same text ('l3')" in capsys.readouterr().err
    assert not list((tmp_path / "runs" / "run").glob("[!.]*-seed*"))


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
