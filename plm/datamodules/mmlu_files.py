"""The MMLU data set: from the hub, from files with the hub's columns, or from the official CSV files."""

from __future__ import annotations

import contextlib
import csv
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from plm.datamodules.mmlu import MMLUSource, example, statement
from plm.datamodules.mmlu_domains import Domains, domain_of
from plm.datamodules.rows import Row, find_files, read_rows
from plm.datamodules.splits import PAPER_SHARES, Splits, normalized_text, split_by_group
from plm.errors import PlmError
from plm.graders.choice import LETTERS
from plm.progress import say
from plm.records import Problem

Part = Literal["test", "val"]

OPTIONS = 4
HUB_SPLITS: dict[Part, str] = {"test": "test", "val": "validation"}
FIRST_VERSION: dict[Part, int] = {"test": 14_079, "val": 1_542}  # the corrected one has 14,042 and 1,531


class Question(NamedTuple):
    """One row: which part of MMLU and which subject it is from, and where it stands."""

    part: Part
    subject: str
    question: str
    choices: tuple[str, ...]
    answer: int
    where: str


class MMLUFiles(MMLUSource):
    """The questions of MMLU's test and validation parts (Hendrycks et al. 2020), corrected version: 15,573.

    A question that repeats another, character by character with the same options in the same order, is left out, in
    whatever subject it stands: 134 of them, which leaves the 15,439 that the paper counts. The first is kept, in the
    order test, val and of the subjects' names. What remains equal but for case, blanks or the order of options stays in
    one split. The dev part is not read: the example of one-shot prompts is plm's own.

    Args:
        path: A data set of the hub; a folder with `test` and `val` (or `validation`) files of the hub's columns
            `question`, `subject`, `choices` and `answer` (0 to 3), for instance `test.jsonl.gz`; the official folder
            `data`, with `test/SUBJECT_test.csv`; or a `.tar.gz` of it.
        config: Of the data set on the hub.
    """

    one_shot = True
    example = example(
        "A thermometer on a wall is used to measure one of the following. Which one?",
        ("The height of the wall", "The temperature of the room", "The age of the building", "The price of the paint"),
        "B",
    )

    def __init__(self, path: str = "cais/mmlu", config: str | None = "all") -> None:
        self.path = path
        self.files = (path,)
        self.config = config

    def load(self, seed: int, domains: Domains) -> Splits:
        """Reads all questions and splits them 10 / 40 / 30 / 20 (§4.2 of the paper)."""
        questions = sorted(self._read(), key=lambda one: (one.part != "test", one.subject))
        kept = {(one.question, one.choices): one for one in reversed(questions)}
        numbers: dict[tuple[str, str], int] = {}
        problems = []
        for one in questions:
            number = numbers[one.part, one.subject] = numbers.get((one.part, one.subject), -1) + 1
            if kept[one.question, one.choices] is one:
                problems.append(_problem(one, number, domains))
        say(f"  MMLU: {len(problems)} questions; {len(questions) - len(problems)} of {len(questions)} are repeated")
        return split_by_group(problems, seed, PAPER_SHARES)

    def _read(self) -> list[Question]:
        path = Path(self.path).expanduser()
        if path.is_file() and tarfile.is_tarfile(path):
            with _unpacked(path) as folder:
                return _checked(list(_read_official(folder, str(path))))
        if path.is_dir() and any((path / name / "test").is_dir() for name in (".", "data")):
            return _checked(list(_read_official(path, self.path)))
        if path.is_file():
            raise PlmError(
                f"{path}: MMLU is a folder with test and val files, or an intact .tar.gz of the official folder"
            )
        return _checked([question for part in HUB_SPLITS for question in self._read_hub_columns(part)])

    def _read_hub_columns(self, part: Part) -> Iterator[Question]:
        columns: dict[str, type] = {"question": str, "subject": str, "choices": list, "answer": int}
        folder = Path(self.path).expanduser()
        if folder.is_dir():
            rows = read_rows(_part_file(folder, part), columns)
        else:
            find_files(self.path)  # says so where it is neither a path nor a hub name
            rows = read_rows(self.path, columns, split=HUB_SPLITS[part], config=self.config)
        yield from (_question(row, part) for row in rows)


