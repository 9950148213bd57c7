"""Answers of the composition task: which digits count, what cannot be read, and `plm grade composition`."""

import json
import time

import pytest

from plm.grade import run_grade
from plm.graders.composition import CompositionGrader, read_answer
from plm.records import Problem

REFERENCE = "0 9 0 7 | 0 0 7 9"


def grade(completion, reference=REFERENCE):
    (verdict,) = CompositionGrader().grade([Problem("p", "", "", reference)], [completion])
    return verdict


@pytest.mark.parametrize(
    ("completion", "score", "reason"),
    [
        ("0 9 0 7 | 0 0 7 9", 1.0, "correct"),
        ("0907|0079", 1.0, "correct"),
        (" 0 9 0 7\n|\t0 0 7 9 \n", 1.0, "correct"),
        ("1 1 1 1 | 0 0 7 9", 1.0, "correct"),  # the way there is not graded
        ("0 9 0 7 | 0 0 7 8", 0.75, "wrong"),
        ("0 9 0 7 | 9 0 0 9", 0.5, "wrong"),  # place by place, not as a bag
        ("0 9 0 7 | 7 9 0 0", 0.0, "wrong"),
        ("0 0 7 9", 0.0, "parse"),
        ("0 9 0 7 | 0 0 7", 0.0, "parse"),
        ("0 9 0 7 | 0 0 7 9 9", 0.0, "parse"),
        ("0 9 0 | 0 0 7 9", 0.0, "parse"),
        ("0 9 0 7 | 0 0 7 9 |", 0.0, "parse"),
        ("0 9 0 7 0 0 7 9", 0.0, "parse"),
        ("0 9 0 7 | 0 0 <unk> 9", 0.0, "parse"),
        ("0 9 0 7 | ٠ ٠ ٧ ٩", 0.0, "parse"),  # digits, but not ours
        ("0 9 0 7 | 0 0 7 ²", 0.0, "parse"),
        ("", 0.0, "parse"),
        ("\ud800 | \x00", 0.0, "parse"),
    ],
)
def test_verdicts(completion, score, reason):
    verdict = grade(completion)
    assert (verdict.score, verdict.reason, verdict.correct) == (score, reason, reason == "correct")


def test_what_was_graded_is_shown():
    assert grade("0907 | 0078").extracted == "0 0 7 8"
    assert grade("no idea").extracted == ""


def test_a_reference_may_be_the_final_digits_alone_and_a_bad_one_is_named():
    assert grade("0 9 0 7 | 0 0 7 9", "0 0 7 9").correct
    with pytest.raises(ValueError, match="problem p: its reference '0 0 7' is not like"):
        grade(REFERENCE, "0 0 7")


def test_long_answers_take_no_longer_than_they_are_long():
    start = time.process_time()
    for text in ("0 " * 10**6, "|" * 10**6, " " * 10**6 + "x", "0 9 0 7 | " * 10**5):
        assert read_answer(text) is None
    assert time.process_time() - start < 2


def test_plm_grade_composition(tmp_path, capfd):
    rows = [
        {"id": "a", "completion": REFERENCE, "reference": REFERENCE},
        {"id": "b", "completion": "0 9 0 7 | 0 0 7 8", "reference": "0 0 7 9"},
        {"id": "c", "completion": "", "reference": REFERENCE},
        {"id": "d", "completion": REFERENCE, "reference": "seven"},
        {"id": "e", "completion": REFERENCE, "reference": 79},
        {"id": "f", "completion": REFERENCE},
        {"id": "g", "completion": REFERENCE, "reference": REFERENCE},
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_grade("composition", source, tmp_path / "out.jsonl") == 1
    out = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["correct"], row["score"]) for row in out] == [
        ("a", True, 1.0), ("b", False, 0.75), ("c", False, 0.0), ("d", False, 0.0), ("e", False, 0.0),
        ("f", False, 0.0), ("g", True, 1.0),
    ]  # fmt: skip
    assert out[2]["reason"] == "parse" and out[3]["reason"].startswith("bad row: `reference`")
    errors = capfd.readouterr().err
    assert [f"in.jsonl:{number}: " in errors for number in range(1, 8)] == [False] * 3 + [True] * 3 + [False]
