"""What a translation of MATH is checked for, on texts of our own and on MATH itself."""

import gzip
import json
import re
from pathlib import Path

import pytest

from plm.records import Problem
from plm.teacher.math_setting import ToldProblem, drop_copies
from plm.teacher.math_setting_checks import answer_faults, numbers, problem_faults
from plm.teacher.math_setting_prompts import MOST_PICTURES, Shown
from plm.teacher.prompts import BadReplyError
from plm.teacher.replies import Choice

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "open" / "math" / "test.jsonl.gz"
needs_data = pytest.mark.skipif(not DATA.is_file(), reason="needs the MATH dataset")
PROBLEM = r"Sara has \$1,200 and spends $\frac13$ of it on $2^{10}$ seeds. How many dollars are left of the $1,200$?"
SOLUTION = r"She spends $\frac13\cdot1200=400$, so that $1200-400=\boxed{800}$ dollars are left."
TOLD = {
    "problem": "Sara tiene 1,200 dólares y gasta 1/3 en 2^10 semillas. ¿Cuántos dólares quedan de los 1200?",
    "solution": "Gasta 1/3*1200 = 400, de modo que quedan 1200 - 400 = 800 dólares.\nLa respuesta es 800.",
}


def reasons(told, shown=None):
    return [fault.reason for fault in problem_faults(shown or {"problem": PROBLEM, "solution": SOLUTION}, told)]


# --- numbers


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\frac12 + \dfrac{3}{4} - \frac5{6}", ["1", "2", "3", "4", "5", "6"]),
        (r"x^23 + y_10 + \sqrt5x + \binom52 + 2^{10}", ["2", "3", "1", "0", "5", "5", "2", "2", "10"]),
        ("x^23 and 3.5, .5, 0.5 and 007.", ["23", "3.5", ".5", ".5", "7"]),
        (r"10{,}000 or 10,\!000 or 10,000", ["10", "0"] * 3),
        (r"a \\[6pt] \hspace{3cm} b_1", ["1"]),
        ("none", []),
    ],
)
def test_numbers_of_a_text(text, found):
    assert sorted(numbers(text).elements()) == sorted("0" if set(each) == {"0"} else each for each in found)


def test_thousands_are_one_number_where_the_commas_are_taken_so():
    assert numbers("10,000 and (1, 234)", joined=True) == {"10000": 1, "1": 1, "234": 1}


# --- each check


def test_a_good_translation_has_no_fault():
    told = {**TOLD, "problem": TOLD["problem"].replace("los 1200", "los 1,200")}
    assert reasons(told) == []
    assert reasons({**TOLD, "problem": TOLD["problem"].replace("1,200", "1200")}) == []  # as one number, in both places


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"problem": TOLD["problem"].replace("1,200 dólares", "$1,200").replace("los 1200", "los 1,200")}, ["latex"]),
        ({"problem": TOLD["problem"].replace("1,200", "1200").replace("2^10", r"2^10\ ")}, ["latex"]),
        ({"problem": TOLD["problem"].replace("1,200", "1200").replace("1/3", "frac{1}{3}")}, ["latex"]),
        ({"problem": TOLD["problem"].replace("1,200", "1200").replace("1/3", "un tercio")}, ["numbers"]),
        ({"problem": TOLD["problem"].replace("1,200", "1200") + " Hay 2."}, ["numbers"]),
        ({"problem": PROBLEM.replace("$", "").replace("\\", "").replace("frac13", "1/3")}, ["not Spanish"]),
        ({"solution": "Quedan 800 dólares.\nLa respuesta es 800."}, ["steps"]),
        ({"solution": TOLD["solution"].replace("es 800", "es 400")}, ["answer"]),
        ({"solution": TOLD["solution"].partition("\n")[0]}, ["answer"]),
        ({"solution": TOLD["solution"] + "\nEso es todo."}, ["answer"]),
        ({"solution": TOLD["solution"].replace("es 800", "es $800$")}, ["latex"]),
    ],
)
def test_each_fault_is_found(changes, found):
    told = {**TOLD, "problem": TOLD["problem"].replace("1,200", "1200"), **changes}
    assert reasons(told) == found


def test_a_wrong_answer_has_to_stay_wrong():
    shown = r"We add: $2+3=6$, so the answer is $\boxed{6}$."
    assert list(answer_faults(shown, "Sumamos: 2 + 3 = 6.\nLa respuesta es 6.")) == []
    mended = list(answer_faults(shown, "Sumamos: 2 + 3 = 5, y no 6.\nLa respuesta es 5."))
    assert [fault.reason for fault in mended] == ["answer"] and "read as '5', and not as '6'" in mended[0].detail
    unmarked = list(answer_faults(shown, "Sumamos: 2 + 3 = 6."))
    assert unmarked[0].detail == 'the last sentence is not "La respuesta es …."'
    assert list(answer_faults("We add 2 and 3 and get 6", "Sumamos 2 y 3 y obtenemos 6")) == []  # nothing was boxed


# --- pictures and replies


