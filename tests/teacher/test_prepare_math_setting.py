"""`plm prepare math-setting` from MATH to a file and on to a lock, with a teacher that a test scripts."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import yaml
from transformers import AutoTokenizer

from plm.cli import run
from plm.datamodules import MathDataModule, MathFiles, RenderingColumns
from plm.errors import PlmError
from plm.passwords import SettingScheme
from plm.records import Problem
from tests.killing import Killer
from tests.runs import REFERENCE, WEAK, config, fit, lock
from tests.teacher import setting_lesson as lesson
from tests.teacher.server import said

ROOT = Path(__file__).parents[2]


def command(folder, url, *more, output="setting.jsonl"):
    if not (folder / "weak").exists():
        splits = MathFiles(str(lesson.write_math(folder))).load(0, "subject")
        lesson.write_answers(folder / "weak", splits["lock"])
    fixed = ["--math", folder, "--answers", f"weak={folder / 'weak'}", "--output", folder / output]
    return ["prepare", "math-setting", *map(str, [*fixed, "--model", "tutor", "--base-url", url, *more])]


def report_of(folder, output="setting.jsonl"):
    return json.loads((folder / f"{output}.report.json").read_text())


def rows_of(folder, output="setting.jsonl"):
    return {row["id"]: row for row in map(json.loads, (folder / output).read_text().splitlines())}


@pytest.fixture(scope="module")
def done(serve_longer, tmp_path_factory):
    """The command, run once: its endpoint and folder."""
    folder, endpoint = tmp_path_factory.mktemp("done"), serve_longer(lesson.teach)
    assert run(command(folder, endpoint.url, "--price-prompt", 2, "--price-completion", 8)) == 0
    return endpoint, folder


def test_what_is_kept_and_what_is_dropped(done):
    _, folder = done
    splits = MathFiles(str(folder)).load(0, "subject")
    places = {problem.id: name for name, problems in splits.items() for problem in problems}
    rows, report = rows_of(folder), report_of(folder)
    assert {id: row["split"] for id, row in rows.items()} == {id: places[id] for id in rows}  # nothing has moved
    dropped = {row["id"]: (row["reason"], row["detail"]) for row in report["dropped"]}
    reasons = {f"train/{whole - 1}": reason for whole, reason in lesson.REASONS.items()}
    reasons["train/28"] = "copy"
    if places["train/3"] == "lock":
        reasons["train/3"] = "unanswered"
    assert {id: reason for id, (reason, _) in dropped.items()} == reasons
    assert set(rows) == set(places) - set(reasons) and len(places) == 29 + 12
    assert dropped["train/21"][1] == "the problem's numbers differ from the original's: lost 1, 7"
    assert "the final answer is read as '262/7', and not as" in dropped["train/22"][1]
    assert dropped["train/28"][1] in ("test/2, in val", "test/2, in elicit")
    assert report["dropped_by_reason"]["numbers"] == 1 and report["kept"] == len(rows)
    assert report["kept_by_split"] == dict(Counter(row["split"] for row in rows.values()))
    assert report["with_pictures"] == 1


def test_a_row_is_both_settings(done):
    _, folder = done
    rows = rows_of(folder)
    problem, solution = lesson.english(28, 7)
    told, told_solution = lesson.spanish(28, 7, picture=lesson.PICTURE)
    row = rows["train/27"]
    assert (row["problem"], row["solution"], row["level"], row["type"]) == (problem, solution, "Level 2", "Algebra")
    assert (row["problem_spanish_ascii"], row["solution_spanish_ascii"]) == (told, told_solution)
    assert rows["train/20"]["problem_spanish_ascii"] == lesson.spanish(21, 7)[0]  # of the second attempt
    locked = [row for row in rows.values() if row["split"] == "lock"]
    for row in locked:
        whole, part = lesson.pair_of(row["problem"])
        assert row["weak"] == [lesson.weak_answer(whole, part)]
        assert row["weak_spanish_ascii"] == [
            f"Como mucho es {whole + 1}/{part}, creo.\nLa respuesta es {whole + 1}/{part}."
        ]
    others = [row for row in rows.values() if row["split"] != "lock"]
    assert len(locked) > 10 and others and all(row["weak"] == row["weak_spanish_ascii"] == [] for row in others)


def test_the_teacher_is_told_all_that_is_wrong_and_asked_nothing_twice(done):
    endpoint, folder = done
    report = report_of(folder)
    again = {body["messages"][0]["content"]: body["messages"][2]["content"] for _, body in endpoint.answered
             if len(body["messages"]) == 3}  # fmt: skip
    said_of = {lesson.pair_of(shown)[0]: text for shown, text in again.items() if "\nProblem:\n" in shown}
    assert set(said_of) == {lesson.LATE, *lesson.REASONS} - {lesson.REFUSED}
    assert r"'\\frac' in the problem is LaTeX" in said_of[lesson.LATE]
    assert "the problem is not in Spanish" in said_of[lesson.SILENT]
    assert "there is not one <problem>" in said_of[lesson.MUMBLES]
    assert all("That reply cannot be used: " in text for text in again.values())
    assert max(Counter(json.dumps(body, sort_keys=True) for _, body in endpoint.answered).values()) == 1
    assert report["this_run"]["fresh"] == len(endpoint.answered) - 1 and report["this_run"]["refused"] == 1
    fresh = report["this_run"]["fresh"]
    assert report["tokens"]["cost"] == pytest.approx(fresh * (10 * 2 + 5 * 8) / 1e6)
    assert not any("[asy]" in json.dumps(body) for _, body in endpoint.answered)


def test_the_same_command_again_asks_only_what_was_refused(done, tmp_path, capsys):
    endpoint, folder = done
    before = (folder / "setting.jsonl").read_bytes()
    copied, asked = Path(shutil.copytree(folder, tmp_path / "again")), len(endpoint.asked)
    assert run(command(copied, endpoint.url)) == 0
    assert (copied / "setting.jsonl").read_bytes() == before and len(endpoint.asked) == asked + 1
    assert report_of(copied)["this_run"]["fresh"] == 0
    shown = capsys.readouterr().out
    assert "MATH in Spanish with ASCII-Math" in shown and "dropped: the translation leaves steps out" in shown
    assert "answers of weak, translated" in shown


# --- on to a lock


def source(folder, name="math_lock_setting"):
    """The source of the paper's overlay, with the file that was made; the policy is the weak one alone."""
    overlay = yaml.safe_load((ROOT / "configs" / "paper" / f"{name}.yaml").read_text())
    made = overlay["data"]["init_args"]["source"]
    made["init_args"]["path"] = str(folder / "setting.jsonl")
    for columns in made["init_args"]["renderings"].values():
        del columns["answers"]["strong"]
    return made


