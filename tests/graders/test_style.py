"""Style: what complies, what does not, what is no program, and texts that were written to break the judge."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from plm.cli import run
from plm.errors import PlmError
from plm.graders import style, style_check
from plm.graders.style import StyleGrader
from plm.records import Problem

GOOD = """\
def total_of(values, limit=3):
    total = 0
    for value in values:
        if value > limit:
            total += value * 2
    return total
"""
PROBLEM = Problem("p", "", "", "")


def grades(*texts, **arguments):
    return StyleGrader(**arguments).grade([PROBLEM] * len(texts), list(texts))


def reasons(*texts, **arguments):
    return [grade.reason for grade in grades(*texts, **arguments)]


def test_codes_and_scores_by_hand():
    """Of six lines one, two and all are bad."""
    one, two = GOOD.replace("total = 0", "total=0"), GOOD.replace(" > ", ">").replace("total = 0", "total=0  ")
    every = GOOD.replace("    ", "   ").replace("def total_of(", "def total_of (")
    made = grades(GOOD, one, two, every)
    assert [grade.correct for grade in made] == [True, False, False, False]
    assert [grade.extracted for grade in made] == ["", "E225", "E225 W291", "E111 E211"]
    assert [grade.score for grade in made] == pytest.approx([1.0, 5 / 6, 4 / 6, 0.0])
    assert [grade.reason for grade in made] == ["correct", "wrong", "wrong", "wrong"]


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("values, limit", "values,limit"),
        GOOD.replace("limit=3", "limit = 3"),
        GOOD.replace("(values", "( values"),
        GOOD.replace("    ", "\t"),
        GOOD.replace("    return", "\n\n\n    return"),
        GOOD.replace("return total", "return total;"),
        GOOD.replace("return total", f"return total + {' + '.join(['total'] * 12)}"),
        GOOD.replace("total = 0", "total=0  # noqa"),
        "# flake8: noqa\n" + GOOD.replace("total = 0", "total=0"),
    ],
)
def test_violations_count_and_nothing_excuses_them(text):
    (grade,) = grades(text)
    assert (grade.correct, grade.reason) == (False, "wrong") and grade.extracted
    assert 0 < grade.score < 1


def test_how_a_text_ends_does_not_count():
    assert reasons(GOOD, GOOD.rstrip(), GOOD + "\n\n\n", GOOD + "    \n") == ["correct"] * 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "trivial"),
        ("\n\n", "trivial"),
        ("pass\n", "trivial"),
        ('"""Nothing but words."""\n', "trivial"),
        ("import os\nimport sys\nimport json\nimport re\n", "trivial"),
        ("def a():\n    pass\n\n\ndef b():\n    pass\n\n\ndef c():\n    ...\n", "trivial"),
        ("x = 1\nx = 1\nx = 1\nx = 1\n", "trivial"),
        ("x = 1\ny = 2\n", "trivial"),
        ("x = 1\ny = 2\nz = 3\n", "correct"),
        ("def f(:\n", "parse"),
        ("Sure, here is the function.", "parse"),
        ("  x = 1\n y = 2\n", "parse"),
        ("x = '\n", "parse"),
    ],
)
def test_what_does_nothing_or_is_no_python_is_wrong(text, reason):
    (grade,) = grades(text)
    assert (grade.reason, grade.correct) == (reason, reason == "correct")
    assert grade.score == float(grade.correct)


def test_how_much_a_text_must_do_is_an_argument():
    assert reasons("x = 1\ny = 2\n", "", least_statements=2) == ["correct", "trivial"]
    assert reasons("", "x = 1", least_statements=0)[1] == "correct"
    with pytest.raises(PlmError, match="least_statements is -1"):
        StyleGrader(least_statements=-1)


HOSTILE = [
    "\0", "\ud800 = 1", "x = 1\0", "(" * 15_000, "[" * 900 + "]" * 900, "-" * 15_000 + "1", "not " * 240 + "1",
    "\n".join(["x = ("] + ["(" * 90] * 150), "lambda: " * 2_000 + "1", "x = " + "9" * 900, "f'{" * 300,
    "if 1:\n " * 900,
    "x = " + "9" * 6_000, "a" * 1_000_000, " " * 2_000_000 + "x", "\\\n" * 9_000, "'" * 15_000, '"""' * 5_000,
    "x = (" + ",\n".join("a" for _ in range(6_000)) + ")", "@" * 15_000, "\r" * 900, "\f" * 900, "\x1c\u2028\x85" * 300,
    "x" + " " * 990 + "= 1", "\n".join("x" + " " * 900 for _ in range(20)), "\t" * 900 + "x", "#" * 900,
    "x = 1 if " * 100,
    "\n".join(["x = type("] + [" a"] * 6_000 + [") == 1"]), "import os, " * 90, "\n" * 19_000 + "x = 1", "é" * 900,
    "x = '''" + "\n" * 15_000 + "'''", "match x:\n" + "    case 1: pass\n" * 500, "async " * 500,
    "# -*- coding: utf-7 -*-\nx = 1\n",
]  # fmt: skip


