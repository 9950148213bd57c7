"""How often the mathematics grader agrees with labels that others gave, beside math-verify, and how fast both are.

Run `python benchmarks/math_grading.py DATA`, where DATA is a folder with `grader/math_equiv.jsonl`,
`grader/math_model_outputs.jsonl.gz`, `grader/math_reference_answers.jsonl.gz` and `math/*.jsonl.gz`. The column of
math-verify needs `pip install math-verify`; without it, only its verdicts that are recorded in the data are shown.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from plm.graders.math import extract_answer, reference_answer
from plm.graders.math.grader import grade_answer

try:
    from math_verify import parse, verify
except ImportError:
    parse = None

REASONS = {
    "m0028": "a formula that goes over a line break is still the answer 9",
    "m0029": "a formula that goes over a line break is still the answer 9",
    "m0127": "0.33 for 1/3 shows two digits; we want four",
    "m0411": "the box is the answer; the label takes the last number of the text",
    "nemo-rs0-23": "1320 km is 1320; their grader refused the unit",
    "nemo-rs0-34": "no box, but the reply ends in a formula with the right value; they read boxes only",
    "nemo-rs1-48": "the right answer in \\fbox; they read \\boxed only",
    "nemo-rs2-16": "`Thus, the answer is:` and the right fraction, without a box; they read boxes only",
    "train/number_theory/7115.json": "the box is empty in the solution",
    "test/prealgebra/177.json": "the label is wrong: it is no answer",
    "qwen-72-7": "10000 is 10{,}000; their grader did not read the braces around the comma",
}


class Case(NamedTuple):
    """One labelled case: is this completion right?"""

    id: str
    completion: str
    reference: str
    label: bool


def read(path: Path) -> list[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def ours(completion: str, reference: str) -> bool:
    return grade_answer(completion, reference).correct


def theirs(completion: str, reference: str) -> bool:
    """math-verify as its README uses it; a bare reference is a formula."""
    gold = reference if "boxed" in reference or "$" in reference else f"${reference}$"
    return bool(verify(parse(gold), parse(completion)))


def score(cases: Sequence[Case], judge: Callable[[str, str], bool]) -> tuple[float, float, list[Case]]:
    """The share of agreement, the cases a second, and the disagreements."""
    start = time.perf_counter()
    wrong = [case for case in cases if judge(case.completion, case.reference) is not case.label]
    return 1 - len(wrong) / len(cases), len(cases) / (time.perf_counter() - start), wrong


def load(data: Path) -> tuple[dict[str, list[Case]], dict[str, float]]:
    """The sets of cases by name, and math-verify's recorded agreement where there is one."""
    sets: dict[str, list[Case]] = {"core": [], "common": [], "upstream only": []}
    recorded: dict[str, list[bool]] = {name: [] for name in sets}
    for row in read(data / "grader" / "math_equiv.jsonl"):
        if row["suspect"] or row["conflicting"]:
            continue
        sets[row["tier"]].append(Case(row["id"], row["prediction"], row["reference"], row["equal"]))
        recorded[row["tier"]].append(row["reference_graders"]["math_verify"] is row["equal"])
    outputs = read(data / "grader" / "math_model_outputs.jsonl.gz")
    sets["model outputs"] = [Case(r["id"], r["completion"], r["reference"], r["correct"]) for r in outputs]
    return sets, {name: sum(hits) / len(hits) for name, hits in recorded.items()}


def load_solutions(data: Path) -> list[tuple[str, str, str]]:
    """Ids, solutions and answers."""
    answers = {row["id"]: row["answer"] for row in read(data / "grader" / "math_reference_answers.jsonl.gz")}
    rows = [*read(data / "math" / "train.jsonl.gz"), *read(data / "math" / "test.jsonl.gz")]
    return [(row["id"], row["solution"], answers[row["id"]]) for row in rows if row["id"] in answers]


def print_row(name: str, count: int, cells: Iterable[float | None]) -> None:
    shown = " | ".join("—" if cell is None else f"{cell:.3f}" if cell <= 1 else f"{cell:,.0f}" for cell in cells)
    print(f"| {name} | {count:,} | {shown} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--peer", type=int, default=400, help="about how many solutions math-verify grades")
    arguments = parser.parse_args()
    sets, recorded = load(arguments.data)
    print("| cases | rows | plm | math-verify | math-verify, recorded | plm, rows/s | math-verify, rows/s |")
    print("|---|---|---|---|---|---|---|")
    disagreements = []
    for name, cases in sets.items():
        share, rate, wrong = score(cases, ours)
        peer = score(cases, theirs) if parse else None
        cells = [share, peer and peer[0], recorded.get(name), rate, peer and peer[1]]
        print_row(name, len(cases), cells)
        disagreements += [(name, case) for case in wrong]
    solutions = load_solutions(arguments.data)
    extracted = [extract_answer(solution) == answer.strip() for _, solution, answer in solutions]
    print_row("extraction, equal as text", len(solutions), [sum(extracted) / len(extracted), None, None, None, None])
    cases = [Case(id, solution, answer, True) for id, solution, answer in solutions]
    share, rate, wrong = score(cases, ours)
    print_row("extraction, equal in value", len(cases), [share, None, None, rate, None])
    some = cases[:: len(cases) // arguments.peer]
    share, rate, _ = score(some, ours)
    peer = score(some, theirs) if parse else None
    print_row("the same, some of them", len(some), [share, peer and peer[0], None, rate, peer and peer[1]])

    print("\n| case | label | our answer | reference | why |")
    print("|---|---|---|---|---|")
    for _, case in disagreements:
        answer, reference = extract_answer(case.completion) or "", reference_answer(case.reference)
        why = REASONS.get(case.id, "not explained yet")
        print(f"| {case.id} | {'right' if case.label else 'wrong'} | `{answer[:60]}` | `{reference[:40]}` | {why} |")
    for case in wrong:
        print(
            f"| {case.id} | right | `{extract_answer(case.completion)}` | `{case.reference[:40]}` | {why_not(case)} |"
        )


def why_not(case: Case) -> str:
    if case.id in REASONS:
        return REASONS[case.id]
    boxes = case.completion.count("boxed")
    return f"{boxes} boxes that are one answer; the label keeps the last" if boxes > 1 else "not explained yet"


if __name__ == "__main__":
    main()