def _problem(one: Question, number: int, domains: Domains) -> Problem:
    group = "\n".join([normalized_text(one.question), *sorted(normalized_text(choice) for choice in one.choices)])
    return Problem(
        f"{one.part}/{one.subject}/{number}",
        statement(one.question, one.choices),
        domain_of(one.subject, domains, one.where),
        LETTERS[one.answer],
        group=group,
        choices=one.choices,
    )


def _question(row: Row, part: Part) -> Question:
    choices = row["choices"]
    if len(choices) != OPTIONS or not all(isinstance(choice, str) for choice in choices):
        raise row.error("choices", f"must hold {OPTIONS} texts; it holds {len(choices)} values")
    if not 0 <= row["answer"] < OPTIONS:
        raise row.error("answer", f"is {row['answer']}; it must be the number of an option, 0 to {OPTIONS - 1}")
    if not row["question"].strip():
        raise row.error("question", "is empty")
    return Question(part, row["subject"], row["question"], tuple(choices), row["answer"], row.where)


def _part_file(folder: Path, part: Part) -> Path:
    names = {part, HUB_SPLITS[part]}
    found = [file for file in find_files(str(folder)) or [] if file.name.split(".")[0].split("-")[0] in names]
    if len(found) != 1:
        raise PlmError(f"{folder}: there must be one file {part}.jsonl (or .parquet, .csv, .gz), not {len(found)}")
    return found[0]


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[Path]:
    """The content of an archive in a temporary folder; members that would lie elsewhere are refused."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with tarfile.open(path) as archive:
                archive.extractall(folder, filter="data")
        except (tarfile.TarError, OSError, EOFError) as error:
            raise PlmError(f"{path}: it cannot be unpacked ({' '.join(str(error).split())}); fetch it again") from error
        yield Path(folder)


def _read_official(folder: Path, shown: str) -> Iterator[Question]:
    """Reads `test/SUBJECT_test.csv` and `val/SUBJECT_val.csv`: no header; question, four options, letter.

    Not through `datasets`, which would take a column of numbers for numbers and needs half a minute for the 114 files.
    """
    root = folder if (folder / "test").is_dir() else folder / "data"
    for part in HUB_SPLITS:
        files = sorted((root / part).glob(f"*_{part}.csv"))
        if not files:
            raise PlmError(f"{shown}: there are no files {part}/SUBJECT_{part}.csv")
        for file in files:
            yield from _read_csv(file, part, f"{shown}: {file.relative_to(folder)}")


def _read_csv(file: Path, part: Part, shown: str) -> Iterator[Question]:
    subject = file.name.removesuffix(f"_{part}.csv")
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.reader(lines, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise PlmError(f"{shown}: it cannot be read as CSV: {error}") from error
    if not rows:
        raise PlmError(f"{shown}: there are no rows")
    for number, row in enumerate(rows, 1):
        where = f"{shown}, row {number}"
        if len(row) != OPTIONS + 2:
            raise PlmError(f"{where}: it has {len(row)} columns; it must have question, {OPTIONS} options and letter")
        question, *choices, letter = row
        if len(letter) != 1 or letter not in LETTERS[:OPTIONS]:
            raise PlmError(
                f"{where}: column 6 is {letter[:20]!r}; it must be a letter from A to {LETTERS[OPTIONS - 1]}"
            )
        if not question.strip():
            raise PlmError(f"{where}: column 1 is empty; it must be a question")
        yield Question(part, subject, question, tuple(choices), LETTERS.index(letter), where)


def _checked(questions: list[Question]) -> list[Question]:
    """Says so where this is the first published version, whose texts were corrected later."""
    for part, size in FIRST_VERSION.items():
        if sum(one.part == part for one in questions) == size:
            say(
                f"  MMLU: {size} {part} questions are the uncorrected first version: take cais/mmlu, which is corrected"
            )
    return questions
