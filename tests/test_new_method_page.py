"""Runs exactly the code of docs/new_method.md; only the model and the task are smaller than on the page."""

import re
from pathlib import Path

import yaml

from tests.runs import only_run, plm, source, write

PAGE = Path(__file__).parent.parent / "docs" / "new_method.md"


def block(language):
    (code,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return code


def test_the_page_runs(tmp_path, monkeypatch):
    (tmp_path / "best_of_n.py").write_text(block("python"))
    content = yaml.safe_load(block("yaml"))
    content["model"]["init_args"] |= {"base": source(), "problems": 4, "n": 3}
    engine = {"class_path": "tests.tiny.ScriptedEngine", "init_args": {"answers": ["b", "ae0", "ae1", "b", "ae2"]}}
    content["data"] = {"class_path": "tests.tiny.TinyTask", "init_args": {"engine": engine}}
    content["trainer"] |= {"max_epochs": 2, "accelerator": "cpu"}
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "best_of_n.yaml", content)
    assert plm("fit", path) == 0
    rows = only_run(path).read_results()
    assert {row["method"] for row in rows} == {"best_of_n"}
    assert rows[-1]["generations"] == rows[-1]["graded"] == 2 * 4 * 3
    assert 0 < rows[-1]["demonstrations"] <= 8 and rows[-1]["trained_tokens"] > 0


def test_a_method_is_about_thirty_lines():
    code = block("python")
    body = code[code.index("class BestOfNModule") :]
    assert len([line for line in body.splitlines() if line.strip()]) <= 32


def test_a_round_without_a_right_answer_is_drawn_three_times_and_ends_the_run(tmp_path, monkeypatch, capsys):
    (tmp_path / "best_of_n.py").write_text(block("python"))
    content = yaml.safe_load(block("yaml"))
    content["model"]["init_args"] |= {"base": source(), "problems": 2, "n": 2}
    engine = {"class_path": "tests.tiny.ScriptedEngine", "init_args": {"answers": ["b"]}}
    content["data"] = {"class_path": "tests.tiny.TinyTask", "init_args": {"engine": engine}}
    content["trainer"] |= {"accelerator": "cpu", "callbacks": []}
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "never.yaml", content)
    assert plm("fit", path) == 0
    assert "round 1 stayed empty after 3 draws" in capsys.readouterr().err
    assert only_run(path).model_path.exists()
