"""The style task from real Python files: functions with docstrings, as they were written."""

from __future__ import annotations

import ast
import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from plm.datamodules.mini_style import spoil
from plm.datamodules.rows import read_rows
from plm.datamodules.splits import SplitName, Splits, split_by_group
from plm.datamodules.style import StyleSource
from plm.errors import PlmError
from plm.graders.style import LEAST_STATEMENTS, StyleGrader
from plm.progress import say, working
from plm.records import Problem

SHARES: dict[SplitName, float] = {"corpus": 0.6, "weak": 0.04, "lock": 0.16, "elicit": 0.12, "val": 0.08}
LONGEST = 2_000  # characters of a function
WIDTH = 79
WEAK = ("two_blanks", "spaced_calls")


class StyleFiles(StyleSource):
    """Functions of Python files: the statement is a comment with the first line of the docstring.

    Every top-level function with a docstring and of at most 2,000 characters is judged as it stands. Six tenths, of
    both kinds, are the corpus; of the others those that comply are split 10 / 40 / 30 / 20, and their weak answer is
    the same function indented by two blanks, with a blank before each bracket of a call (our choice; a model can take
    its place). Functions that are trivial or cannot be judged are left out. What is kept is said.

    Args:
        path: Files of rows (`.jsonl`, `.parquet`, …), a folder of them, or a data set of the Hugging Face Hub.
        column: The column with a file's text.
        split: Of a data set on the hub.
        most: Functions to use, the first ones; None for all.
    """

    def __init__(
        self, path: Path | str, column: str = "content", split: str = "train", most: int | None = None
    ) -> None:
        self.path = path
        self.files = (str(path),)
        self.column = column
        self.split = split
        self.most = most

    def load(self, seed: int) -> Splits:
        """Reads, judges and splits.

        Raises:
            PlmError: If the file cannot be read, or there are no functions of either kind.
        """
        found: dict[str, Problem] = {}
        for row in read_rows(self.path, {self.column: str}, split=self.split):
            for problem in _functions(row[self.column]):
                found.setdefault(problem.id, problem)
            if self.most is not None and len(found) >= self.most:
                break
        problems = list(found.values())[: self.most]
        with working("judging style", total=len(problems)) as advance:
            texts = [problem.reference for problem in problems]
            grades = StyleGrader(LEAST_STATEMENTS).grade(problems, texts, progress=advance)
        good = {problem.id for problem, grade in zip(problems, grades, strict=True) if grade.correct}
        bad = {problem.id for problem, grade in zip(problems, grades, strict=True) if grade.reason == "wrong"}
        say(f"{len(problems)} functions with a docstring: {len(good)} comply, {len(bad)} do not; others are left out")
        if not good or not bad:
            raise PlmError(f"{self.path}: {len(good)} functions comply and {len(bad)} do not; both kinds are needed")
        splits = split_by_group([problem for problem in problems if problem.id in good | bad], seed, SHARES)
        for name in splits:
            if name != "corpus":
                splits[name] = [problem for problem in splits[name] if problem.id in good and problem.answers]
        return splits


def _functions(text: str) -> Iterator[Problem]:
    """The top-level functions of a file that say what they do; none of what is no Python."""
    text = text.replace("\r\n", "\n")
    tree = _parse(text)
    for node in tree.body if tree else ():
        if not isinstance(node, ast.FunctionDef) or node.decorator_list or not (said := ast.get_docstring(node)):
            continue
        code = "\n".join(text.split("\n")[node.lineno - 1 : node.end_lineno])
        if len(code) > LONGEST or not said.strip():
            continue
        comment = f"# {' '.join(said.strip().splitlines()[0].split())}"[:WIDTH]
        id = hashlib.sha256(f"{comment}\n{code}".encode("utf-8", "replace")).hexdigest()[:16]
        yield Problem(f"function-{id}", comment, "python", code, group=id, answers=_weak(code))


def _weak(code: str) -> dict[str, tuple[str, ...]]:
    """The function in bad style; nothing where the rewrite would change it, as inside of some f-strings."""
    try:
        text = spoil(f"{code}\n", WEAK).removesuffix("\n")
    except ValueError:
        return {}
    before, after = _parse(code), _parse(text)
    same = before is not None and after is not None and ast.dump(before) == ast.dump(after)
    return {"weak": (text,)} if same else {}


def _parse(text: str) -> ast.Module | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None
