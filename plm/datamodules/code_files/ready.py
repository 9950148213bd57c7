"""C++ problems that are ready, in files of plm's own: what a teacher made of published ones, or what you have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from plm.datamodules.code import CodeSource
from plm.datamodules.rows import Row, read_rows
from plm.datamodules.splits import Splits, split_by_group
from plm.progress import say
from plm.records import IOTest, Problem

COLUMNS: Mapping[str, type] = {"id": str, "prompt": str, "tests": list, "reference": str}


class CodeFiles(CodeSource):
    """C++ problems from files, a row each: `{id, prompt, tests, reference, domain?, group?, answers?}`.

    `tests` is a list of `{input, output}`, `reference` a C++ program (empty where there is none), `answers` what
    policies wrote, such as `{"weak": ["int main() …"], "teacher": […]}`: of several one is drawn each round (App.
    C.1 of the paper). The problems are split 10 / 40 / 30 / 20 (§4.2 of the paper); those with the same `group`, text
    or program stay together.

    Args:
        path: A file (`.jsonl`, `.json`, `.parquet`, also gzipped), a folder of such files, or a data set of the hub.
        corpus: More problems, in the same form, for a model from scratch; `tests` may be empty there.
        split: Of a data set on the hub.
    """

    def __init__(self, path: str, corpus: str | None = None, split: str = "train") -> None:
        self.path = path
        self.files = (path,)
        self.corpus = corpus
        self.split = split

    def load(self, seed: int) -> Splits:
        """Reads and splits the problems.

        Raises:
            PlmError: If there is no such data or a row is not as it must be; the text names file, row and column.
        """
        problems = self.problems()
        if missing := sum(not problem.reference for problem in problems):
            say(f"{self.path}: {missing} of {len(problems)} problems have no reference: they can be measured only")
        splits = split_by_group(problems, seed)
        return {**splits, "corpus": self._read(self.corpus, tests_needed=False)} if self.corpus else splits

    def problems(self) -> list[Problem]:
        """All problems of `path`, in their order; raises as `load` does."""
        return self._read(self.path, tests_needed=True)

    def _read(self, path: str, *, tests_needed: bool) -> list[Problem]:
        first: dict[str, str] = {}
        problems: list[Problem] = []
        for row in read_rows(path, COLUMNS, split=self.split):
            problem = _as_problem(row, tests_needed=tests_needed)
            if first.setdefault(problem.id, row.where) != row.where:
                raise row.error("id", f"is {problem.id!r}, as in {first[problem.id]}; each problem has its own")
            problems.append(problem)
        return problems


def _as_problem(row: Row, *, tests_needed: bool) -> Problem:
    for column in ("id", "prompt"):
        if not row[column].strip():
            raise row.error(column, "is blank")
    if tests_needed and not row["tests"]:
        raise row.error("tests", "is an empty list; programs are graded by their tests")
    return Problem(
        id=row["id"],
        prompt=row["prompt"],
        domain=_optional(row, "domain") or "code",
        reference=row["reference"],
        tests=tuple(_as_test(row, test, number) for number, test in enumerate(row["tests"], 1)),
        group=_optional(row, "group"),
        answers=_answers(row),
    )


def _as_test(row: Row, test: Any, number: int) -> IOTest:
    if not isinstance(test, dict) or not all(isinstance(test.get(key), str) for key in ("input", "output")):
        raise row.error("tests", f"has a test, number {number}, without texts `input` and `output`: {test!r:.40}")
    return IOTest(test["input"], test["output"])


def _optional(row: Row, column: str) -> str:
    value = row.get(column)
    if value is not None and not isinstance(value, str):
        raise row.error(column, f"is {value!r:.40}; it must be text")
    return value or ""


def _answers(row: Row) -> dict[str, tuple[str, ...]]:
    """Policy → what it wrote; a policy that another row names and this one does not has written nothing here."""
    value = row.get("answers")
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise row.error("answers", f"is {value!r:.40}; it must be an object, policy by policy")
    answers: dict[str, tuple[str, ...]] = {}
    for policy, texts in value.items():
        texts = [texts] if isinstance(texts, str) else texts or []
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise row.error("answers", f"of policy {policy!r} must be a list of texts")
        if texts:
            answers[policy] = tuple(texts)
    return answers
