"""`plm prepare critique` from a file to a file, with a teacher that a test scripts behind a real server."""

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

from plm.cli import run
from plm.datamodules import CritiqueFiles
from tests.killing import Killer
from tests.teacher.broken_lesson import KEPT, critique, teach, write_problems
from tests.teacher.server import failed, said

ROOT = Path(__file__).parents[2]


def command(folder, url, *more, output="critiques.jsonl"):
    given = write_problems(folder / "code.jsonl")
    fixed = ["--problems", given, "--output", folder / output, "--model", "tutor", "--base-url", url]
    return ["prepare", "critique", *map(str, [*fixed, *more])]


def report_of(folder, output="critiques.jsonl"):
    return json.loads((folder / f"{output}.report.json").read_text())


@pytest.fixture(scope="module")
def done(serve_longer, tmp_path_factory):
    """The command, run once: its endpoint and folder."""
    folder, endpoint = tmp_path_factory.mktemp("done"), serve_longer(teach)
    assert run(command(folder, endpoint.url, "--price-prompt", 2, "--price-completion", 8)) == 0
    return endpoint, folder


def test_from_a_file_to_a_file(done):
    endpoint, folder = done
    rows = {row["id"]: row for row in map(json.loads, (folder / "critiques.jsonl").read_text().splitlines())}
    assert {row["id"].upper(): row["failed"] for row in rows.values()} == KEPT
    assert rows["sum"]["critique"] == critique("SUM") and rows["sum"]["problem"] == "SUM: as a program."
    assert "a - b << endl;" in rows["sum"]["program"] and "a sign" not in rows["sum"]["program"]
    assert "a + b" in rows["sum"]["reference"] and "cout << a <<" in rows["late"]["program"]  # of the second attempt

    report = report_of(folder)
    dropped = {row["id"]: (row["reason"], row["detail"]) for row in report["dropped"]}
    assert dropped == {
        "liar": ("reference", "wrong"),
        "mute": ("no break", "there is not one <program> and one <critique>"),
        "syntax": ("compile", "the program that you made does not compile"),
        "tame": (
            "harmless",
            "the program that you made still passes all tests; its mistake must make some output wrong",
        ),
    }
    assert (report["read"], report["kept"], report["failed"]) == (8, 4, {"wrong": 3, "crash": 1})
    assert Counter(row["id"] for row in report["unusable"]) == {"late": 1, "mute": 2, "syntax": 2, "tame": 2}
    # seven first attempts, and a second one for four of them, each with what was wrong with the first
    second = [body["messages"] for _, body in endpoint.answered if len(body["messages"]) > 1]
    assert len(endpoint.answered) == 7 + 4 and len(second) == 4
    assert all(len(talk) == 3 and "That reply cannot be used: " in talk[2]["content"] for talk in second)
    assert all(body["messages"][0]["content"].count("Exercise:\n") == 3 for _, body in endpoint.answered)
    assert report["tokens"]["cost"] == pytest.approx(11 * (10 * 2 + 5 * 8) / 1e6)


def test_what_is_made_is_a_task(done):
    _, folder = done
    splits = CritiqueFiles(folder / "critiques.jsonl").load(0)
    problems = {problem.id: problem for split in splits.values() for problem in split}
    assert sorted(problems) == sorted(map(str.lower, KEPT))
    assert problems["twice"].reference == critique("TWICE") and "3 * x" in problems["twice"].prompt


def test_the_same_command_again_asks_nobody(done, tmp_path, capsys):
    before = (done[1] / "critiques.jsonl").read_bytes()
    folder = Path(shutil.copytree(done[1], tmp_path / "again"))
    assert run(command(folder, "http://127.0.0.1:9/v1")) == 0
    assert (folder / "critiques.jsonl").read_bytes() == before
    assert (report_of(folder)["this_run"]["fresh"], report_of(folder)["this_run"]["cached"]) == (0, 11)
    shown = capsys.readouterr().out
    assert "broken programs and critiques" in shown and "dropped: the broken program passes all tests" in shown


def test_a_dry_run_asks_nobody_and_says_what_it_would_cost(tmp_path, capsys):
    pytest.importorskip("openai")
    prices = ("--price-prompt", 1, "--price-completion", 4)
    assert run(command(tmp_path, "http://127.0.0.1:9/v1", "--dry-run", *prices)) == 0
    rows = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    cells = {row[0].strip(): [cell.strip().replace(",", "") for cell in row[1:]] for row in rows}
    assert cells["break"][0] == "8" and cells["all"] == cells["break"]
    prompts, completions, cost = int(cells["all"][1]), int(cells["all"][2]), float(cells["all"][3])
    assert 8 * 500 < prompts < 8 * 2000 and 8 * 80 < completions < 8 * 200
    assert cost == pytest.approx((prompts + 4 * completions) / 1e6, abs=0.006)
    assert not (tmp_path / "critiques.jsonl").exists()


