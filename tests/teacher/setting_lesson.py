"""A small MATH of sums, answers to it, and a teacher that is scripted to translate them, well and badly."""

import json
import re

import pyarrow as pa
import pyarrow.parquet as pq

from tests.teacher.server import failed, said

PICTURE = '[asy]\nlabel("$2$", (0,0));\n[/asy]'
# what is special about a problem, by its whole number
LATE, LOSES, SOLVES, SILENT, SHORT, MUMBLES, REFUSED, DRAWN = 21, 22, 23, 24, 25, 26, 27, 28
COPY, CORRECTS = 3, 4  # a train problem that is a test problem in Spanish; one whose weak answer is always corrected
REASONS = {
    LOSES: "numbers", SOLVES: "answer", SILENT: "not Spanish", SHORT: "steps", MUMBLES: "unusable", REFUSED: "refused",
}  # fmt: skip


def english(whole, part):
    picture = f" {PICTURE}" if whole == DRAWN else ""
    problem = rf"What is ${whole} + \frac1{{{part}}}$?{picture}"
    solution = (
        rf"We have ${whole} = \frac{{{whole * part}}}{{{part}}}$, so that the sum is the fraction "
        rf"$\boxed{{\frac{{{whole * part + 1}}}{{{part}}}}}$."
    )
    return problem, solution


def spanish(whole, part, *, picture="[FIGURE A]"):
    shown = f" {picture}" if whole == DRAWN else ""
    problem = f"¿Cuánto es {whole} + 1/{part}?{shown}"
    solution = (
        f"Tenemos {whole} = {whole * part}/{part}, de modo que la suma es {whole * part + 1}/{part}.\n"
        f"La respuesta es {whole * part + 1}/{part}."
    )
    return problem, solution


def write_math(folder):
    """Train problems with sevenths, test problems with elevenths; one of the train problems is also a test problem."""
    halves = {"train": [(whole, 7) for whole in range(1, 29)] + [(COPY, 11)], "test": [(n, 11) for n in range(1, 13)]}
    for half, pairs in halves.items():
        rows = []
        for whole, part in pairs:
            problem, solution = english(whole, part)
            if half == "train" and part == 11:
                problem = problem.replace("$", "")  # the same but for its dollar signs
            rows.append({"problem": problem, "level": "Level 2", "type": "Algebra", "solution": solution})
        (folder / f"{half}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def weak_answer(whole, part):
    return rf"It is at most $\boxed{{\frac{{{whole + 1}}}{{{part}}}}}$ I think."


def write_answers(folder, problems):
    """Samples of a frozen model: a wrong answer to each problem, twice, and one that was cut off."""
    rows = []
    for problem in problems:
        whole, part = pair_of(problem.prompt)
        texts = [(weak_answer(whole, part), True), (weak_answer(whole, part), True), ("It is at", False)]
        rows += [{"problem_id": problem.id, "completion": text, "finished": ended} for text, ended in texts]
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "samples.parquet")
    return folder


def pair_of(text):
    whole, part = re.search(r"(\d+) \+ \\frac1\{(\d+)\}", text).groups()
    return int(whole), int(part)


def teach(path, body):
    """The teacher."""
    talk = body["messages"]
    shown, again = talk[0]["content"], len(talk) > 1
    if "\nAnswer:\n" in shown:
        return said(_tell_answer(shown.partition("\nAnswer:\n")[2]))
    whole, part = pair_of(shown)
    if whole == REFUSED:
        return failed(400, "filtered")
    if whole == MUMBLES:
        return said("I would rather not.")
    problem, solution = spanish(whole, part)
    if whole == LATE and not again:
        problem = problem.replace(f"1/{part}", rf"\frac{{1}}{{{part}}}")
    if whole == LOSES:
        problem = problem.replace(f"1/{part}", "un séptimo")
    if whole == SOLVES:
        solution = f"{solution.partition('respuesta es ')[0]}respuesta es 262/7."
    if whole == SILENT:
        problem = "What is 24 + 1/7?"
    if whole == SHORT:
        solution = solution.rpartition("\n")[2]
    return said(f"<problem>\n{problem}\n</problem>\n<solution>\n{solution}\n</solution>")


def _tell_answer(text):
    top, part = map(int, re.search(r"\\frac\{(\d+)\}\{(\d+)\}", text).groups())
    if top == CORRECTS + 1 and part == 7:
        top = CORRECTS * part + 1
    return f"<answer>\nComo mucho es {top}/{part}, creo.\nLa respuesta es {top}/{part}.\n</answer>"
