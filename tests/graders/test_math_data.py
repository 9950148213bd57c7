r"""The grader against labels of other people and programs, where that data lies on this machine."""

import gzip
import json
from collections import Counter

import pytest

from plm.graders.math import extract_answer
from plm.graders.math.grader import grade_answer

# why we stay with our verdict, by case; docs/math_grading.md says it in words
DIFFER = {"m0028", "m0029", "m0127", "m0411"}


def _read(path):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@pytest.fixture(scope="module")
def equivalences(data_folder):
    rows = _read(data_folder / "grader" / "math_equiv.jsonl")
    rows = [row for row in rows if not row["suspect"] and not row["conflicting"]]
    assert len(rows) > 250
    return rows


def _disagreements(rows):
    return {row["id"] for row in rows if grade_answer(row["prediction"], row["reference"]).correct is not row["equal"]}


def test_every_core_case(equivalences):
    core = [row for row in equivalences if row["tier"] == "core"]
    assert len(core) > 100
    assert not _disagreements(core)


def test_common_cases(equivalences):
    common = [row for row in equivalences if row["tier"] == "common"]
    assert 1 - len(_disagreements(common)) / len(common) >= 0.9


def test_disagreements_are_the_ones_that_we_chose(equivalences):
    assert _disagreements(equivalences) <= DIFFER


def test_attacks_are_wrong(equivalences):
    attacks = [row for row in equivalences if "security" in row["tags"]]
    assert len(attacks) >= 5
    assert not _disagreements(attacks)


def test_verdicts_do_not_depend_on_the_direction_where_none_is_meant(equivalences):
    symmetric = [row for row in equivalences if row["symmetric"]]
    assert len(symmetric) > 10
    for row in symmetric:
        assert grade_answer(row["reference"], row["prediction"]).correct is row["equal"], row["id"]


def test_replies_of_models(data_folder):
    rows = _read(data_folder / "grader" / "math_model_outputs.jsonl.gz")
    agree = [grade_answer(row["completion"], row["reference"]).correct is row["correct"] for row in rows]
    assert sum(agree) / len(rows) >= 0.97


def test_extraction_from_solutions(data_folder):
    answers = {row["id"]: row["answer"] for row in _read(data_folder / "grader" / "math_reference_answers.jsonl.gz")}
    rows = [row for part in ("train", "test") for row in _read(data_folder / "math" / f"{part}.jsonl.gz")]
    rows = [row for row in rows if row["id"] in answers]
    equal = sum(extract_answer(row["solution"]) == answers[row["id"]].strip() for row in rows)
    assert len(rows) == 8_750
    assert equal / len(rows) >= 0.99


def test_nearly_every_answer_of_the_data_can_be_read(data_folder):
    """An answer that cannot be read can only be right as the same text."""
    from plm.graders.math.equality import _read as trees
    from plm.graders.math.notation import clean

    rows = _read(data_folder / "math" / "test.jsonl.gz")
    read = Counter(bool(trees(clean(extract_answer(row["solution"])))) for row in rows)
    assert read[True] / len(rows) >= 0.999


def test_a_changed_digit_is_wrong(data_folder):
    """Every answer of the data with one digit changed: the grader must not be too kind."""
    answers = {row["answer"] for row in _read(data_folder / "grader" / "math_reference_answers.jsonl.gz")}
    changed = []
    for answer in sorted(answers):
        places = [i for i, character in enumerate(answer) if character.isdigit()]
        if places:
            i = places[len(answer) % len(places)]
            other = f"{answer[:i]}{(int(answer[i]) + 1 + len(answer) % 8) % 10}{answer[i + 1 :]}"
            changed.append((rf"\boxed{{{other}}}", answer))
    kind = [pair for pair in changed if grade_answer(*pair).correct]
    assert len(changed) > 2_500
    assert len(kind) / len(changed) < 0.002, kind
