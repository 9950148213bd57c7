"""`plm grade`: files in, files out, and what a person reads when something is wrong."""

import gzip
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from plm.errors import PlmError
from plm.grade import run_grade

ADD = "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }\n"
TESTS = [{"input": "1 2\n", "output": "3\n"}]


def write_rows(path, rows):
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def read_rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_grades_rows_in_order(tmp_path):
    rows = [
        {"id": "b", "completion": f"Here:\n```cpp\n{ADD}```\n", "tests": TESTS},
        {"id": 7, "completion": ADD.replace("+", "-"), "tests": TESTS},
        {"id": "b", "completion": "I do not know", "tests": TESTS},
    ]
    source = write_rows(tmp_path / "in.jsonl", rows)
    assert run_grade("code", source, tmp_path / "out.jsonl", False) == 0
    out = read_rows(tmp_path / "out.jsonl")
    assert [(row["id"], row["correct"], row["score"], row["reason"]) for row in out] == [
        ("b", True, 1.0, "correct"),
        (7, False, 0.0, "wrong"),
        ("b", False, 0.0, "parse"),
    ]
    assert out[0]["extracted"] == ADD
    assert 0 <= out[0]["seconds"] < 0.5
    assert list(out[0]) == ["id", "correct", "score", "extracted", "reason", "seconds"]


def test_a_bad_row_is_reported_and_the_others_are_graded(tmp_path, capfd):
    rows = [
        {"id": 1, "completion": ADD, "tests": TESTS},
        "{not json",
        {"id": 3, "completion": ADD},
        {"id": 4, "completion": 5, "tests": TESTS},
        {"id": 5, "completion": ADD, "tests": [{"input": 1, "output": "3"}]},
        {"id": 6, "completion": ADD, "tests": []},
        "[1]",
        {"id": 8, "completion": ADD, "tests": TESTS},
    ]
    source = write_rows(tmp_path / "in.jsonl", rows)
    assert run_grade("code", source, tmp_path / "out.jsonl", False) == 1
    out = read_rows(tmp_path / "out.jsonl")
    assert [row["id"] for row in out] == [1, None, 3, 4, 5, 6, None, 8]
    assert [row["correct"] for row in out] == [True, False, False, False, False, False, False, True]
    assert out[2]["reason"] == "bad row: no `tests`"
    errors = capfd.readouterr().err
    for number in range(2, 8):
        assert f"in.jsonl:{number}: " in errors
    assert "in.jsonl:1: " not in errors


def test_an_empty_file_gives_an_empty_file(tmp_path):
    assert run_grade("code", write_rows(tmp_path / "in.jsonl", []), tmp_path / "out.jsonl", False) == 0
    assert (tmp_path / "out.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("task", "name", "content", "output", "message"),
    [
        ("poetry", "in.jsonl", "", "out.jsonl", "task is poetry"),
        ("code", "absent.jsonl", None, "out.jsonl", "absent.jsonl cannot be read: No such file"),
        ("code", "in.jsonl", "hello\nworld\n", "out.jsonl", "not JSON lines"),
        ("code", "in.jsonl", "{}\n", ".", "is a folder"),
        ("code", "in.jsonl", "{}\n", "in.jsonl/out.jsonl", "cannot be written"),
        ("code", "in.jsonl", "{}\n", "in.jsonl", "is the input"),
        ("code", "in.jsonl", "{}\n", "/dev/null", "is not a file"),
        ("code", "in.jsonl", "{}\n", "x" * 300, "cannot be written: File name too long"),
    ],
)
def test_one_clear_line(tmp_path, task, name, content, output, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(PlmError, match=message) as caught:
        run_grade(task, tmp_path / name, tmp_path / output, False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"{}\n", mtime=0), "is compressed"),
        ("{}\n{}\n".encode("utf-16"), "not JSON lines"),
        (b'[\n {"id": 1,\n "completion": ""}\n]\n', "not JSON lines"),
    ],
    ids=["gzip", "utf-16", "a list"],
)
def test_what_is_not_json_lines_gives_one_line(tmp_path, capfd, content, message):
    (tmp_path / "in.jsonl").write_bytes(content)
    with pytest.raises(PlmError, match=message):
        run_grade("code", tmp_path / "in.jsonl", tmp_path / "out.jsonl")
    assert capfd.readouterr().err == ""


def test_ids_are_any_json_value(tmp_path):
    ids = [None, True, 1.5, [1, [2]], {"a": 1}, "", "\ud800", 10**30, "same", "same"]
    rows = [{"id": id_, "completion": ADD, "tests": TESTS} for id_ in ids]
    assert run_grade("code", write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl") == 0
    assert [(row["id"], row["correct"]) for row in read_rows(tmp_path / "out.jsonl")] == [(id_, True) for id_ in ids]


@pytest.mark.parametrize("id_", ["NaN", "1e999", "[" * 100_000 + "]" * 100_000])
def test_an_id_that_json_does_not_have(tmp_path, id_):
    row = json.dumps({"completion": ADD, "tests": TESTS})
    source = write_rows(tmp_path / "in.jsonl", [f'{{"id": {id_}, {row[1:]}', '{"id": 2}'])
    assert run_grade("code", source, tmp_path / "out.jsonl") == 1
    assert [row["id"] for row in read_rows(tmp_path / "out.jsonl")] == [None, 2]
    assert "NaN" not in (tmp_path / "out.jsonl").read_text()


def test_a_byte_order_mark_and_carriage_returns(tmp_path):
    row = json.dumps({"id": 1, "completion": ADD, "tests": TESTS})
    (tmp_path / "in.jsonl").write_bytes(b"\xef\xbb\xbf" + row.encode() + b"\r\n")
    assert run_grade("code", tmp_path / "in.jsonl", tmp_path / "out.jsonl") == 0
    assert read_rows(tmp_path / "out.jsonl")[0]["correct"]


def test_standard_input_and_a_linked_output(tmp_path, monkeypatch):
    row = json.dumps({"id": 1, "completion": ADD, "tests": TESTS})
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(row.encode())))
    (tmp_path / "link").symlink_to(tmp_path / "out.jsonl")
    assert run_grade("code", Path("-"), tmp_path / "link") == 0
    assert (tmp_path / "link").is_symlink()
    assert read_rows(tmp_path / "out.jsonl")[0]["correct"]


def test_a_failure_leaves_the_old_output(tmp_path, monkeypatch):
    source = write_rows(tmp_path / "in.jsonl", [{"id": 1, "completion": ADD, "tests": TESTS}])
    (tmp_path / "out.jsonl").write_text("old")
    monkeypatch.setenv("PATH", str(tmp_path))
    from plm.graders.toolchain import load_toolchain

    load_toolchain.cache_clear()
    with pytest.raises(PlmError, match=r"g\+\+ is not installed"):
        run_grade("code", source, tmp_path / "out.jsonl", False)
    load_toolchain.cache_clear()
    assert (tmp_path / "out.jsonl").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_starts_without_torch():
    code = (
        "import sys, plm.grade; sys.exit(any(name in sys.modules for name in ('torch', 'lightning', 'transformers')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
