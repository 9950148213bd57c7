"""What the teacher is shown, and how its replies are read."""

import json
import time

import pytest

from plm.datamodules.code_files import PublishedProblem
from plm.records import IOTest
from plm.teacher.prompts import (
    BadReplyError,
    Translation,
    kept_tests,
    read_program,
    read_translation,
    shown_solution,
    shown_tests,
    translation_prompt,
)
from plm.teacher.replies import Choice

TEST = "<test>\n<input>\n1 2\n</input>\n<output>\n3\n</output>\n</test>\n"


def problem(kind="call", raw=None, solutions=("def f(a, b):\n    return a + b\n",), tests=(), starter=""):
    raw = {"fn_name": "f", "inputs": [[1, 2]], "outputs": [3]} if raw is None else raw
    return PublishedProblem("x", "Add {a} and {b}.", kind, "mbpp", tests, json.dumps(raw), starter, solutions)


def read(text, finished=True, of=None):
    return read_translation(of or problem(), Choice(text, finished))


def test_what_is_shown():
    text = translation_prompt(problem(starter="def f(a, b):"))
    assert "Add {a} and {b}." in text and "Test 1: f called with [1, 2] gives 3" in text and "All 1 tests" in text
    assert "return a + b" in text and "Solutions start with:\ndef f(a, b):" in text and "leave this part" not in text
    assert "There is no Python solution here" in translation_prompt(problem(solutions=()))
    raw = {
        "test_imports": ["import math"],
        "test_setup_code": "n = 3",
        "test_list": ["assert f(n) == 3", "assert f(1)"],
    }
    assert shown_tests(problem("assert", raw)) == [
        "import math\nn = 3\nassert f(n) == 3", "import math\nn = 3\nassert f(1)",
    ]  # fmt: skip
    assert "tests" not in translation_prompt(problem("stdin")).split("Reply in")[1]


def test_long_things_are_left_out():
    raw = {"fn_name": "f", "inputs": [[i, "x" * (3000 if i == 0 else 3)] for i in range(30)], "outputs": [0] * 30}
    shown = shown_tests(problem(raw=raw))
    assert len(shown) == 10 and shown[0] == 'f called with [1, "xxx"] gives 0'
    assert shown_tests(problem(raw={**raw, "inputs": raw["inputs"][:1], "outputs": [0]})) == []
    assert shown_solution(problem(solutions=("x" * 9000, "", "long = 1", "y = 1"))) == "y = 1"
    assert shown_solution(problem(solutions=("x" * 9000,))) == ""
    tests = tuple(IOTest("x" * 400_000, "1") for _ in range(5))
    assert len(kept_tests(problem("stdin", tests=tests))) == 2
    digits = "7" * 6000
    assert (
        shown_tests(
            PublishedProblem("x", "", "call", "mbpp", (), f'{{"inputs": [[{digits}]], "outputs": [1]}}', "", ())
        )
        == []
    )


def test_a_good_reply_is_read():
    thought = "<think>\n<statement>no</statement>\n</think>\n"
    text = f"<statement>\nAdd  two.\n</statement>\n{TEST}<python>\nprint(1)\n</python>"
    assert read(thought + text) == Translation("Add  two.", (IOTest("1 2\n", "3\n"),), "print(1)")
    fenced = f"<statement>Add.</statement>\r\n{TEST}<python>\n```python\nif 1:\n    print(1)\n```\n</python>"
    assert read(fenced).glue == "if 1:\n    print(1)"
    assert read(f"<statement>A</statement>{TEST}", of=problem(solutions=())).glue == ""
    tests = (IOTest("  5\n\n", "x"),)
    kept = read("<statement>A</statement>", of=problem("stdin", tests=tests))
    assert kept == Translation("A", tests)  # as published, to the last blank
    spaces = read("<statement>A</statement><test><input>\n\n a \n</input><output>b</output></test><python>p</python>")
    assert spaces.tests == (IOTest("\n a \n", "b\n"),)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no", "there is not one <statement>"),
        ("<statement> </statement>", "there is not one <statement>"),
        ("<statement>a</statement><statement>b</statement>", "there is not one <statement>"),
        ("<statement>a", "<statement> is not closed"),
        (f"<statement>{'a' * 20_001}</statement>", "longer than 20000"),
        ("<statement>a</statement>", "there are 0 tests, not 1"),
        (f"<statement>a</statement>{TEST}{TEST}", "there are 2 tests, not 1"),
        ("<statement>a</statement><test><input>1</input></test>", "test 1 has not one <input> and one <output>"),
        ("<statement>a</statement>" + TEST.replace("3", " "), "test 1 has an empty output"),
        (f"<statement>a</statement>{TEST}", "there are no lines of <python>"),
    ],
)
def test_a_bad_reply_says_what_is_wrong(text, fault):
    with pytest.raises(BadReplyError, match=fault):
        read(text)


def test_one_input_has_one_output():
    raw = {"fn_name": "f", "inputs": [[1], [2]], "outputs": [1, 2]}
    with pytest.raises(BadReplyError, match="one input has two outputs"):
        read(f"<statement>a</statement>{TEST}{TEST.replace('3', '4')}<python>p</python>", of=problem(raw=raw))


def test_programs_are_read_and_cut_off_ones_are_not():
    assert read_program(Choice("Sure:\n```cpp\nint main() {}\n```\nDone.", True)) == "int main() {}\n"
    for choice in (Choice("I cannot.", True), Choice("", True)):
        with pytest.raises(BadReplyError, match="there is no program"):
            read_program(choice)
    with pytest.raises(BadReplyError, match="cut off"):
        read_program(Choice("```cpp\nint main() {", False))


def test_hostile_replies_take_little_time():
    start = time.monotonic()
    for text in (
        "<statement>" * 200_000,
        f"<statement>a</statement>{'<test><input>' * 100_000}{'</test>' * 100_000}",
        "<statement>a</statement>" * 99_999,
    ):
        with pytest.raises(BadReplyError):
            read(text)
    assert time.monotonic() - start < 3