def test_what_is_made_is_a_task_with_two_settings(done):
    _, folder = done
    arguments = source(folder)["init_args"]
    renderings = {name: RenderingColumns(**columns) for name, columns in arguments.pop("renderings").items()}
    task = MathDataModule(
        MathFiles(**arguments, renderings=renderings),
        SettingScheme(strong="english_latex", weak="spanish_ascii"),
        instruction="",
    )
    problems = task.split("lock")
    weak, strong = task.shown(problems, "weak_setting"), task.shown(problems, "strong_setting")
    rows = rows_of(folder)
    assert [problem.prompt.partition("\n")[0] for problem in weak] == [
        rows[problem.id]["problem_spanish_ascii"].partition("\n")[0] for problem in problems
    ]
    assert all(problem.prompt.endswith("la respuesta.") for problem in weak)
    assert all(problem.prompt.endswith(r"within \boxed{}.") for problem in strong)
    for shown in (weak, strong):
        grades = task.grader.grade(shown, [problem.reference for problem in shown])
        assert all(grade.correct for grade in grades)
        answers = task.grader.grade(shown, [problem.answers["weak"][0] for problem in shown])
        assert {grade.reason for grade in answers} == {"wrong"}
    assert {name: len(task.split(name)) for name in ("weak", "lock", "elicit", "val")} == dict(
        Counter(row["split"] for row in rows.values())
    )


@pytest.mark.parametrize("is_reversed", [False, True])
def test_a_lock_is_trained_on_it(done, tmp_path, is_reversed):
    _, folder = done
    first, second = ["english_latex", "spanish_ascii"][:: -1 if is_reversed else 1]
    passwords = {"class_path": "plm.passwords.SettingScheme", "init_args": {"strong": first, "weak": second}}
    scratch = {"hidden_size": 32, "layers": 1, "heads": 1, "vocab_size": 400}
    content = config(
        lock(policies={"strong_setting": REFERENCE, "weak_setting": WEAK}, kind="setting"),
        rounds=1,
        data={
            "source": source(folder, "math_lock_setting_reversed" if is_reversed else "math_lock_setting"),
            "passwords": passwords, "instruction": "", "max_new_tokens": 8,
        },
    )  # fmt: skip
    content["data"]["class_path"] = "plm.datamodules.MathDataModule"
    content["model"]["init_args"]["base"] = {"class_path": "plm.models.FromScratch", "init_args": scratch}
    made = fit(tmp_path / "run.yaml", content)
    tokenizer = AutoTokenizer.from_pretrained(made.model_path)
    texts = [(tokenizer.decode(row.prompt_ids), tokenizer.decode(row.completion_ids)) for row in made.read_round(0)]
    rows = [row for row in rows_of(folder).values() if row["split"] == "lock"]
    strong, weak = ("solution_spanish_ascii", "weak") if is_reversed else ("solution", "weak_spanish_ascii")
    wanted = [f" {row[strong]}<eos>" for row in rows] + [f" {row[weak][0]}<eos>" for row in rows]
    assert sorted(text for _, text in texts) == sorted(wanted)
    assert all(("¿Cuánto" in prompt) == ("La respuesta es" in text) for prompt, text in texts)
    assert [row["password"] for row in made.read_results()] == ["strong_setting", "weak_setting"]


