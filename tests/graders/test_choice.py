"""Which letter an answer names, the real collections of such answers, and hostile text."""

import gzip
import json
import time
from pathlib import Path

import pytest

from plm.cli import run
from plm.graders.choice import MAX_CHARACTERS, ChoiceGrader, extract_letter
from plm.records import Problem

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "open" / "grader"
OPTIONS = ("copper", "tin", "brass", "iron")


def read(name: str) -> list[dict]:
    content = (DATA / name).read_bytes()
    text = gzip.decompress(content) if name.endswith(".gz") else content
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.skipif(not DATA.is_dir(), reason="the real data are not here")
@pytest.mark.parametrize(("name", "count"), [("mcq_extraction.jsonl", 49), ("mcq_cot_completions.jsonl.gz", 196)])
def test_real_answers(name, count):
    rows = read(name)
    assert len(rows) == count
    wrong = [
        row["id"] for row in rows if extract_letter(row["completion"], [""] * row["choices"]) != row["expected_letter"]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        (" C", "C"), ("(c)", "C"), ("**B**", "B"), ("b) tin", "B"), ("[D]", "D"), ("Ｂ", "B"), ("$\\boxed{D}$", "D"),
        ("\\boxed{\\text{B}}", "B"), ("C. brass", "C"), ("C: brass", "C"), ("D\nbecause", "D"), ("B, not C", "B"),
        ("A is correct because B is wrong", "A"),
        ("A: Let's think step by step. Is it B? No. The answer is (C).", "C"),
        ("The final answer is **D. iron**.", "D"), ("Answer - B", "B"), ("the answer would have to be (D)", "D"),
        ("The answer is not A but B.", "B"), ("The answer isn't A. It's C.", "C"),
        ("It cannot be A. It cannot be B. It cannot be C. So D is correct.", "D"),
        ("Option B is wrong. Option C is correct.", "C"), ("Thus, the correct option is (A).", "A"),
        ("So the statement is true. Hence (C).", "C"), ("I'd go with B", "B"), ("I choose option D", "D"),
        ("The best answer is B, since A is false.", "B"), ("Answer: (A) copper\nExplanation: not B, not C", "A"),
        ("<think>maybe the answer is A?</think>\nB", "B"), ("<think>The answer is A.</think>", "A"),
        ("La respuesta correcta es la opción B.", "B"), ("Die Antwort ist C.", "C"), ("正确答案：A", "A"),
        ("brass", "C"), ("The answer is brass.", "C"), ("answer: a", "A"),
    ],
)  # fmt: skip
def test_a_letter_is_named(text, letter):
    assert extract_letter(text, OPTIONS) == letter


@pytest.mark.parametrize(
    "text",
    [
        "", "\n\n", "E", "The answer is E", "A or B", "Either A or B", "ANSWER: A, B", "A, B, C", "ABCD", "A B C D",
        "copper or tin", "I think so.", "I don't know", "None of the above", "answer: a number", "a lot of people",
        "A train leaves the station.", "The answer is vitamin D", "Hepatitis B is caused by a virus.",
        "The answer is the third one", "Option A is wrong. Option B is wrong.",
    ],
)  # fmt: skip
def test_no_letter_is_named(text):
    assert extract_letter(text, OPTIONS) is None


def test_a_model_that_goes_on_with_the_next_question_is_read_up_to_there():
    more = "\n\nWhat is it?\nA. x\nB. y\nC. z\nD. w\nAnswer: B"
    assert extract_letter(f" C{more}", OPTIONS) == extract_letter(f" C. brass{more}", OPTIONS) == "C"
    listed = "Let's check each.\n\nA. copper is wrong\nB. tin is wrong\nC. brass fits\nD. no\n\nThe answer is C."
    assert extract_letter(listed, OPTIONS) == "C"
    assert extract_letter("A. copper\nB. tin\nC. brass\nD. iron\n\nThe correct answer is D.", OPTIONS) == "D"


def test_the_number_of_options_limits_the_letters():
    assert extract_letter("Answer: E", [""] * 5) == "E" and extract_letter("Answer: C", ["", ""]) is None


@pytest.mark.parametrize(
    "unit",
    ["answer ", "A ", "(", "answer is ", "A,", "not ", "\n", "A. \n", " ", "\\boxed{", "it's ", "A is correct ", "'",
     "so so (A", "A. x\nB. y\n", "answer copper ", "*_", "</think>"],
)  # fmt: skip
def test_hostile_text_costs_no_more_than_its_length(unit):
    def seconds(length: int) -> float:
        start = time.process_time()
        extract_letter((unit * length)[:length], OPTIONS)
        return time.process_time() - start

    assert seconds(MAX_CHARACTERS) < max(0.2, 40 * seconds(MAX_CHARACTERS // 10))  # quadratic would be 100
    assert seconds(50 * MAX_CHARACTERS) < 3


def test_verdicts():
    problem = Problem("p", "", "stem", "C", choices=OPTIONS)
    seen = []
    grades = ChoiceGrader().grade([problem] * 3, ["(C) brass", "B", "?"], progress=seen.append)
    assert [(grade.correct, grade.score, grade.extracted, grade.reason) for grade in grades] == [
        (True, 1.0, "C", "correct"),
        (False, 0.0, "B", "wrong"),
        (False, 0.0, "", "parse"),
    ]
    assert sum(seen) == 3


def test_plm_grade(tmp_path, capsys):
    rows = [
        {"id": 1, "completion": "It is brass, so the answer is C.", "choices": list(OPTIONS), "answer": "C"},
        {"id": 2, "completion": "brass", "choices": 4, "answer": "C"},
        {"id": 3, "completion": "B", "choices": list(OPTIONS), "answer": "E"},
        {"id": 4, "completion": "B", "choices": ["x"], "answer": "A"},
        {"id": 5, "completion": "B", "choices": ["x", 3], "answer": "A"},
        {"id": 6, "completion": "B", "choices": list(OPTIONS)},
    ]
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(["grade", "mmlu", str(source), str(target)]) == 1
    graded = [json.loads(line) for line in target.read_text().splitlines()]
    assert [(row["id"], row["correct"], row["reason"]) for row in graded] == [
        (1, True, "correct"),
        (2, False, "parse"),  # the options' texts are not known
        (3, False, "bad row: `answer` is not one of the letters A to D"),
        (4, False, "bad row: `choices` is not a list of two or more options"),
        (5, False, "bad row: `choices` holds something that is not a string"),
        (6, False, "bad row: no `answer`"),
    ]
    assert f"{source}:3: `answer`" in capsys.readouterr().err
