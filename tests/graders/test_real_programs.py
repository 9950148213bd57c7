"""Programs of others with known verdicts: reference solutions and models' replies, graded as any completion is.

A program here is prompt, body and checks in one, which reads nothing, prints nothing, and passes when it exits with 0.
The verdicts were measured with g++ 12.2 outside of any sandbox.
"""

import gzip
import json
import re

import pytest

from plm.graders.code import CodeGrader
from plm.graders.extract import extract_code
from tests.graders import test_sandbox_abuse

SAMPLE = 10  # programs of each file in the default run

DIFFERENT = {
    # compares two variables before anything is put into them: here they start as zero, in every run
    "MBCPP/340": "crash",
}
ABSENT = {"CPP/22": "boost", "CPP/137": "boost", "CPP/162": "openssl"}  # headers that need not be installed


def read(folder, name):
    with gzip.open(folder / name, "rt") as file:
        return [json.loads(line) for line in file]


def humaneval_x(folder):
    for row in read(folder, "cpp/humaneval_x_cpp.jsonl.gz"):
        yield row["task_id"], row["prompt"] + row["canonical_solution"] + row["test"], row["local_result"]


def mbcpp_references(folder):
    for row in read(folder, "mbpp/mbcpp_release_v1.2.jsonl.gz"):
        if row["local_result"] is not None:  # 55 have no solution
            yield row["task_id"], row["prompt"] + row["canonical_solution"] + row["test"], row["local_result"]


def mbcpp_samples(folder):
    tasks = {row["task_id"]: row for row in read(folder, "mbpp/mbcpp_release_v1.2.jsonl.gz")}
    for row in read(folder, "mbpp/mbcpp_samples.jsonl.gz"):
        if task := tasks.get(row["task_id"]):  # the two files hold parts of one table
            yield row["task_id"], task["prompt"] + row["completion"] + task["test"], row["local_result"]


def replies(folder, name):
    """The function of a model's reply before the checks, without the main of its own that it often has.

    One that the length limit cut off in its main does not compile, and did not when it was measured.
    """
    for row in read(folder, name):
        code = re.sub(r"/\*.*?\*/", "", extract_code(row["gpt_solution"]), flags=re.DOTALL)
        own = re.search(r"^\s*(?:int|auto)\s+main\s*\(.*", code, re.MULTILINE | re.DOTALL)
        if own and own[0].count("{") == own[0].count("}"):
            code = code[: own.start()]
        yield row["name"], code + "\n" + row["tests"].removeprefix("}"), row["local_result"]


def humaneval_replies(folder):
    yield from replies(folder, "cpp/multipl_e_humaneval_cpp.jsonl.gz")


def mbpp_replies(folder):
    yield from replies(folder, "mbpp/multipl_e_mbpp_cpp.jsonl.gz")


@pytest.mark.parametrize("step", [pytest.param(0, id="sample"), pytest.param(1, id="all", marks=pytest.mark.slow)])
@pytest.mark.parametrize("programs", [humaneval_x, mbcpp_references, mbcpp_samples, humaneval_replies, mbpp_replies])
def test_programs_get_their_known_verdicts(data_folder, problem, programs, step):
    rows = list(programs(data_folder))
    rows = rows[:: step or -(-len(rows) // SAMPLE)]
    grades = CodeGrader().grade([problem(("", ""))] * len(rows), [program for _, program, _ in rows])
    different = {
        name: (known, grade.reason)
        for (name, _, known), grade in zip(rows, grades, strict=True)
        if (grade.reason == "correct") != (known == "pass") and not (name in ABSENT and grade.reason == "compile")
    }
    assert {name: reason for name, (_, reason) in different.items()} == {
        name: reason for name, reason in DIFFERENT.items() if name in {row[0] for row in rows}
    }, different
    compiled = [
        (known == "compile_error") == (grade.reason == "compile")
        for (name, _, known), grade in zip(rows, grades, strict=True)
        if name not in ABSENT
    ]
    assert all(compiled)


def test_every_attack_of_the_list_is_tried(data_folder):
    rows = [json.loads(line) for line in (data_folder / "grader" / "sandbox_abuse.jsonl").read_text().splitlines()]
    on_programs = {row["id"] for row in rows if row["category"] != "math grader"}
    assert len(rows) == 48 and on_programs <= set(test_sandbox_abuse.PROGRAMS)
