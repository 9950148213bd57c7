"""`plm grade`: verdicts on completions in a file, without a model."""

from __future__ import annotations

import codecs
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from plm.errors import PlmError
from plm.files import write_text_atomic
from plm.graders.base import Grader
from plm.progress import working
from plm.records import Grade, IOTest, Problem

STANDARD_INPUT = Path("-")
GZIP = b"\x1f\x8b"


class BadRowError(Exception):
    """A row that cannot be graded; the text says what is wrong with it."""


def run_grade(task: str, input: Path, output: Path, unsafe: bool = False, grader: Grader | None = None) -> int:
    """Grades the rows of a JSON lines file.

    A row of the task `code` is `{"id", "completion", "tests": [{"input", "output"}]}`; `TASKS` has the others. Each
    gives one row `{"id", "correct", "score", "extracted", "reason", "seconds"}` in the same order. An id may be any
    JSON value, also one that another row has. A row that cannot be graded is reported on standard error with its line
    number, counts as wrong, and its reason says what is the matter.

    Args:
        task: What is graded: a key of `TASKS`.
        input: The file of rows, UTF-8; `-` is standard input. Blank lines are skipped.
        output: The file of verdicts, which appears whole or not at all; not the input.
        unsafe: Whether to run programs without isolation where there is none.
        grader: Who grades; the task's own grader where None.

    Returns:
        The exit status: 0 if every row was graded, else 1.

    Raises:
        PlmError: If the task is unknown, the input cannot be read or no line of it is a JSON object, the output cannot
            be written, g++ is missing, or there is no isolation.
    """
    if task not in TASKS:
        raise PlmError(f"task is {task}; it must be one of: {', '.join(TASKS)}")
    _check_output(output, input)
    lines = _read_lines(input)
    problems: list[Problem] = []
    completions: list[str] = []
    ids: list[Any] = []
    errors: list[str | None] = []
    for number, line in lines:
        try:
            problem = _make_problem(task, row := _parse_row(line), number)
        except BadRowError as error:
            print(f"{input}:{number}: {error}", file=sys.stderr)
            ids.append(_find_id(line))
            errors.append(f"bad row: {error}")
            continue
        problems.append(problem)
        completions.append(row["completion"])
        ids.append(row["id"])
        errors.append(None)
    grades = iter(_grade(problems, completions, lambda: grader or TASKS[task].grader(unsafe)))
    rows = [
        _make_row(id_, next(grades) if error is None else Grade(False, 0.0, "", error, 0.0))
        for id_, error in zip(ids, errors, strict=True)
    ]
    write_text_atomic(os.path.realpath(output), "".join(json.dumps(row) + "\n" for row in rows))
    return int(any(errors))


def _grade(problems: list[Problem], completions: list[str], make_grader: Callable[[], Grader]) -> list[Grade]:
    if not problems:
        return []
    grader = make_grader()
    with working("grading", total=len(problems)) as advance:
        return grader.grade(problems, completions, progress=advance)


def _read_lines(path: Path) -> list[tuple[int, bytes]]:
    try:
        text = sys.stdin.buffer.read() if path == STANDARD_INPUT else path.read_bytes()
    except (OSError, ValueError) as error:
        raise PlmError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if text.startswith(GZIP):
        raise PlmError(f"{path} is compressed; unpack it first (gunzip)")
    text = text.removeprefix(codecs.BOM_UTF8)
    lines = [(number, line) for number, line in enumerate(text.split(b"\n"), 1) if line.strip()]
    if lines and not any(_is_object(line) for _, line in lines):
        raise PlmError(f"{path} is not JSON lines: no line of it is a JSON object")
    return lines


def _is_object(line: bytes) -> bool:
    try:
        _parse_row(line)
    except BadRowError:
        return False
    return True


def _check_output(path: Path, input: Path) -> None:
    """Fails before the work rather than after it."""
    try:
        exists = path.exists()
    except (OSError, ValueError) as error:
        raise PlmError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    if path.is_dir():
        raise PlmError(f"{path} is a folder; give the name of a file to write")
    if path == STANDARD_INPUT or (exists and not path.is_file()):
        raise PlmError(f"{path} is not a file; verdicts are written to a file, whole or not at all")
    if exists and input.exists() and path.samefile(input):
        raise PlmError(f"{path} is the input; give the name of another file to write")
    folder = Path(os.path.realpath(path)).parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise PlmError(f"{path} cannot be written: {folder} is not a folder that you may write to")


def _parse_row(line: bytes) -> Mapping[str, Any]:
    try:
        row = json.loads(line.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError) as error:
        raise BadRowError("not JSON") from error
    if not isinstance(row, dict):
        raise BadRowError("not a JSON object")
    return row