def test_pictures_are_taken_out_and_put_back():
    picture = '[asy] draw((0,0)--(1,2)); label("$A$",(0,0)); [/asy]'
    shown = Shown({"problem": f"Find $x$. {picture}", "solution": f"See {picture}: $\\boxed{{1}}$ {picture}"})
    assert shown.texts["problem"] == "Find $x$. [FIGURE A]" and "[FIGURE C]" in shown.texts["solution"]
    assert "asy" not in shown.prompt and r"\boxed{} holds" in shown.prompt
    reply = "<problem>\nHalla x. [FIGURE A]\n</problem>\n<solution>\n[FIGURE B] y [FIGURE C]: 1\n</solution>"
    made = shown.with_pictures(shown.read(Choice(reply, True)))
    assert made == {"problem": f"Halla x. {picture}", "solution": f"{picture} y {picture}: 1"}
    for broken, said in (
        (reply.replace("[FIGURE B]", ""), r"\[FIGURE B\] stands 0 times in the solution"),
        (reply.replace("B]", "C]"), r"\[FIGURE B\] stands 0 times in the solution"),
        (reply.replace("problem>", "statement>"), "there is not one <problem>"),
        (reply.replace("Halla x.", "x" * 50_000), "the problem is longer than 40000 characters"),
    ):
        with pytest.raises(BadReplyError, match=said):
            shown.read(Choice(broken, True))
    with pytest.raises(BadReplyError, match="cut off"):
        shown.read(Choice(reply, False))


def test_what_is_too_long_is_not_shown():
    assert not Shown({"answer": "x" * 20_001}).is_short_enough
    assert not Shown({"answer": "[asy][/asy]" * (MOST_PICTURES + 1)}).is_short_enough
    assert Shown({"answer": "[asy] is not closed"}).texts == {"answer": "[asy] is not closed"}


def test_copies_in_other_splits_are_dropped_where_they_are_trained_on():
    def told(id, split, text):
        one = ToldProblem(Problem(id, "", "", ""), Shown({"problem": "", "solution": ""}), split=split)
        one.told = {"problem": text}
        return one

    drafts = [told("a", "lock", "Halla 2."), told("b", "lock", "halla  2."), told("c", "val", "Halla 2."),
              told("d", "weak", "Halla 3.")]  # fmt: skip
    drop_copies(drafts)
    assert {one.problem.id: one.detail for one in drafts if one.dropped == "copy"} == {
        "a": "c, in val",
        "b": "c, in val",
    }
    drop_copies(same := [told("a", "lock", "Halla 2."), told("b", "lock", "halla  2.")])
    assert not any(one.dropped for one in same)


@pytest.mark.parametrize(
    "text",
    [
        each * (20_000 // len(each))
        for each in ("\\", "_", "1,000", "\\frac", "\\hspace{", "\\\\[", "[asy]", "$", "la ")
    ],
)
def test_hostile_texts_are_checked_in_no_time(text):
    import time

    start = time.process_time()
    shown = Shown({"problem": text, "solution": text})
    list(problem_faults(shown.texts, {"problem": text, "solution": f"{text} La respuesta es {text}"}))
    list(answer_faults(text, text))
    assert time.process_time() - start < 1


# --- MATH itself

BY_HAND = {
    "test/number_theory/782.json": (
        "Expresa 0.bar(5) como una fracción común.",
        "Sea x = 0.bar(5) = 0.5bar(5). Entonces 10x = 5.bar(5), y así 10x - x = 9x = 5, de modo que x = 5/9.",
        "5/9",
    ),
    "test/precalculus/365.json": (
        "Halla cos^(-1)(1/2). Expresa tu respuesta en radianes.",
        "Como cos(pi/3) = 1/2, cos^(-1)(1/2) = pi/3.",
        "pi/3",
    ),
    "test/algebra/1838.json": (
        "Factoriza r^2 + 10r + 25.",
        "El término cuadrático es el cuadrado de r y el término constante es 5^2. El lineal es 2(r)(5), así que vemos "
        "que r^2 + 10r + 25 = (r+5)^2.",
        "(r+5)^2",
    ),
    "test/algebra/1341.json": (
        "Simplifica (5 - 3i)(-4 + 3i).",
        "(5 - 3i)(-4 + 3i) = 5(-4) + 5(3i) - 3i(-4) - 3i(3i) = -20 + 15i + 12i + 9 = -11 + 27i.",
        "-11 + 27i",
    ),
    "test/prealgebra/1448.json": (
        "Simplifica 15/6.",
        "Como 15 y 6 tienen el factor común 3, podemos simplificar: 15/6 = (3*5)/(3*2) = 5/2.",
        "5/2",
    ),
    "test/number_theory/133.json": (
        "¿Cuántos divisores positivos tiene 48?",
        "Como 48 = 2^4*3^1, un divisor de 48 tiene la forma 2^a 3^b, donde a es un entero entre 0 y 4 y b es 0 o 1. "
        "Así que 48 tiene (4+1)(1+1) = 10 divisores positivos.",
        "10",
    ),
}


@pytest.fixture(scope="module")
def math():
    with gzip.open(DATA, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    return {row["id"]: Shown({"problem": row["problem"], "solution": row["solution"]}).texts for row in rows}


@needs_data
@pytest.mark.parametrize("id", BY_HAND)
def test_translations_by_hand_pass_and_each_change_is_found(math, id):
    problem, solution, answer = BY_HAND[id]
    told = {"problem": problem, "solution": f"{solution}\nLa respuesta es {answer}."}
    assert reasons(told, math[id]) == []
    assert reasons({**told, "solution": f"{solution}\nLa respuesta es {answer} + 1."}, math[id]) == ["answer"]
    number = re.search(r"\d+", problem)
    changed = f"{problem[: number.start()]}{int(number[0]) + 1}{problem[number.end() :]}"
    assert reasons({**told, "problem": changed}, math[id]) == ["numbers"]
    assert reasons({**told, "solution": f"${solution}$\nLa respuesta es {answer}."}, math[id]) == ["latex"]


@needs_data
def test_what_was_not_translated_never_passes(math):
    """The original, with its answer behind the mark: LaTeX is left, or it is English."""
    texts = list(math.values())[::5]
    found = [reasons({**shown, "solution": f"{shown['solution']}\nLa respuesta es 1."}, shown) for shown in texts]
    assert len(found) == 1000 and all({"latex", "not Spanish"} & set(each) for each in found)
