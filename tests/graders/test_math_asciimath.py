"""ASCII-Math, the notation of the Spanish setting (LCK-4), is read like LaTeX, and no more generously."""

import time

import pytest

from plm.graders.math import extract_answer, judge
from plm.graders.math.asciimath import from_asciimath
from plm.graders.math.grader import grade_answer

SAME = [
    ("sqrt(3)/2", r"\frac{\sqrt{3}}{2}"),
    ("(3)/(4)", r"\frac34"),
    ("root(3)(5)", r"\sqrt[3]{5}"),
    ("3 root(4)(x y)", r"3\sqrt[4]{xy}"),
    ("root(3)(2+root(2)(3))", r"\sqrt[3]{2+\sqrt3}"),
    ("(-oo, 3] uu (4, oo)", r"(-\infty,3]\cup(4,\infty)"),
    ("[[1,2],[3,4]]", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    ("((1,2),(3,4))", r"\begin{bmatrix}1&2\\3&4\end{bmatrix}"),
    ("[[1],[-1/2]]", r"\begin{pmatrix}1\\-\frac12\end{pmatrix}"),
    ("RR", r"\mathbb{R}"),
    ("O/", r"\emptyset"),
    ("3 xx 4", "12"),
    ("6 -: 3", "2"),
    ("90^@", r"90^\circ"),
    ("0.bar(3)", r"\frac13"),
    ("bar(AB)", r"\overline{AB}"),
    ('"par"', r"\text{par}"),
    ("2 +- sqrt(3)", r"2 \pm \sqrt{3}"),
    ("5 dólares", r"\$5"),
    ("e^(i pi/3)", r"e^{i\pi/3}"),
]


@pytest.mark.parametrize(("ascii_math", "latex"), SAME)
def test_what_is_the_same(ascii_math, latex):
    assert judge(ascii_math, latex) == judge(latex, ascii_math) == "correct"
    told = f"Primero sumamos todos los números y luego dividimos.\nLa respuesta es {ascii_math}."
    assert grade_answer(told, rf"So it is $\boxed{{{latex}}}$.").reason == "correct"
    assert grade_answer(told, told).reason == "correct"


@pytest.mark.parametrize(
    ("ascii_math", "latex"),
    [
        ("root(3)(5)", r"\sqrt{5}"),
        ("(0,1) uu (1,2)", r"(0,1)\cup(1,3)"),
        ("(0,1) nn (1,2)", r"(0,1)\cup(1,2)"),
        ("[[1,2],[3,4]]", r"\begin{pmatrix}1&3\\2&4\end{pmatrix}"),
        ("3 xx 4", "34"),
        ("0.bar(3)", "0.3"),
        ("QQ", r"\mathbb{R}"),
        ("90^@", "45^\\circ"),
    ],
)
def test_what_is_not(ascii_math, latex):
    assert judge(ascii_math, latex) == judge(latex, ascii_math) == "wrong"


@pytest.mark.parametrize("text", ["12", "x^2+1", r"3\times 4", r"xx\cup", "[1,2]", "sqrt(2)", "abc"])
def test_what_the_parser_reads_anyway_stays(text):
    assert from_asciimath(text) is None


def test_short_spanish_sentences_are_no_answers():
    assert extract_answer("La respuesta es par.") == "par" and extract_answer("Sumamos. La respuesta es RR.") == "RR"


@pytest.mark.parametrize("text", ["root(" * 400, "[[" * 900, "((1,2)," * 250, '"' * 1999, "bar(" * 300 + ")" * 300])
def test_hostile_answers_are_read_in_no_time(text):
    start = time.process_time()
    assert judge(text, "3") in ("parse", "wrong")
    assert time.process_time() - start < 1
