"""Bugs by hand, every one fails a test in two independent ways, and the task through its splits."""

import json
from collections import Counter
from random import Random

import pytest

from plm.datamodules import CritiqueDataModule, CritiqueFiles, ProceduralCritiques
from plm.datamodules.mini_code import Spec, Step, draw_specs, group_of, program, render, solve
from plm.datamodules.mini_critique import build_critique, draw_bug, make_pairs, possible_bugs, weak_critique
from plm.datamodules.mini_critique.build import bug_of
from plm.errors import PlmError
from plm.graders.critique import CritiqueGrader
from plm.records import IOTest, Problem

SUM_ABOVE = Spec("list_sum", Step("greater", 17), (), (Step("times", 3),))
SPECS = draw_specs(300, 11)


def explained(spec, seed=0):
    return {bug.explanation: bug for bug in possible_bugs(spec, Random(seed))}


def test_what_can_be_wrong_with_one_program():
    bugs = {text: bug for seed in range(30) for text, bug in explained(SUM_ABOVE, seed).items()}
    lost = bugs["It forgets to keep only those that are greater than 17."]
    assert lost.spec == Spec("list_sum", None, (), (Step("times", 3),)) and lost.place == "condition"
    assert bugs["It forgets to multiply the answer by 3."].spec == Spec("list_sum", Step("greater", 17))
    other = bugs["It should keep only those that are greater than 17, not keep only those that are at least 17."]
    assert other.spec.keep == Step("least", 17) and "if (x < 17) continue;" in other.program
    count = bugs["It should find the sum, not count them."]
    assert count.place == "question" and count.spec.family == "list_count"
    added = [bug for bug in bugs.values() if bug.place == "change"]
    assert added and all(bug.explanation.startswith("It should not ") and bug.spec.changes for bug in added)


def test_every_bug_changes_one_thing_of_the_program_and_never_the_rest():
    for spec in SPECS:
        for bug in possible_bugs(spec, Random(1)):
            parts = [
                bug.spec.family != spec.family,
                bug.spec.keep != spec.keep,
                bug.spec.changes != spec.changes,
                bug.spec.finish != spec.finish,
            ]
            assert sum(parts) == 1
            assert parts[{"question": 0, "condition": 1, "change": 2, "finish": 3}[bug.place]]


def test_a_bug_that_no_test_shows_is_not_drawn():
    """On an empty list sums and their multiples are all 0: only what changes 0 shows."""
    empty = (IOTest("0\n\n", "0\n"),)
    for seed in range(20):
        bug = draw_bug(SUM_ABOVE, empty, Random(seed))
        assert bug is not None and solve(bug.spec, "0\n\n") != "0\n"
    assert draw_bug(Spec("list_list"), (IOTest("0\n\n", ""),), Random(0)) is None


def test_every_bug_fails_a_test_and_all_places_occur():
    places = Counter()
    for spec in SPECS:
        bug, problem = bug_of(spec), render(spec)
        assert any(solve(bug.spec, test.input) != test.output for test in problem.tests)
        assert bug.program != program(spec) == problem.reference
        places[bug.place] += 1
    assert set(places) == {"condition", "change", "finish", "question"} and min(places.values()) > 30


def test_the_cpp_grader_agrees():
    """The compiled program fails where the Python solver says so, and the correct one passes."""
    from plm.graders.code import CodeGrader

    problems = [render(spec) for spec in SPECS[:24]]
    buggy = [bug_of(spec).program for spec in SPECS[:24]]
    grades = CodeGrader().grade([*problems, *problems], [*buggy, *(problem.reference for problem in problems)])
    assert not any(grade.correct for grade in grades[:24]) and all(grade.correct for grade in grades[24:])
    assert all(grade.reason in ("wrong", "timeout", "crash") for grade in grades[:24])


def test_a_problem():
    problem = build_critique(SUM_ABOVE)
    statement, _, code = problem.prompt.partition("\n\n")
    assert (
        "17" in statement and code == bug_of(SUM_ABOVE).program and problem.reference == bug_of(SUM_ABOVE).explanation
    )
    assert (problem.group, problem.domain, problem.tests) == (group_of(SUM_ABOVE), "arrays", ())
    assert problem.answers["weak"] == ("It should not read the integers.",) == (weak_critique(SUM_ABOVE),)
    assert build_critique(SUM_ABOVE) == problem


def test_the_weak_policy_is_never_right():
    problems = [build_critique(spec) for spec in SPECS]
    grades = CritiqueGrader().grade(problems, [problem.answers["weak"][0] for problem in problems])
    assert not any(grade.correct for grade in grades)
    assert all(grade.correct for grade in CritiqueGrader().grade(problems, [problem.reference for problem in problems]))


def test_splits_share_no_program():
    task = CritiqueDataModule(source=ProceduralCritiques(problems=200, corpus=200))
    task.setup("fit")
    groups = {
        name: {problem.group for problem in task.split(name)} for name in ("weak", "lock", "elicit", "val", "corpus")
    }
    assert sum(map(len, groups.values())) == len(set().union(*groups.values())) == 400
    assert len(groups["lock"]) > len(groups["elicit"]) > len(groups["weak"])
    assert task.template("x") == "x\n"


def test_labelled_pairs_are_of_other_programs_and_rightly_labelled():
    pairs = make_pairs(200)
    assert len(pairs) == 200 and sum(pair.correct for pair in pairs) == 100
    assert all(pair.completion != pair.reference for pair in pairs if not pair.correct)
    assert pairs == make_pairs(200) and pairs[:50] == make_pairs(50)
    changed = [pair for pair in pairs if pair.correct and pair.completion != pair.reference]
    assert len(changed) > 50


# --- files


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(index, **more):
    return {"id": f"r{index}", "problem": f"Add {index}.", "program": "int main() {}", "critique": "No output.", **more}


def test_critiques_from_a_file(tmp_path):
    path = write(tmp_path / "c.jsonl", [row(index) for index in range(60)])
    splits = CritiqueFiles(path).load(0)
    assert sum(map(len, splits.values())) == 60 and len(splits["lock"]) > len(splits["weak"])
    (problem,) = (problem for split in splits.values() for problem in split if problem.id == "r7")
    assert isinstance(problem, Problem) and problem.reference == "No output."
    assert problem.prompt == "Add 7.\n\nint main() {}\n\nExplain what is wrong with this program."


@pytest.mark.parametrize(("bad", "message"), [({"critique": " "}, "'critique' is empty"), ({"program": 3}, "program")])
def test_a_bad_file_is_one_line(tmp_path, bad, message):
    path = write(tmp_path / "c.jsonl", [row(0), row(1, **bad)] if "critique" in bad else [row(1, **bad)])
    with pytest.raises(PlmError, match=message):
        CritiqueFiles(path).load(0)
    with pytest.raises(PlmError, match="at least 20"):
        ProceduralCritiques(problems=3)
