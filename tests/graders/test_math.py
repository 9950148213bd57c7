r"""The conventions of docs/math_grading.md: what counts as the same answer. Each pair is (prediction, reference)."""

import json

import pytest

from plm.errors import PlmError
from plm.grade import run_grade
from plm.graders import MathGrader
from plm.graders.math import judge
from plm.records import Problem

SAME = {
    "values are compared, not forms": [
        (r"\frac{\sqrt{2}}{2}", r"\frac{1}{\sqrt{2}}"),
        (r"\dfrac{10}{4}", "2.5"),
        (r"\frac12", "1/2"),
        (r"\frac94\pi", r"\frac{9\pi}{4}"),
        ("(x-1)(x+1)", "x^2-1"),
        (r"\sin^2 x+\cos^2 x", "1"),
        (r"2\sin x\cos x", r"\sin 2x"),
        (r"\log_2 8", "3"),
        (r"\binom{5}{2}", "10"),
        (r"\frac{1}{2004!}", r"\frac{2005}{2005!}"),
        (r"e^{i\pi}", "-1"),
        (r"\sin(\pi)", "0"),
        (r"\sqrt{x^2}", "|x|"),
        (r"\sqrt[3]{-8}", "-2"),
        ("2^{n+1}", r"2\cdot 2^n"),
        (r"0.1\overline{6}", "1/6"),
        (r"\sum_{k=0}^{n} a_k b_{n-k}", r"\sum_{j=0}^{n} b_{n-j} a_j"),
    ],
    "LaTeX, plain text and Unicode are read alike": [
        ("sqrt(3)/2", r"\frac{\sqrt3}{2}"),
        ("pi/4", r"\frac{\pi}{4}"),
        ("x**2 + 2*x", "x^2+2x"),
        ("x²", "x^2"),
        ("−½", "-0.5"),
        (r"\\frac{3}{4}", r"\frac34"),
        ("2^10", "1024"),
        (r"\sqrt12", r"2\sqrt3"),
        ("(-oo, 3)", r"(-\infty,3)"),
        ("1.5e-3", "0.0015"),
        ("(0,1)U(2,3)", r"(0,1)\cup(2,3)"),
    ],
    "decimals: exact, or at least four digits of a number without a finite decimal": [
        ("5.0", "5"),
        (".5", "0.5"),
        ("0.3333", r"\frac13"),
        ("0.6666", r"\frac23"),
        ("1.4142135623730951", r"\sqrt{2}"),
        ("0.30000000000000004", r"\frac{3}{10}"),
    ],
    "groups of three digits, and a decimal comma where nothing else fits": [
        ("1,234,567", "1234567"),
        ("1{,}234", "1234"),
        (r"1\,234", "1234"),
        (r"11,\! 111", "11111"),
        ("1 000", "1000"),
        ("1.000.000", "1000000"),
        ("1.000,99", "1000.99"),
        ("3,5", "3.5"),
        ("3,5", r"\frac72"),
    ],
    "a percent sign is 1/100 or decoration": [
        ("5\\%", "5"),
        ("5%", "0.05"),
        ("0.05", "5\\%"),
        ("50 percent", r"\frac12"),
    ],
    "degrees are a factor or decoration": [
        (r"90^\circ", "90"),
        ("90°", r"90^{\circ}"),
        ("90 degrees", "90"),
        (r"90^\circ", r"\frac{\pi}{2}"),
        (r"\sin 30^\circ", r"\frac12"),
    ],
    "units and money are dropped": [
        (r"15\text{ cm}^2", "15"),
        ("12 cm", r"12\text{ centimeters}"),
        (r"17\text{ any text}", "17"),
        (r"144\mbox{ m}^3", "144"),
        (r"5\text{ m/s}", "5"),
        (r"\$5.00", "5"),
        ("$5", "5 dollars"),
        ("7^{\\text{th}}", "7"),
    ],
    "mixed numbers": [(r"3\frac12", "3.5"), ("3 1/2", r"\frac72"), (r"-3\frac{1}{2}", "-3.5")],
    "assignments give their value": [
        ("x=5", "5"),
        ("5", "x = 5"),
        ("2 = y", "2"),
        ("f(x)=2x+1", "2x+1"),
        ("f(t)=t^2", "f(x)=x^2"),
        ("W(x)=1", "W(n)=1"),
        ("AB=5", "5"),
        (r"\text{Area}=5", "5"),
        (r"P(A)=\frac23", "2/3"),
        ("x=1+1=2", "2"),
        (r"x=\frac13\approx 0.33", r"\frac13"),
        ("(x,y)=(1,2)", "(1,2)"),
    ],
    "equations are the same up to a factor": [("2x+4y-3=0", "y=-\\frac12x+\\frac34"), ("x+y=1", "2y+2x=2")],
    "several answers: in any order, however they are joined": [
        ("3,1,2", "1,2,3"),
        (r"\{3,1,2\}", "1, 2, 3"),
        (r"1\text{ and }2", "2, 1"),
        ("1;2", "1,2"),
        (r"\pm 2", "-2, 2"),
        (r"1\pm\sqrt2", r"1-\sqrt2, 1+\sqrt2"),
        ("x=2 or x=-2", r"\pm 2"),
        ("x = -3, 1", "-3, 1"),
        ("2, 2, 3", "2, 3"),
        ("y=2, x=1", "x=1, y=2"),
        ("(1,1),(0,0)", r"\{(0,0), (1,1)\}"),
        ("p=5,q=2;p=7,q=2", "(5,2),(7,2)"),
        ("Bob and Alice", r"\text{Alice and Bob}"),
    ],
    "tuples, vectors and matrices": [
        ("(1, 2)", r"\left(1,2\right)"),
        ("x=1, y=2", "(1,2)"),
        (r"\begin{pmatrix}1\\2\end{pmatrix}", "(1,2)"),
        (r"\langle 1,2\rangle", "(1,2)"),
        (r"\begin{bmatrix}1&2\\3&4\end{bmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
        (r"2\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\4\end{pmatrix}"),
        (
            r"\begin{pmatrix}1&1\\0&1\end{pmatrix}\begin{pmatrix}1&1\\0&1\end{pmatrix}",
            r"\begin{pmatrix}1&2\\0&1\end{pmatrix}",
        ),
    ],
    "sets of reals: inequalities, intervals and unions are sets": [
        ("1<x<2", "(1,2)"),
        (r"x\ge 1", r"[1,\infty)"),
        ("3 > x", r"(-\infty,3)"),
        (r"x\ne0", r"(-\infty,0)\cup(0,\infty)"),
        (r"\mathbb{R}\setminus\{0\}", r"x \neq 0"),
        (r"|x|\le 2", "[-2,2]"),
        (r"x<-1\text{ or }x>1", r"(1,\infty)\cup(-\infty,-1)"),
        (r"\{x \mid 0\le x<1\}", "[0,1)"),
        ("2x+1>5", "x>2"),
        (r"x\in[1,2]", "[1,2]"),
        (r"\mathbb{R}", r"(-\infty,\infty)"),
    ],
    "a base may be left out": [("204_5", "204_{5}"), ("204", "204_5"), ("(1011)_2", "1011_2")],
    "words and letters, without regard to fonts": [
        (r"\text{(C)}", "C"),
        (r"\textbf{C}", "(C)"),
        ("monday", r"\text{Monday}"),
        ("ACF", r"\text{ACF}"),
        (r"\text{e}", "e"),
        ("no solution", r"\text{No solution.}"),
        ("B. 12", r"\text{(B)}"),
    ],
    "ratios are quotients, times of day are not": [("3:4", r"\frac34"), ("2:30", r"2:30\text{ p.m.}")],
}

DIFFERENT = {
    "exactness": [
        ("5.001", "5"),
        ("0.33", r"\frac13"),
        ("0.3334", r"\frac13"),
        ("3.14", r"\pi"),
        ("1234.52", "1234.5"),
        ("12345678901", "12345678902"),
        ("2^{2025}", "3^{2025}"),
        ("10^{-50}", "10^{-51}"),
        ("e^{-115}", "e^{-116}"),
        (r"\frac{1}{2004!}", r"\frac{1}{2003!}"),
    ],
    "order and brackets of tuples": [
        ("(1,2)", "(2,1)"),
        ("(1,2)", "[1,2]"),
        ("(1,2)", r"\{1,2\}"),
        ("{1,3}", "(3,1)"),
        ("(1,2)", "12"),
        ("[0]", "2"),
        ("(x+1](x-1)", "x^2-1"),
    ],
    "all answers, and no others": [("1,2", "1,2,3"), ("2", r"\pm 2"), ("1,2,3", "1,2"), ("32, 349", "32349")],
    "signs, roots, domains": [("-3", "3"), ("|x|", "x"), (r"\sqrt{x^2}", "x"), ("3i", "3"), ("1/0", r"\infty")],
    "inequalities": [("x>5", r"x\ge5"), ("x>5", "x<5"), ("x>5", "5"), ("-2<x<7", "[-2,7]"), ("[0,1)", "(0,1)")],
    "an equation is no number": [("x^2=4", "4"), ("11a+c", "7 = 11a+c"), ("1", "2x+z=1")],
    "names": [("x=5", "y=5"), ("f(x)", "f(y)"), ("x=2, y=1", "x=1, y=2"), ("A", "B"), ("a", "A")],
    "known units that differ": [("5 cm", "5 m"), (r"5\text{ cm}", r"5\text{ inches}"), ("2:30 a.m.", "2:30 p.m.")],
    "bases": [("1011_2", "1011_3"), ("204_5", "54")],
    "words, and the order of letters": [("even", "odd"), ("CBAD", "ABCD"), ("B, A", "A, B"), ("odd", r"\text{oddd}")],
    "times": [("1:00", "12:00"), ("9:24", r"\frac38")],
    "nothing is not an answer": [("", "5"), (r"\emptyset", "(0,-5)"), (r"\emptyset", "0"), (r"\boxed{}", "5")],
}


def _cases(table):
    return [pytest.param(*pair, id=f"{why}: {pair[0]} / {pair[1]}") for why, pairs in table.items() for pair in pairs]


@pytest.mark.parametrize(("prediction", "reference"), _cases(SAME))
def test_same(prediction, reference):
    assert judge(prediction, reference) == "correct"


@pytest.mark.parametrize(("prediction", "reference"), _cases(DIFFERENT))
def test_different(prediction, reference):
    assert judge(prediction, reference) in ("wrong", "parse")


@pytest.mark.parametrize(
    ("prediction", "reference"),
    [pair for why, pairs in SAME.items() if "decimal" not in why and "words" not in why for pair in pairs],
)
def test_most_conventions_have_no_direction(prediction, reference):
    assert judge(reference, prediction) == "correct"


def test_a_rounded_reference_takes_the_exact_value():
    """The problem asked for decimals; the exact value shows more, another decimal does not."""
    assert judge(r"\frac83", "2.6667") == "correct"
    assert judge("2.66667", "2.6667") == "wrong"


def _problem(reference):
    return Problem(id="1", prompt="", domain="", reference=reference)


def test_grades_say_what_decided():
    completions = [
        r"So $\boxed{\frac24}$.",
        r"\boxed{3}",
        "I do not know.",
        r"\boxed{\frac{1}{}",
        r"\boxed{2^{2^{99}}}",
    ]
    seen = []
    grades = MathGrader().grade([_problem(r"It is $\boxed{0.5}$.")] * 5, completions, progress=seen.append)
    assert [grade.reason for grade in grades] == ["correct", "wrong", "parse", "parse", "timeout"]
    assert [grade.score for grade in grades] == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert [grade.correct for grade in grades] == [True, False, False, False, False]
    assert grades[0].extracted == r"\frac24"
    assert sum(seen) == 5
    assert all(grade.seconds > 0 for grade in grades)


def test_lengths_must_agree():
    with pytest.raises(PlmError, match="1 problems but 2 completions"):
        MathGrader().grade([_problem("1")], ["1", "2"])


def test_rows_of_a_file(tmp_path, capsys):
    """A bad row is named by its line, the others are graded."""
    rows = [
        {"id": "a", "completion": r"It is $\boxed{\frac{1}{2}}$.", "reference": "0.5"},
        {"id": "b", "completion": r"\boxed{3}", "reference": r"We get $x=\boxed{4}$."},
        {"id": "c", "completion": r"\boxed{3}", "reference": " "},
        {"id": "d", "completion": r"\boxed{3}"},
    ]
    given, written = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_grade("math", given, written) == 1
    out = [json.loads(line) for line in written.read_text().splitlines()]
    assert [row["id"] for row in out] == ["a", "b", "c", "d"]
    assert [row["correct"] for row in out] == [True, False, False, False]
    assert [row["reason"] for row in out[:2]] == ["correct", "wrong"]
    assert out[1]["extracted"] == "3"
    errors = capsys.readouterr().err
    assert "in.jsonl:3: `reference` is not a string with a solution or an answer" in errors
    assert "in.jsonl:4: no `reference`" in errors
