"""Code problems from files: plm's own rows, APPS and MBPP as published; what is wrong with a file is one line."""

import gzip
import io
import json
import re
import tarfile

import pytest

from plm.datamodules import AppsMbppCode, CodeDataModule, CodeFiles
from plm.datamodules.code_files import read_apps, read_mbpp
from plm.errors import PlmError
from plm.policies import DatasetPolicy, ReferencePolicy
from plm.records import IOTest
from tests.graders.conftest import data_folder  # noqa: F401 (a fixture)

ADD = "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + %d * b; }\n"


def ready(i, **more):
    row = {
        "id": f"p{i}", "prompt": f"Add {i} times b to a.", "reference": ADD % i,
        "tests": [{"input": "1 2", "output": str(1 + 2 * i)}, {"input": "0 0", "output": "0"}],
    }  # fmt: skip
    return {**row, **more}


def write(path, rows):
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return str(path)


# -- plm's own rows ------------------------------------------------------------------------------------------------


def test_ready_problems_come_back_as_they_are(tmp_path):
    more = {"domain": "sums", "answers": {"weak": ["int main() {}"], "teacher": [ADD % 1, "x"]}}
    path = write(tmp_path / "a.jsonl.gz", [ready(1, **more), ready(2, answers={"weak": "int main() { return 1; }"})])
    (first, second) = CodeFiles(path)._read(path, tests_needed=True)
    assert (first.id, first.prompt, first.domain, first.reference) == ("p1", "Add 1 times b to a.", "sums", ADD % 1)
    assert first.tests == (IOTest("1 2", "3"), IOTest("0 0", "0"))
    assert first.answers == {"weak": ("int main() {}",), "teacher": (ADD % 1, "x")}
    assert (second.domain, second.answers) == ("code", {"weak": ("int main() { return 1; }",)})


def test_the_task_splits_grades_and_answers_from_a_file(tmp_path):
    path = write(tmp_path / "a.jsonl", [ready(i, answers={"weak": ["int main() {}"]}) for i in range(60)])
    corpus = write(tmp_path / "c.jsonl", [ready(i, id=f"c{i}", prompt=f"Say {i}.", tests=[]) for i in range(100, 103)])
    task = CodeDataModule(CodeFiles(path, corpus=corpus))
    counts = {name: len(task.split(name)) for name in ("weak", "lock", "elicit", "val", "corpus")}
    assert sum(counts.values()) == 63 and counts["corpus"] == 3 and min(counts.values()) >= 1
    problems = task.split("val")
    assert all(grade.correct for grade in task.grader.grade(problems, ReferencePolicy().answers(problems, 0)))
    weak = task.grader.grade(problems[:1], DatasetPolicy("weak").answers(problems[:1], 0))
    assert weak[0].reason == "wrong"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tests": []}, "row 2: column 'tests' is an empty list; programs are graded by their tests"),
        ({"tests": [{"input": "1"}]}, "row 2: column 'tests' has a test, number 1, without texts `input` and `output`"),
        ({"tests": "none"}, "row 2: column 'tests' is 'none'; it must be a list"),
        ({"prompt": " "}, "row 2: column 'prompt' is blank"),
        ({"id": "p1"}, r"row 2: column 'id' is 'p1', as in .*a\.jsonl, row 1"),
        ({"reference": None}, "row 2: column 'reference' is empty; it must be text"),
        ({"domain": 3}, "row 2: column 'domain' is 3; it must be text"),
        ({"answers": ["x"]}, "row 2: column 'answers' is .*; it must be an object"),
        ({"answers": {"weak": [1]}}, "row 2: column 'answers' of policy 'weak' must be a list of texts"),
    ],
)
def test_a_bad_row_is_one_line(tmp_path, change, message):
    path = write(tmp_path / "a.jsonl", [ready(1), ready(2, **change)])
    with pytest.raises(PlmError, match=message) as caught:
        CodeFiles(path).load(0)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_missing_column_and_a_corrupt_file_are_one_line(tmp_path):
    row = ready(1)
    del row["reference"]
    with pytest.raises(PlmError, match=r"a\.jsonl: there is no column 'reference'; there are id, prompt, tests"):
        CodeFiles(write(tmp_path / "a.jsonl", [row])).load(0)
    path = tmp_path / "b.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(ready(1)).encode() * 50)[:-9])
    with pytest.raises(PlmError, match=r"b\.jsonl\.gz: it cannot be read"):
        CodeFiles(str(path)).load(0)


def test_problems_without_a_reference_are_counted_and_not_trained_on(tmp_path, capsys):
    path = write(tmp_path / "a.jsonl", [ready(1), ready(2, reference="")])
    problems = [problem for split in CodeFiles(path).load(0).values() for problem in split]
    assert "1 of 2 problems have no reference" in capsys.readouterr().err
    with pytest.raises(PlmError, match="problem p2 has no reference"):
        ReferencePolicy().answers(problems, 0)


# -- APPS and MBPP -------------------------------------------------------------------------------------------------