def _make_problem(task: str, row: Mapping[str, Any], number: int) -> Problem:
    for key in ("id", "completion", *TASKS[task].columns):
        if key not in row:
            raise BadRowError(f"no `{key}`")
    try:
        json.dumps(row["id"], allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise BadRowError("`id` cannot be written as JSON") from error
    if not isinstance(row["completion"], str):
        raise BadRowError("`completion` is not a string")
    return TASKS[task].problem(row, str(number))


def _code_problem(row: Mapping[str, Any], id: str) -> Problem:
    tests = row["tests"]
    if not isinstance(tests, list) or not tests:
        raise BadRowError("`tests` is not a list with at least one test")
    for i, test in enumerate(tests, 1):
        if not isinstance(test, dict) or not all(isinstance(test.get(key), str) for key in ("input", "output")):
            raise BadRowError(f"test {i} is not an object with strings `input` and `output`")
    pairs = tuple(IOTest(test["input"], test["output"]) for test in tests)
    return Problem(id=id, prompt="", domain="", reference="", tests=pairs)


def _code_grader(unsafe: bool) -> Grader:
    from plm.graders.code import CodeGrader

    return CodeGrader(unsafe=unsafe)


def _composition_problem(row: Mapping[str, Any], id: str) -> Problem:
    from plm.graders.composition import read_reference

    reference = row["reference"]
    if not isinstance(reference, str) or read_reference(reference) is None:
        raise BadRowError("`reference` is not a string of four digits, or of four, `|` and four")
    return Problem(id=id, prompt="", domain="", reference=reference)


def _composition_grader(unsafe: bool) -> Grader:
    from plm.graders.composition import CompositionGrader

    return CompositionGrader()


def _math_problem(row: Mapping[str, Any], id: str) -> Problem:
    reference = row["reference"]
    if not isinstance(reference, str) or not reference.strip():
        raise BadRowError("`reference` is not a string with a solution or an answer")
    return Problem(id=id, prompt="", domain="", reference=reference)


def _math_grader(unsafe: bool) -> Grader:
    from plm.graders.math import MathGrader

    return MathGrader()


def _mmlu_problem(row: Mapping[str, Any], id: str) -> Problem:
    from plm.graders.choice import LETTERS

    choices, answer = row["choices"], row["answer"]
    if isinstance(choices, int) and 2 <= choices <= len(LETTERS):  # how many: their texts are not known
        choices = [""] * choices
    if not isinstance(choices, list) or not 2 <= len(choices) <= len(LETTERS):
        raise BadRowError("`choices` is not a list of two or more options")
    if not all(isinstance(option, str) for option in choices):
        raise BadRowError("`choices` holds something that is not a string")
    letters = LETTERS[: len(choices)]
    if not isinstance(answer, str) or len(answer) != 1 or answer not in letters:
        raise BadRowError(f"`answer` is not one of the letters {letters[0]} to {letters[-1]}")
    return Problem(id=id, prompt="", domain="", reference=answer, choices=tuple(choices))


def _mmlu_grader(unsafe: bool) -> Grader:
    from plm.graders.choice import ChoiceGrader

    return ChoiceGrader()


def _critique_problem(row: Mapping[str, Any], id: str) -> Problem:
    reference = row["reference"]
    if not isinstance(reference, str) or not reference.strip():
        raise BadRowError("`reference` is not a string with a critique")
    return Problem(id=id, prompt="", domain="", reference=reference)


def _critique_grader(unsafe: bool) -> Grader:
    from plm.graders.critique import CritiqueGrader

    return CritiqueGrader()


def _style_problem(row: Mapping[str, Any], id: str) -> Problem:
    return Problem(id=id, prompt="", domain="", reference="")


def _style_grader(unsafe: bool) -> Grader:
    from plm.graders.style import StyleGrader

    return StyleGrader()


class GradedTask(NamedTuple):
    """What `plm grade` needs to know about a task.

    Attributes:
        columns: What a row has beside `id` and `completion`.
        problem: Turns a row and an id into a problem, or raises `BadRowError`.
        grader: Makes the grader; the argument is whether to run programs without isolation.
    """

    columns: tuple[str, ...]
    problem: Callable[[Mapping[str, Any], str], Problem]
    grader: Callable[[bool], Grader]


TASKS = {
    "code": GradedTask(("tests",), _code_problem, _code_grader),
    "math": GradedTask(("reference",), _math_problem, _math_grader),
    "composition": GradedTask(("reference",), _composition_problem, _composition_grader),
    "mmlu": GradedTask(("choices", "answer"), _mmlu_problem, _mmlu_grader),
    "critique": GradedTask(("reference",), _critique_problem, _critique_grader),
    "style": GradedTask((), _style_problem, _style_grader),
}


def _find_id(line: bytes) -> Any:
    try:
        id_ = _parse_row(line).get("id")
        json.dumps(id_, allow_nan=False)
    except (BadRowError, ValueError, RecursionError):
        return None
    return id_


def _make_row(id_: Any, grade: Grade) -> dict[str, Any]:
    return {"id": id_, **grade._asdict()}
