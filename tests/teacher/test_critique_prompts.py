"""Examples by hand that really fail, what the teacher is shown, and how its replies are read."""

import shutil
import time
from collections import Counter

import pytest

from plm.graders.code import CodeGrader
from plm.records import IOTest, Problem
from plm.teacher.critique_prompts import (
    BadReplyError,
    break_prompt,
    draw_examples,
    is_short_enough,
    read_broken,
    read_examples,
    without_comments,
)
from plm.teacher.replies import Choice

SUM = "int main() {\n    int a, b;\n    cin >> a >> b;\n    cout << a + b;\n}\n"
PROBLEM = Problem("p", "Add two numbers.", "", SUM, (IOTest("1 2", "3"),))
GOOD = f"<program>\n{SUM.replace('+', '-')}</program>\n<critique>\nIt subtracts\n  the second number.\n</critique>"


def read(text, finished=True):
    return read_broken(PROBLEM, Choice(text, finished))


@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not here")
def test_the_examples_are_what_they_claim():
    """Every correct program passes its test and every broken one fails it by a wrong answer."""
    examples = read_examples()
    assert len(examples) >= 17 and all(each.problem.tests for each in examples)
    grader = CodeGrader()
    problems = [each.problem for each in examples]
    reasons = [grade.reason for grade in grader.grade(problems, [each.problem.reference for each in examples])]
    assert reasons == ["correct"] * len(examples)
    broken = [grade.reason for grade in grader.grade(problems, [each.broken.program for each in examples])]
    assert broken == ["wrong"] * len(examples)


def test_the_examples_are_in_the_form_that_is_asked_for():
    for each in read_examples():
        reply = f"<program>\n{each.broken.program}\n</program>\n<critique>\n{each.broken.critique}\n</critique>"
        made = read_broken(each.problem, Choice(reply, True))
        assert made.program == each.broken.program + "\n" and made.critique == each.broken.critique
        assert 80 < len(made.critique) < 400
    assert len({each.problem.prompt for each in read_examples()}) == len(read_examples())


def test_two_examples_are_drawn_by_the_problem_and_all_are_used():
    drawn = [draw_examples(Problem(f"p{i}", "", "", "")) for i in range(400)]
    assert all(len(pair) == 2 and pair[0] != pair[1] for pair in drawn)
    assert drawn[3] == draw_examples(Problem("p3", "other text", "", ""))
    counts = Counter(example.problem.id for pair in drawn for example in pair)
    assert len(counts) == len(read_examples()) and min(counts.values()) >= 15


def test_what_is_shown():
    first, second = draw_examples(PROBLEM)
    text = break_prompt(PROBLEM, [first, second])
    assert text.count("Exercise:\n") == 3 and text.index(first.broken.critique) < text.index(second.broken.critique)
    assert "Add two numbers." in text and SUM.strip() in text and "IOTest" not in text
    hostile = Problem("h", "Print {program} and {0}.", "", 'int main() { cout << "{x}"; }')
    assert "Print {program} and {0}." in break_prompt(hostile, [first, second])
    assert not is_short_enough(Problem("p", "", "", "x" * 8001)) and is_short_enough(PROBLEM)


def test_a_good_reply_is_read():
    made = read("<think>no <program></think>" + GOOD)
    assert made.critique == "It subtracts the second number." and made.program == SUM.replace("+", "-")
    fenced = read(f"<program>\n```cpp\n{SUM.replace('+', '*')}```\n</program><critique>It multiplies.</critique>")
    assert fenced.program == SUM.replace("+", "*")


def test_comments_do_not_give_the_mistake_away():
    reply = GOOD.replace("    cout", "    // here is the mistake\n    cout").replace("- b;", "- b; /* minus! */")
    assert "mistake" not in read(reply).program and "minus" not in read(reply).program
    assert read(reply).program == SUM.replace("a + b;", "a - b;")
    kept = 'string s = "http://x /* y */"; char c = \'"\'; // gone'
    assert without_comments(kept) == 'string s = "http://x /* y */"; char c = \'"\';'
    assert without_comments("a\n/* one\ntwo */\nb /* c */ d\n/* open") == "a\nb   d"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("no", "not one <program> and one <critique>"),
        (GOOD + GOOD, "not one <program> and one <critique>"),
        (GOOD.replace("</critique>", ""), "<critique> is not closed"),
        ("<program>I will not.</program><critique>c</critique>", "there is no program"),
        (f"<program>{'x' * 16_001}</program><critique>c</critique>", "longer than 16000"),
        (GOOD.replace("It subtracts\n  the second number.", " "), "the critique is empty"),
        (GOOD.replace("It subtracts", "x" * 2000), "or longer than 2000"),
        (f"<program>\n// same\n{SUM}\n</program><critique>c</critique>", "nothing was changed"),
        (GOOD.replace("It subtracts", "Unlike the original program it subtracts"), "speaks of the original program"),
    ],
)
def test_a_bad_reply_says_what_is_wrong(text, fault):
    with pytest.raises(BadReplyError, match=fault):
        read(text)


def test_a_reply_that_was_cut_off_is_none():
    with pytest.raises(BadReplyError, match="cut off"):
        read(GOOD, finished=False)


def test_hostile_replies_take_little_time():
    start = time.process_time()
    for inside in ("/*" * 7_900, '"\\' * 7_900, "'" * 15_000, "//" * 7_000, "/" * 15_000, "\0" * 9_000):
        text = f"<program>int main() {{ {inside} </program><critique>original {'original ' * 200}</critique>"
        assert read(text).program.startswith("int main()")
    with pytest.raises(BadReplyError):
        read("<program>" * 200_000)
    assert time.process_time() - start < 3