def apps(i, **more):
    tests = json.dumps({"inputs": ["1 2\n", ["3", "4"]], "outputs": ["3\n", ["7"]]})
    row = {
        "problem_id": i, "question": f"Add {i}.", "solutions": json.dumps(["print(1)"]), "input_output": tests,
        "difficulty": "interview", "url": "", "starter_code": "",
    }  # fmt: skip
    return {**row, **more}


CALL = json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [2]})
NO_OUTPUT = json.dumps({"inputs": ["1"], "outputs": [""]})


def test_kinds_of_apps_are_recognized_and_counted(tmp_path, capsys):
    rows = [
        apps(1), apps(2, input_output=CALL), apps(3, starter_code="def f(x):"), apps(4, input_output=""),
        apps(5, difficulty="competition"), apps(6, input_output=NO_OUTPUT), apps(7, input_output="{}", solutions=""),
    ]  # fmt: skip
    path = write(tmp_path / "a.jsonl", rows)
    problems = read_apps(path)
    assert [problem.kind for problem in problems] == ["stdin", "call", "call", "none", "stdin", "none", "none"]
    assert problems[0].tests == (IOTest("1 2\n", "3\n"), IOTest("3\n4", "7"))
    assert (problems[0].solutions, problems[6].solutions) == (("print(1)",), ())
    (kept,) = [problem for split in AppsMbppCode(apps=path).load(0).values() for problem in split]
    assert (kept.id, kept.domain, kept.reference, kept.answers) == (
        "apps-a-1",
        "interview",
        "",
        {"python": ("print(1)",)},
    )
    said = capsys.readouterr().err
    assert "1 of 7 problems are kept (input and output); dropped: 3 without tests; 2 tested by calls" in said
    assert "1 of competition level" in said
    kept = AppsMbppCode(apps=[path], competition=True).load(0)
    assert sorted(problem.id for split in kept.values() for problem in split) == ["apps-a-1", "apps-a-5"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_output": "{oops"}, "row 2: column 'input_output' is not JSON: "),
        ({"input_output": "[1]"}, "row 2: column 'input_output' is JSON, but no object"),
        ({"input_output": '{"inputs": ["1", "2"], "outputs": ["1"]}'}, "'input_output' has 2 inputs and 1 outputs"),
        ({"input_output": '{"inputs": [1], "outputs": ["1"]}'}, "'input_output' has a test, number 1, that is no text"),
        ({"input_output": '{"inputs": "1", "outputs": "1"}'}, "'input_output' must hold lists"),
        ({"solutions": "[1]"}, "row 2: column 'solutions' must be a list of texts"),
        ({"difficulty": "easy"}, "row 2: column 'difficulty' is 'easy'; it must be one of introductory"),
        ({"question": None}, "row 2: column 'question' is empty"),
        ({"problem_id": 1}, "the problem apps-a-1 is there twice"),
    ],
)
def test_a_bad_row_of_apps_is_one_line(tmp_path, change, message):
    path = write(tmp_path / "a.jsonl", [apps(1), apps(2, **change)])
    with pytest.raises(PlmError, match=message) as caught:
        read_apps(path)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_problems_of_two_files_have_different_names(tmp_path):
    """Both halves of APPS count from 0."""
    (tmp_path / "data").mkdir()
    files = [write(tmp_path / "data" / f"{name}.jsonl", [apps(0, question=name)]) for name in ("test", "train")]
    assert [problem.id for problem in read_apps(str(tmp_path / "data"))] == ["apps-data-test-0", "apps-data-train-0"]
    splits = AppsMbppCode(apps=files).load(0)
    assert sorted(problem.id for split in splits.values() for problem in split) == ["apps-test-0", "apps-train-0"]
    with pytest.raises(PlmError, match="AppsMbppCode: the problem apps-test-0 is there twice"):
        AppsMbppCode(apps=[files[0], files[0]]).load(0)


def test_numbers_too_long_for_python_are_no_reason_to_stop(tmp_path):
    tests = f'{{"fn_name": "f", "inputs": [[{"7" * 6000}]], "outputs": [1]}}'
    assert read_apps(write(tmp_path / "a.jsonl", [apps(1, input_output=tests)]))[0].kind == "call"


def original(tmp_path, **files):
    folder = tmp_path / "APPS" / "train" / "0007"
    folder.mkdir(parents=True)
    content = {
        "question.txt": "Add.", "input_output.json": '{"inputs": ["1 2"], "outputs": ["3"]}',
        "metadata.json": '{"difficulty": "introductory", "url": ""}', "solutions.json": '["print(3)"]', **files,
    }  # fmt: skip
    for name, text in content.items():
        if text is not None:
            (folder / name).write_text(text)
    return tmp_path / "APPS"


def packed(folder):
    path = folder.parent / "apps.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, "APPS")
    return path


@pytest.mark.parametrize("pack", [str, packed])
def test_the_original_folder_packed_or_not(tmp_path, pack):
    (problem,) = read_apps(str(pack(original(tmp_path))))
    assert (problem.id, problem.statement, problem.kind, problem.difficulty, problem.tests, problem.solutions) == (
        "apps-train-0007", "Add.", "stdin", "introductory", (IOTest("1 2", "3"),), ("print(3)",),
    )  # fmt: skip


