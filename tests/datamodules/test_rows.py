"""Real data: files go through `datasets`; whatever is wrong with them is one line that names file, row and column."""

import gzip
import json

import pytest

from plm.datamodules.rows import read_rows
from plm.errors import PlmError

COLUMNS = {"question": str, "answer": int}
ROWS = [{"question": "1 + 1?", "answer": 2, "more": [1]}, {"question": "2 + 2?", "answer": 4, "more": [2]}]


def lines(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json"])
def test_rows_come_back_with_what_else_they_hold(tmp_path, name):
    content = lines(ROWS)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    rows = read_rows(tmp_path / name, COLUMNS)
    assert rows == ROWS and [row.where for row in rows] == [f"{tmp_path / name}, row {n}" for n in (1, 2)]


def test_a_folder_is_read_in_the_order_of_names(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(lines(ROWS[:1]))
    (tmp_path / "a.jsonl").write_bytes(lines(ROWS[1:]))
    (tmp_path / "README.md").write_text("nothing")
    assert [row["answer"] for row in read_rows(tmp_path, COLUMNS)] == [4, 2]


def test_csv_with_and_without_a_header(tmp_path):
    (tmp_path / "a.csv").write_text('question,answer\n"one, two",2\n')
    assert read_rows(tmp_path / "a.csv", COLUMNS) == [{"question": "one, two", "answer": 2}]
    (tmp_path / "b.csv").write_text('"one, two",2\nNone,3\n')
    rows = read_rows(tmp_path / "b.csv", COLUMNS, names=["question", "answer"])
    assert rows == [{"question": "one, two", "answer": 2}, {"question": "None", "answer": 3}]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", lines([{"question": "x"}]), r"a\.jsonl: there is no column 'answer'; there are question"),
        (
            "a.jsonl",
            lines([ROWS[0], {"question": None, "answer": 1}]),
            "row 2: column 'question' is empty; it must be text",
        ),
        ("a.jsonl", lines([{"question": "x", "answer": "two"}]), "row 1: column 'answer' is 'two'; it must be a whole"),
        ("a.jsonl", lines(ROWS) + b"{oops}\n", r"a\.jsonl, row 3: not JSON"),
        ("a.jsonl", lines(ROWS) + b"[1]\n", r"row 3: \[1\] is no object"),
        ("a.jsonl", lines([*ROWS, {"question": 3, "answer": [1]}]), "row 3: column 'question' is 3; it must be text"),
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl.gz", gzip.compress(lines(ROWS * 50))[:-9], "cannot be read"),
        ("a.jsonl.gz", b"plain", "cannot be read: Not a gzipped file"),
        ("a.csv", b"question,answer\n", "there are no rows"),
        ("a.txt", b"x", "folder has no data files"),
    ],
)
def test_bad_files_are_one_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PlmError, match=message) as caught:
        read_rows(tmp_path if name == "a.txt" else tmp_path / name, COLUMNS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["missing.jsonl", "/no/where", "./a/b", "word"])
def test_what_is_not_there_is_one_line(source):
    with pytest.raises(PlmError, match="there is no such file or folder"):
        read_rows(source, COLUMNS)


def test_a_hub_name_that_cannot_be_had_is_one_line():
    with pytest.raises(PlmError, match="nobody/nothing: there is no such file or folder, and the Hugging Face Hub"):
        read_rows("nobody/nothing", COLUMNS)