def test_hostile_texts_get_a_verdict_soon_and_the_next_text_its_own():
    start = time.process_time()
    made = reasons(*[text for each in HOSTILE for text in (each, GOOD)])
    assert made[1::2] == ["correct"] * len(HOSTILE)
    assert set(made[::2]) <= {"parse", "trivial", "wrong", "memory", "timeout", "crash"}
    assert time.process_time() - start < 5  # here; the process that reads has 2 s for each


def worker(tmp_path, monkeypatch, line):
    """A judge that does something else with the text `boom`."""
    path = tmp_path / "judge.py"
    changed = (
        Path(style_check.__file__)
        .read_text()
        .replace("    text = text.rstrip()", f"    if text == 'boom':\n        {line}\n    text = text.rstrip()")
    )
    path.write_text(changed.replace("CPU_SECONDS = 2.0", "CPU_SECONDS = 0.2"))
    monkeypatch.setattr(style_check, "__file__", str(path))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("while True: pass", "timeout"),
        ("import re; re.match('(a*)*b', 'a' * 40)", "timeout"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crash"),
        ("import os; os._exit(0)", "crash"),
        ("return {'fault': 'memory'} if not [0] * 10**9 else {}", "crash"),
    ],
)
def test_what_ends_the_judge_is_a_verdict_on_one_text_alone(tmp_path, monkeypatch, line, reason):
    worker(tmp_path, monkeypatch, line)
    assert reasons(GOOD, "boom", GOOD, "boom", "x = 1") == ["correct", reason, "correct", reason, "trivial"]


def test_a_judge_that_does_not_answer_is_given_up(tmp_path, monkeypatch):
    worker(tmp_path, monkeypatch, "import time; time.sleep(600)")
    monkeypatch.setattr(style, "WALL_SECONDS", 3.0)
    assert reasons("boom", GOOD) == ["timeout", "correct"]


def test_many_texts_keep_their_order_and_are_counted():
    texts = [GOOD if number % 3 else "pass" for number in range(300)]
    counted = []
    made = StyleGrader().grade([PROBLEM] * 300, texts, progress=counted.append)
    assert [grade.correct for grade in made] == [bool(number % 3) for number in range(300)]
    assert sum(counted) == 300 and StyleGrader().grade([], []) == []


def test_nobodys_settings_matter(tmp_path, monkeypatch):
    (tmp_path / "setup.cfg").write_text("[pycodestyle]\nmax-line-length = 20\nignore = E225\n")
    (tmp_path / ".config").mkdir()
    (tmp_path / ".config" / "pycodestyle").write_text("[pycodestyle]\nignore = E225\nmax-line-length = 20\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert [grade.extracted for grade in grades(GOOD, GOOD.replace("total = 0", "total=0"))] == ["", "E225"]


def test_a_file_of_rows(tmp_path, capsys):
    rows = [{"id": 1, "completion": GOOD}, {"id": 2, "completion": "x=1\ny = 2\nz = 3"}, {"id": 3, "completion": 7}]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run(["grade", "style", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]) == 1
    made = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["id"], row["correct"], row["extracted"]) for row in made[:2]] == [(1, True, ""), (2, False, "E225")]
    assert made[2]["reason"] == "bad row: `completion` is not a string"
    assert "in.jsonl:3: `completion` is not a string" in capsys.readouterr().err


def test_no_process_is_left_behind():
    grades(GOOD, "pass")
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if not children.is_file():
        pytest.skip("this kernel does not list children")
    names = [Path(f"/proc/{child}/cmdline").read_text() for child in children.read_text().split()]
    assert not [name for name in names if "style_check" in name], (names, sys.platform, signal.SIGPROF)