@pytest.mark.parametrize("pack", [str, packed])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"input_output.json": "{"}, r"train/0007: column 'input_output' is not JSON"),
        ({"metadata.json": None}, r"train/0007: there is no metadata\.json"),
        ({"metadata.json": "{}"}, r"train/0007: column 'difficulty' is ''"),
    ],
)
def test_a_bad_original_folder_is_one_line(tmp_path, pack, files, message):
    with pytest.raises(PlmError, match=message):
        read_apps(str(pack(original(tmp_path, **files))))


def test_a_bad_archive_is_one_line(tmp_path):
    path = packed(original(tmp_path))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(PlmError, match=r"apps\.tar\.gz: it cannot be read"):
        read_apps(str(path))
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("x"), io.BytesIO())
    with pytest.raises(PlmError, match=r"no folder in it has a question\.txt"):
        read_apps(str(path))
    with pytest.raises(PlmError, match=r"missing\.tar\.gz: it cannot be read: No such file"):
        read_apps(str(tmp_path / "missing.tar.gz"))


MBPP = {"text": "Add.", "code": "def f(): pass", "task_id": 4, "test_setup_code": "", "test_list": ["assert f() == 1"]}


def test_mbpp_full_and_sanitized(tmp_path):
    (full,) = read_mbpp(write(tmp_path / "a.jsonl", [MBPP]))
    sanitized = {"prompt": "Sum.", "code": "x", "task_id": 5, "test_imports": ["import math"], "test_list": []}
    (other,) = read_mbpp(write(tmp_path / "b.jsonl", [sanitized]))
    assert (full.id, full.statement, full.kind, full.solutions) == ("mbpp-4", "Add.", "assert", ("def f(): pass",))
    assert json.loads(full.raw_tests) == {"test_list": ["assert f() == 1"]}
    assert (other.id, other.statement, other.kind) == ("mbpp-5", "Sum.", "none")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": ""}, "row 1: column 'text' is blank"),
        ({"test_list": ["print(1)"]}, "row 1: column 'test_list' has a test, number 1, that is no assertion: 'print"),
        ({"task_id": "x"}, "row 1: column 'task_id' is 'x'; it must be a whole number"),
    ],
)
def test_a_bad_row_of_mbpp_is_one_line(tmp_path, change, message):
    with pytest.raises(PlmError, match=message):
        read_mbpp(write(tmp_path / "a.jsonl", [{**MBPP, **change}]))


def test_where_nothing_is_left_the_reason_is_said(tmp_path):
    expected = "none of the 1 problems can be used as it stands: 1 tested by assertions: they need a teacher"
    with pytest.raises(PlmError, match=re.escape(expected)):
        AppsMbppCode(mbpp=write(tmp_path / "a.jsonl", [MBPP])).load(0)
    with pytest.raises(PlmError, match="name at least one source"):
        AppsMbppCode()


# -- the real files ------------------------------------------------------------------------------------------------


def kinds(problems):
    counts = {}
    for problem in problems:
        key = (problem.kind, problem.difficulty)
        counts[key] = counts.get(key, 0) + 1
    return counts


def test_real_apps_and_mbpp(data_folder, capsys):  # noqa: F811
    rows = read_apps(str(data_folder / "apps" / "hf_schema.jsonl.gz"))
    assert kinds(rows) == {
        ("stdin", "competition"): 36, ("stdin", "interview"): 2,
        ("call", "interview"): 17, ("call", "introductory"): 35,
    }  # fmt: skip
    assert kinds(read_mbpp(str(data_folder / "mbpp" / "mbpp.jsonl.gz"))) == {("assert", "mbpp"): 682}
    assert kinds(read_mbpp(str(data_folder / "mbpp" / "sanitized-mbpp.jsonl.gz"))) == {("assert", "mbpp"): 297}
    AppsMbppCode(
        apps=str(data_folder / "apps" / "hf_schema.jsonl.gz"), mbpp=str(data_folder / "mbpp" / "mbpp.jsonl.gz")
    ).load(0)
    assert "2 of 772 problems are kept" in capsys.readouterr().err


def test_the_same_real_problems_in_both_layouts(data_folder):  # noqa: F811
    rows = read_apps(str(data_folder / "apps" / "coderl_hf_schema.jsonl.gz"))
    folders = read_apps(str(data_folder / "apps" / "coderl_original_layout.tar.gz"))
    assert [problem.id for problem in folders] == [f"apps-train-{n:04}" for n in (1, 111, 2287, 2404, 4184)]
    for row, folder in zip(sorted(rows, key=lambda row: int(row.id.split("-")[-1])), folders, strict=True):
        assert (row.statement.split(), row.kind, row.tests) == (folder.statement.split(), folder.kind, folder.tests)
        assert (row.difficulty, row.solutions) == (folder.difficulty, folder.solutions)
