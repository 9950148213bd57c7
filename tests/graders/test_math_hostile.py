r"""Model text is hostile: every answer gets a verdict, soon, and nothing of it is run."""

import threading
import time
from pathlib import Path

import pytest

from plm.graders.math.grader import grade_answer

SECONDS = 3.0
"""Far above the quarter of a second that the worst of these takes, for machines that are busy."""

TOWERS = {
    "power tower": "9**9**9**9",
    "power tower in LaTeX": "10^{10^{10}}",
    "higher": "10^{10^{10^{10}}}",
    "factorial": "100000!",
    "factorials of factorials": "100000!!!!",
    "huge factorial": "(10^{10})!",
    "huge binomial": r"\binom{10^{100}}{10^{50}}",
    "sine of a huge number": r"\sin(10^{10^{9}})",
    "floor of a huge number": r"\lfloor 10^{10^{9}}\rfloor",
    "gamma of gamma": "((((x!)!)!)!)!",
    "imaginary tower": "(i^{i^{i}})^{1000000000}",
    "many big factorials": "+".join(["1999!"] * 90),
    "many gammas": "+".join(["(x+0.5)!"] * 70),
    "decimals to a power": "+".join(["0.123456789^{97}"] * 40),
}
NESTED = {
    "parentheses": "(" * 10_000 + "1" + ")" * 10_000,
    "fractions": r"\frac{1}{" * 10_000 + "1" + "}" * 10_000,
    "roots": r"\sqrt{" * 10_000 + "2" + "}" * 10_000,
    "28 roots": r"\sqrt{" * 28 + "2" + "}" * 28,
    "texts": r"\text{" * 300 + "1" + "}" * 300,
    "tangents": r"\tan " * 200 + "x",
    "powers": "^".join(["2"] * 200),
    "bars": "|" * 999,
    "signs": "-+" * 290 + "1",
    "factorial signs": "5" + "!" * 500,
    "sums": r"\sum_{k=1}^{n} " * 60 + "k",
    "unions": r"\cup".join(["(1,2)"] * 100),
    "plus or minus": "1" + r"\pm 1" * 190,
    "list of plus or minus": ",".join([r"\pm x"] * 150),
    "commands in text": r"\text{" + r"\ab" * 600 + " word}",
    "conjunctions": r"\text{" + " and " * 390 + "}",
}
LONG = {
    "digits": "7" * 1_000_000,
    "words": "lorem ipsum " * 90_000,
    "braces": "{" * 1_000_000,
    "boxes that do not close": r"\boxed{" * 150_000,
    "boxes": r"\boxed{1}" * 100_000,
    "dollars": "$" * 1_000_000,
    "formulas": "$1$ " * 250_000,
    "blanks": " " * 1_000_000,
    "answers": "the answer is " * 70_000,
    "final answers": "final answer is $" * 60_000,
    "commas": "1," * 500_000,
    "minuses": "-" * 1_000_000,
    "backslashes": "\\" * 1_000_000,
    "calls": "aaaa(" * 200_000,
    "points": ".5" * 500_000,
}
ODD = {
    "NULs": "\0" * 1_000 + "7x",
    "surrogates": "\ud800\udfff",
    "combining": "x" + "\u0301" * 1_500,
    "emoji": "😀",
    "unbalanced": "{{{{x",
    "closing": "x}}}}",
    "nothing in a fraction": r"\frac{}{}",
    "operators only": "+*/^",
    "division by zero": "1/0",
    "zero to zero": "0^0",
    "infinity less infinity": r"\infty-\infty",
    "matrix without end": r"\begin{pmatrix}1&2",
    "backslash": "\\",
}


def _cases(*tables):
    return [pytest.param(text, id=name) for table in tables for name, text in table.items()]


@pytest.mark.parametrize("text", _cases(LONG))
def test_a_verdict_soon_on_a_megabyte(text):
    start = time.perf_counter()
    for completion in (text, rf"\boxed{{{text}}}", f"The answer is ${text}$."):
        assert not grade_answer(completion, "12345").correct
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize("text", _cases(TOWERS, NESTED, ODD))
@pytest.mark.parametrize("frame", ["{}", r"\boxed{{{}}}", "The answer is ${}$."])
def test_a_verdict_soon(text, frame):
    start = time.perf_counter()
    for reference in ("12345", "x^2+1", r"\text{Monday}", "1,2,3", "x>5"):
        assert not grade_answer(frame.format(text), reference).correct
    grade_answer(frame.format(text), text)
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize("text", _cases(TOWERS))
def test_a_tower_equals_itself(text):
    assert grade_answer(rf"\boxed{{{text}}}", text).correct


@pytest.mark.parametrize(
    "text", ["10^{10^{10^{10}}}", "100000!!!!", r"\sin(10^{10^{9}})", r"\binom{10^{100}}{10^{50}}", "2^{2^{99}}"]
)
def test_what_is_too_large_is_a_timeout(text):
    """The bound is on work and not on the clock, so that a busy machine gives the same verdicts."""
    assert grade_answer(rf"\boxed{{{text}}}", "7").reason == "timeout"


def test_numbers_that_are_large_but_bounded_are_compared():
    assert grade_answer(r"\boxed{2^{10000}}", r"4^{5000}").correct
    assert not grade_answer(r"\boxed{2^{10000}+1}", r"4^{5000}").correct
    assert grade_answer(r"\boxed{(10^{9})!}", r"10^9 \cdot (10^9-1)!").correct


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('touch {marker}') or 0",
        "open('{marker}', 'w').write('x') or 0",
        "exec(\"open('{marker}', 'w')\") or 0",
        "(lambda: open('{marker}', 'w'))() or 0",
        "[open('{marker}', 'w') for _ in [0]] or 0",
        "().__class__.__base__.__subclasses__() or 0",
        "eval(compile('open(\"{marker}\", \"w\")', '', 'exec')) or 0",
    ],
)
def test_programs_are_not_run_and_not_right(text, tmp_path):
    marker = tmp_path / "marker"
    program = text.replace("{marker}", str(marker))
    for completion in (program, rf"\boxed{{{program}}}", f"The answer is ${program}$", f"Answer: {program}"):
        assert not grade_answer(completion, "0").correct
    assert not marker.exists()


def test_nothing_that_evaluates_text_is_imported_or_called():
    folder = Path(grade_answer.__code__.co_filename).parent
    source = "".join(file.read_text() for file in folder.glob("*.py"))
    for word in ("eval(", "exec(", "parse_expr", "sympify", "import sympy", "parse_latex", "mpmathify", "mpi("):
        assert word not in source


def test_threads_do_not_disturb_each_other():
    """Each thread has its own precision; mpmath's own context is never touched."""
    import mpmath

    digits = mpmath.mp.dps
    wrong = []

    def work(k):
        for n in range(30):
            left, right = rf"\sqrt{{{k + n}}}\cdot\sqrt{{{n + 2}}}", rf"\sqrt{{{(k + n) * (n + 2)}}}"
            if not grade_answer(rf"\boxed{{{left}}}", right).correct:
                wrong.append((k, n))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert mpmath.mp.dps == digits