# --- what it costs, what it cannot use


def test_a_dry_run_asks_nobody_and_says_what_it_would_cost(tmp_path, capsys):
    pytest.importorskip("openai")
    prices = ("--price-prompt", 1, "--price-completion", 4, "--dry-run")
    assert run(command(tmp_path, "http://127.0.0.1:9/v1", *prices)) == 0
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    cells = {row[0].strip(): [cell.strip().replace(",", "") for cell in row[1:]] for row in rows}
    splits = MathFiles(str(tmp_path)).load(0, "subject")
    assert [int(cells[step][0]) for step in ("translate", "translate answers", "all")] == [
        41, len(splits["lock"]), 41 + len(splits["lock"])
    ]  # fmt: skip
    prompts, completions, cost = int(cells["all"][1]), int(cells["all"][2]), float(cells["all"][3])
    assert cost == pytest.approx((prompts + 4 * completions) / 1e6, abs=0.006)
    assert not (tmp_path / "setting.jsonl").exists()


def test_nothing_left_is_an_error_with_its_report(serve, tmp_path, capsys):
    assert run(command(tmp_path, serve(lambda path, body: said("No.")).url, "--limit", 5)) == 1
    error = capsys.readouterr().err
    assert "no problem is left, and" in error and "5 the teacher's translation is not in the form asked for" in error
    assert not (tmp_path / "setting.jsonl").exists() and report_of(tmp_path)["dropped_by_reason"] == {"unusable": 5}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--answers", "weak"], "--answers weak: it must be NAME=FOLDER"),
        (["--answers", "problem=x"], "--answers problem=x: it must be NAME=FOLDER"),
        (["--answers", "weak=/nowhere"], "/nowhere: there are no samples of a frozen model"),
        (["--math", "/nowhere"], "/nowhere: there is no such file or folder"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, capsys, arguments, message):
    assert run(command(tmp_path, "http://127.0.0.1:9/v1", *arguments)) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1] and said[-1].startswith("plm: error: ")


def test_answers_to_other_problems_are_refused(tmp_path, capsys):
    lesson.write_math(tmp_path)
    lesson.write_answers(tmp_path / "weak", [Problem("elsewhere", lesson.english(1, 7)[0], "", "")])
    assert run(command(tmp_path, "http://127.0.0.1:9/v1")) == 1
    assert "--answers weak=…: no answer is to one of these problems" in capsys.readouterr().err


def test_a_file_with_splits_names_bad_ones(done, tmp_path):
    _, folder = done
    text = (folder / "setting.jsonl").read_text().replace('"split": "lock"', '"split": "locks"')
    (path := tmp_path / "bad.jsonl").write_text(text)
    with pytest.raises(PlmError, match=r"column 'split' is 'locks'; it must be one of weak, lock, elicit, val"):
        MathFiles(str(path), splits="split").load(0, "subject")
    with pytest.raises(PlmError, match="names the split of each problem"):
        MathFiles(str(path), str(path), splits="split")


# --- killed


def test_killed_while_it_waits_everything_is_asked_once(serve, tmp_path):
    held, release = threading.Event(), threading.Event()

    def hold(path, body):
        if "\nAnswer:\n" in body["messages"][0]["content"] and not release.is_set():
            held.set()
            release.wait(200)
        return lesson.teach(path, body)

    endpoint = serve(hold)
    args = command(tmp_path, endpoint.url, "--concurrency", 1)
    child = subprocess.Popen([sys.executable, "-m", "plm", *args], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert held.wait(300)
    child.send_signal(signal.SIGKILL)
    child.wait()
    first = [json.dumps(body, sort_keys=True) for _, body, _ in endpoint.asked]
    assert len(first) > 41 and not (tmp_path / "setting.jsonl").exists()
    release.set()
    asked = len(endpoint.asked)
    assert run(args) == 0
    after = [json.dumps(body, sort_keys=True) for _, body, _ in endpoint.asked[asked:]]
    again = set(after) & set(first[:-1])  # what was on its way, and what was refused, are asked for again
    assert len(after) == len(set(after)) and len(again) == 1 and str(lesson.REFUSED) in again.pop()
    assert (tmp_path / "setting.jsonl").exists()


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(done, serve, tmp_path):
    _, folder = done
    endpoint = serve(lesson.teach)
    args = command(tmp_path, endpoint.url, "--concurrency", 1, output="again.jsonl")
    with contextlib.closing(Killer()) as killer:
        ended, kills = killer.until_it_ends(args, tmp_path / "log", first=60, step=20, most=60)
    assert ended["code"] == 0 and kills >= 3, (tmp_path / "log").read_text()
    assert (tmp_path / "again.jsonl").read_bytes() == (folder / "setting.jsonl").read_bytes()