def test_nothing_left_is_an_error_with_its_report(serve, tmp_path, capsys):
    assert run(command(tmp_path, serve(lambda path, body: said("No.")).url)) == 1
    error = capsys.readouterr().err
    assert "no problem is left, and" in error and "7 the teacher's reply is not in the form asked for" in error
    assert not (tmp_path / "critiques.jsonl").exists()
    assert report_of(tmp_path)["unusable"][0] == {
        "id": "sum", "step": "break", "fault": "there is not one <program> and one <critique>", "reply": "No.",
    }  # fmt: skip


def test_what_is_refused_or_no_reply_drops_its_problem(serve, tmp_path):
    def moody(path, body):
        text = body["messages"][0]["content"]
        if "TWICE: as" in text:
            return failed(400, "filtered")
        return (200, {}, "<html>") if "CRASH: as" in text else teach(path, body)

    assert run(command(tmp_path, serve(moody).url, "--patience", 5)) == 0
    dropped = {row["id"]: row for row in report_of(tmp_path)["dropped"]}
    assert (dropped["twice"]["reason"], dropped["crash"]["reason"]) == ("refused", "malformed")
    assert "400: filtered" in dropped["twice"]["detail"] and "is not JSON" in dropped["crash"]["detail"]
    assert report_of(tmp_path)["this_run"]["malformed"] == 3
    assert "<html>" in (tmp_path / "critiques.jsonl.work" / "replies" / "malformed.jsonl").read_text()


MODELS = {"object": "list", "data": [{"id": "tutor-large", "object": "model"}]}


@pytest.mark.parametrize("task", ["code", "critique"])
@pytest.mark.parametrize(
    ("url", "trouble", "message"),
    [
        ("http://127.0.0.1:9/v1", None, "nothing answers at http://127.0.0.1:9/v1"),
        ("https://example.org/v1", None, "there is no key for https://example.org/v1"),
        (None, failed(404, "no such model"), "has no model 'tutor' (did you mean 'tutor-large'?)"),
        (None, failed(401, "bad key"), "refuses the key in OPENAI_API_KEY (401: bad key"),
        (None, failed(400, "too long"), "refuses every request: 400: too long"),
    ],
    ids=["down", "no key", "no such model", "bad key", "refused"],
)
def test_what_fails_for_good_is_one_line_for_either_command(serve, tmp_path, capsys, task, url, trouble, message):
    from tests.teacher import test_prepare

    make = command if task == "critique" else test_prepare.command
    url = url or serve(lambda path, body: MODELS if path == "/models" else trouble).url
    assert run(make(tmp_path, url)) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("plm: error: ") and message in lines[-1]
    assert not list(tmp_path.glob(f"{task}*.jsonl.report.json"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "a", "prompt": "p", "tests": []}, "there is no column 'reference'"),
        ({"id": "a", "prompt": "p", "tests": [], "reference": "x"}, "column 'tests' is an empty list"),
        (
            {"id": "a", "prompt": "p", "tests": [{"input": "", "output": "1"}], "reference": " "},
            "none of the 1 problems",
        ),
    ],
)
def test_problems_that_cannot_be_used_are_one_line(tmp_path, capsys, row, message):
    args = command(tmp_path, "http://127.0.0.1:9/v1")
    (tmp_path / "code.jsonl").write_text(json.dumps(row) + "\n")
    assert run(args) == 1
    assert message in capsys.readouterr().err


def test_killed_while_it_waits_everything_is_asked_once(serve, tmp_path):
    held, release = threading.Event(), threading.Event()

    def hold(path, body):
        if len(body["messages"]) > 1 and not release.is_set():
            held.set()
            release.wait(200)
        return teach(path, body)

    endpoint = serve(hold)
    args = command(tmp_path, endpoint.url, "--concurrency", 1)
    child = subprocess.Popen([sys.executable, "-m", "plm", *args], cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert held.wait(300)
    child.send_signal(signal.SIGKILL)
    child.wait()
    first = [json.dumps(body, sort_keys=True) for _, body, _ in endpoint.asked]
    assert len(endpoint.answered) == 7 and len(first) == 8 and not (tmp_path / "critiques.jsonl").exists()
    release.set()
    asked = len(endpoint.asked)
    assert run(args) == 0
    after = [json.dumps(body, sort_keys=True) for _, body, _ in endpoint.asked[asked:]]
    assert len(after) == len(set(after)) == 4 and not set(after) & set(first[:7])
    assert report_of(tmp_path)["this_run"]["cached"] == 7


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(done, serve, tmp_path):
    _, folder = done
    endpoint = serve(teach)
    args = command(tmp_path, endpoint.url, "--concurrency", 1, output="again.jsonl")
    with contextlib.closing(Killer()) as killer:
        ended, kills = killer.until_it_ends(args, tmp_path / "log", first=25, step=6, most=40)
    assert ended["code"] == 0 and kills >= 3, (tmp_path / "log").read_text()
    assert (tmp_path / "again.jsonl").read_bytes() == (folder / "critiques.jsonl").read_bytes()
    assert len(endpoint.answered) <= 11 + kills
