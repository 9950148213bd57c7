"""The MATH dataset: from the hub, from local files, or from the original folder of JSON files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from plm.datamodules.math_domains import GROUP_OF, LEVELS, NO_LEVEL, Domains, domain_of
from plm.datamodules.math_source import MathSource
from plm.datamodules.rows import FORMATS, Row, read_rows
from plm.datamodules.splits import Splits, normalized_text
from plm.errors import PlmError
from plm.graders.math import extract_answer
from plm.progress import say
from plm.records import Problem, Rendering
from plm.seeds import derive_seed

CONFIGS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
    "precalculus",
)  # fmt: skip
COLUMNS: Mapping[str, type] = {"problem": str, "level": str, "type": str, "solution": str}
BOXES = ("\\boxed", "\\fbox")
WEAK_SHARE = 0.2
"""Of the train problems; the others lock. Our choice, as is the next: the paper says 10 / 40 / 30 / 20 of all tasks."""
ELICIT_SHARE = 0.6
"""Of the test problems; the others are val."""

Half = Literal["train", "test"]
GivenSplit = Literal["weak", "lock", "elicit", "val"]


@dataclass(frozen=True, slots=True)
class RenderingColumns:
    """Where a file holds a problem in another setting.

    Args:
        problem: Column of the statement.
        solution: Column of a correct solution, which ends with the answer.
        answers: Policy → column of what it answered in this setting: a text, or a list of texts, which may be empty.
        instruction: What the statement ends with, on a line of its own, in the language and notation of this setting;
            nothing where it is empty. `MathDataModule`'s own is the same in every setting.
    """

    problem: str
    solution: str
    answers: Mapping[str, str] = field(default_factory=dict)
    instruction: str = ""


class MathFiles(MathSource):
    r"""The MATH dataset (Hendrycks et al. 2021), with its own division into train and test.

    The weak policy and the lock take from train, elicitation and validation from test (App. E.4 of the paper). How much
    each takes is our choice: 20 / 80 of the 7,500 train problems, 60 / 40 of the 5,000 test problems. A train problem
    whose text is a test problem's too is left out. Every row has `problem`, `level`, `type` and `solution` with a
    `\boxed{}` answer. Translations and weak answers are further columns, which another program wrote.

    Args:
        path: A data set of the hub; a folder with `train` and `test` in it, each a file (`train.jsonl.gz`) or a folder
            of files; the original folder `MATH`, with files such as `train/algebra/123.json`; or the file of the train
            problems.
        test: The file of the test problems, where `path` is a file.
        configs: Of the data set on the hub, which are read one after the other; None where it has a single one.
        answers: Policy → column of what it answered, such as `weak: weak_answer`.
        renderings: The problem in other settings, for a lock by setting (LCK-4): name → its columns. All settings of
            such a lock are named, also the one of `problem` and `solution`.
        splits: Column that names each row's split (`weak`, `lock`, `elicit` or `val`); `path` then is one file of all
            problems, such as `plm prepare math-setting` writes. Divided by chance where None.
    """

    template = "chat"

    def __init__(
        self,
        path: str = "EleutherAI/hendrycks_math",
        test: str | None = None,
        configs: Sequence[str] | None = CONFIGS,
        answers: Mapping[str, str] | None = None,
        renderings: Mapping[str, RenderingColumns] | None = None,
        splits: str | None = None,
    ) -> None:
        if splits is not None and test is not None:
            raise PlmError(f"MathFiles: {path} names the split of each problem ({splits}), so that there is no test")
        self.path = path
        self.files = (path,) if test is None else (path, test)
        self.test = test
        self.configs = configs
        self.own = RenderingColumns("problem", "solution", answers or {})
        self.renderings = renderings or {}
        self.splits = splits

    def load(self, seed: int, domains: Domains) -> Splits:
        """Reads both halves and splits each.

        Raises:
            PlmError: If there is no such data, or a row is not as it must be; the text names file, row and column.
        """
        if self.splits is not None:
            return self._given(self.splits, domains)
        train, test = (self._problems(half, domains) for half in ("train", "test"))
        tested = {problem.group for problem in test}
        kept = [problem for problem in train if problem.group not in tested]
        if len(kept) < len(train):
            say(f"{len(train) - len(kept)} train problems are left out: the same text is a test problem")
        weak, lock = split_share(kept, seed, WEAK_SHARE)
        elicit, val = split_share(test, seed, ELICIT_SHARE)
        splits: Splits = {"weak": weak, "lock": lock, "elicit": elicit, "val": val}
        self._check_empty(splits)
        return splits

    def _problems(self, half: Half, domains: Domains) -> list[Problem]:
        problems = [self._problem(row, name, domains) for name, row in self._rows(half)]
        if domains == "level" and (unknown := sum(problem.domain == NO_LEVEL for problem in problems)):
            say(f"{unknown} {half} problems have no level: they are kept, in a domain of their own ({NO_LEVEL!r})")
        return problems

    def _given(self, column: str, domains: Domains) -> Splits:
        """The splits that the file names."""
        splits: Splits = {name: [] for name in get_args(GivenSplit)}
        for name, row in _numbered("row", read_rows(self.path, {**self._columns(), column: str})):
            if row[column] not in splits:
                raise row.error(column, f"is {row[column]!r}; it must be one of {', '.join(splits)}")
            splits[row[column]].append(self._problem(row, name, domains))
        self._check_empty(splits)
        return splits

    def rows(self) -> dict[str, Row]:
        """All rows by the ids of their problems, as they were read: with the columns that no problem has."""
        return {_id(row, name): row for half in get_args(Half) for name, row in self._rows(half)}

    def _columns(self) -> dict[str, type]:
        return {**COLUMNS, **{name: str for columns in self.renderings.values() for name in _texts(columns)}}

    def _check_empty(self, splits: Splits) -> None:
        for name, problems in splits.items():
            if not problems:
                raise PlmError(f"{self.path}: the {name} split is empty; more problems are needed")

    def _rows(self, half: Half) -> Iterator[tuple[str, Row]]:
        """Rows with a name that stays the same from run to run."""
        columns = self._columns()
        path = Path(self.path).expanduser()
        if path.is_dir():
            found = _find_half(path, half)
            if original := sorted(found.glob("*/*.json")) if found.is_dir() else []:
                yield from ((str(file.relative_to(path)), _read_original(file, columns)) for file in original)
                return
            yield from _numbered(half, read_rows(found, columns))
        elif path.is_file():
            if self.test is None:
                raise PlmError(
                    f"{self.path} is a file of train problems: name the file of the test problems too (test)"
                )
            yield from _numbered(half, read_rows(path if half == "train" else self.test, columns))
        else:
            for config in self.configs or (None,):
                name = f"{half}/{config}" if config else half
                yield from _numbered(name, read_rows(self.path, columns, split=half, config=config))

    def _problem(self, row: Row, name: str, domains: Domains) -> Problem:
        if row["type"] not in GROUP_OF:
            raise row.error("type", f"is {row['type']!r}; it must be one of {', '.join(GROUP_OF)}")
        if row["level"] not in (*LEVELS, NO_LEVEL):
            raise row.error("level", f"is {row['level']!r}; it must be one of {', '.join(LEVELS)}, or {NO_LEVEL!r}")
        if not any(box in row["solution"] for box in BOXES):
            raise row.error("solution", "has no \\boxed{} answer, so that nothing could be graded")
        prompt, reference, answers = _rendering(row, self.own)
        return Problem(
            id=_id(row, name),
            prompt=prompt,
            domain=domain_of(row["type"], row["level"], domains),
            reference=reference,
            group=normalized_text(row["problem"]),
            answers=answers,
            renderings={setting: _rendering(row, columns) for setting, columns in self.renderings.items()},
        )


def _id(row: Row, name: str) -> str:
    return row["id"] if isinstance(row.get("id"), str) else name


def _texts(columns: RenderingColumns) -> tuple[str, str]:
    return columns.problem, columns.solution


def _rendering(row: Row, columns: RenderingColumns) -> Rendering:
    for column in _texts(columns):
        if not row[column].strip():
            raise row.error(column, "is blank")
    if extract_answer(row[columns.solution]) is None:
        raise row.error(columns.solution, "ends with no answer that the grader reads")
    answers = {policy: _stored(row, column) for policy, column in columns.answers.items()}
    statement = f"{row[columns.problem]}\n{columns.instruction}" if columns.instruction else row[columns.problem]
    return Rendering(statement, row[columns.solution], answers)


def _stored(row: Row, column: str) -> tuple[str, ...]:
    if column not in row:
        raise row.error(column, f"is missing; there are {', '.join(row)}")
    texts = [row[column]] if isinstance(row[column], str) else row[column]
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise row.error(column, "must be a text or a list of texts")
    return tuple(texts)


def _numbered(name: str, rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    return ((f"{name}/{number}", row) for number, row in enumerate(rows))


def _find_half(folder: Path, half: Half) -> Path:
    """The file or folder of a half."""
    named = [folder / half, *(folder / f"{half}{ending}{more}" for ending in FORMATS for more in ("", ".gz"))]
    for path in named:
        if path.exists():
            return path
    raise PlmError(f"{folder}: there is no {half} in it, neither a folder nor a file such as {half}.jsonl.gz")


def _read_original(file: Path, columns: Mapping[str, type]) -> Row:
    """One problem of the original folder, a JSON object a file."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlmError(f"{file}: it cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not isinstance(values, dict):
        raise PlmError(f"{file}: it is no object with columns")
    row = Row(values, str(file))
    for column in columns:
        if column not in row:
            raise row.error(column, f"is missing; there are {', '.join(row) or 'none'}")
        if not isinstance(row[column], str):
            raise row.error(column, f"is {row[column]!r:.40}; it must be text")
    return row


def split_share(problems: Sequence[Problem], seed: int, share: float) -> tuple[list[Problem], list[Problem]]:
    """Splits off a share of the problems, to the problem where each group is one; groups stay together.

    Each problem's place is decided by its group and the seed, so that the order of the rows changes nothing.
    """
    ranked = sorted(problems, key=lambda problem: (derive_seed(seed, "split", problem.group), problem.group))
    cut = round(share * len(ranked))
    while 0 < cut < len(ranked) and ranked[cut].group == ranked[cut - 1].group:
        cut += 1
    first = {problem.group for problem in ranked[:cut]}
    return [p for p in problems if p.group in first], [p for p in problems if p.group not in first]
