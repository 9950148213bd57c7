"""`plm prepare code` from files to a file, with a teacher that a test scripts behind a real server."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from plm.cli import run
from plm.datamodules import CodeFiles
from plm.records import IOTest
from tests.killing import Killer
from tests.teacher.lesson import APPS, KEPT, MBPP, program, teach
from tests.teacher.server import failed, said

ROOT = Path(__file__).parents[2]


def sources(folder):
    for name, rows in (("apps", APPS), ("mbpp", MBPP)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--apps", str(folder / "apps.jsonl"), "--mbpp", str(folder / "mbpp.jsonl")]


def command(folder, url, *more, output="code.jsonl"):
    fixed = ["--output", str(folder / output), "--model", "tutor", "--base-url", url, "--samples", "6"]
    return ["prepare", "code", *sources(folder), *fixed, *map(str, more)]


def rows_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def contents(endpoint):
    """How often each request was answered."""
    return Counter(json.dumps(body, sort_keys=True) for _, body in endpoint.answered)


@pytest.fixture(scope="module")
def done(serve_longer, tmp_path_factory):
    """The command, run once: its endpoint and folder."""
    folder, endpoint = tmp_path_factory.mktemp("done"), serve_longer(teach)
    assert run(command(folder, endpoint.url, "--price-prompt", 2, "--price-completion", 8)) == 0
    return endpoint, folder


def test_from_files_to_a_file(done):
    endpoint, folder = done
    rows = {row["id"]: row for row in rows_of(folder / "code.jsonl")}
    assert sorted(rows) == sorted(KEPT)
    assert rows["apps-apps-2"]["tests"][1] == {"input": "hi there\n", "output": "ereht ih\n"}
    assert rows["apps-apps-1"] == {
        "id": "apps-apps-1", "prompt": "SUM: as a program.", "domain": "introductory", "verified": "reference",
        "tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "10 -4\n", "output": "6\n"}],
        "reference": program("SUM"), "answers": {"teacher": [program("SUM"), program("SUM", "// shorter\n")]},
    }  # fmt: skip
    assert {id: row["verified"] for id, row in rows.items() if row["verified"] != "reference"} == {
        "apps-apps-5": "teacher"
    }
    assert [test["output"] for test in rows["mbpp-9"]["tests"]] == ["6\n", "10\n"]  # the second attempt's

    report = json.loads((folder / "code.jsonl.report.json").read_text())
    assert {row["id"]: row["reason"] for row in report["dropped"]} == {
        "apps-apps-3": "disagrees", "apps-apps-4": "not solved", "apps-apps-6": "competition", "apps-apps-7": "none",
        "mbpp-10": "unusable",
    }  # fmt: skip
    details = {row["id"]: row["detail"] for row in report["dropped"]}
    assert details["apps-apps-3"] == (
        "test 1, input '1 2\\n': the Python program writes '-1\\n', the test wants '3\\n'"
    )
    assert details["apps-apps-4"] == "wrong; tests verified by the reference"
    assert (report["read"], report["kept"], report["tests"]) == (10, 5, 10)
    # of six samples two are no program, and two repeat others
    assert report["samples"] == {"drawn": 25, "unique": 10, "unique_correct": 10}
    steps = Counter((row["id"], row["step"]) for row in report["unusable"])
    assert steps == {("mbpp-10", "translate"): 2, **{(id, "sample"): 1 for id in KEPT}}
    # 7 translations and 2 more attempts, 6 solutions, 5 requests for 6 samples each
    assert len(endpoint.answered) == 7 + 2 + 6 + 5 and max(contents(endpoint).values()) == 1
    assert report["this_run"]["fresh"] == 20 and report["tokens"]["cost"] == pytest.approx(20 * (10 * 2 + 5 * 8) / 1e6)


def test_what_is_made_is_a_task(done):
    _, folder = done
    splits = CodeFiles(str(folder / "code.jsonl")).load(0)
    problems = {problem.id: problem for split in splits.values() for problem in split}
    assert sorted(problems) == sorted(KEPT)
    assert problems["mbpp-8"].tests == (IOTest("3\n", "6\n"), IOTest("-1\n", "-2\n"))
    assert len(problems["mbpp-8"].answers["teacher"]) == 2


def test_the_same_command_again_asks_nobody(done, tmp_path, capsys):
    endpoint, folder = done[0], Path(shutil.copytree(done[1], tmp_path / "again"))
    before, asked = (folder / "code.jsonl").read_bytes(), len(endpoint.asked)
    assert run(command(folder, "http://127.0.0.1:9/v1")) == 0
    assert (folder / "code.jsonl").read_bytes() == before and len(endpoint.asked) == asked
    report = json.loads((folder / "code.jsonl.report.json").read_text())
    assert (report["this_run"]["fresh"], report["this_run"]["cached"]) == (0, 20)
    shown = capsys.readouterr()
    assert "│ kept" in shown.out and "replies: malformed" in shown.out
    assert "translate: 7 of 7; 0k tokens\n" in shown.err and "grade: 6 of 6; 0k tokens\n" in shown.err


def test_a_dry_run_asks_nobody_and_says_what_it_would_cost(tmp_path, capsys):
    pytest.importorskip("openai")
    prices = ("--price-prompt", 1, "--price-completion", 4)
    assert run(command(tmp_path, "http://127.0.0.1:9/v1", "--dry-run", *prices)) == 0
    table = [line.split("│")[1:-1] for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    cells = {row[0].strip(): [cell.strip().replace(",", "") for cell in row[1:]] for row in table}
    # 8 problems have tests and are no competition: 6 samples of 400 tokens each
    assert cells["solve"][0] == "8" and cells["sample"][0] == "8" and cells["all"][0] == "24"
    assert cells["sample"][2] == str(8 * 6 * 400)
    prompts, completions = int(cells["all"][1]), int(cells["all"][2])
    assert float(cells["all"][3]) == pytest.approx((prompts + 4 * completions) / 1e6, abs=0.006)
    assert not (tmp_path / "code.jsonl").exists()


def test_endpoints_that_give_one_text_at_a_time(serve, tmp_path):
    """Some ignore `n`: what is missing is drawn again, as other draws."""

    def single(path, body):
        reply = teach(path, body)
        return {**reply, "choices": reply["choices"][:1]}

    endpoint = serve(single)
    assert run(command(tmp_path, endpoint.url, "--limit", 3)) == 0
    kept = rows_of(tmp_path / "code.jsonl")
    sampled = [body for _, body in endpoint.answered if body["temperature"] == 1]
    assert len(sampled) == 6 * len(kept) and [body.get("n", 1) for body in sampled].count(6) == len(kept)
    assert all(len(row["answers"]["teacher"]) == 1 for row in kept)


def test_nothing_left_is_an_error_with_its_report(serve, tmp_path, capsys):
    endpoint = serve(lambda path, body: said("No."))
    assert run(command(tmp_path, endpoint.url)) == 1
    assert "no problem is left, and" in capsys.readouterr().err and not (tmp_path / "code.jsonl").exists()
    report = json.loads((tmp_path / "code.jsonl.report.json").read_text())
    assert report["dropped_by_reason"]["unusable"] == 7 and report["unusable"][0]["reply"] == "No."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--body", "{"], "--body is not JSON"),
        (["--body", "3"], "--body is 3; it must be an object"),
        (["--base-url", "nowhere"], "base_url is 'nowhere'; it must be a URL"),
        (["--base-url", "https://example.org/v1"], "there is no key for https://example.org/v1"),
        (["--apps", "/nowhere/apps"], "there is no such file or folder"),
    ],
)
def test_bad_arguments_are_one_line(tmp_path, capsys, monkeypatch, arguments, message):
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert run(command(tmp_path, "http://127.0.0.1:9/v1", *arguments)) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert message in said[-1] and said[-1].startswith("plm: error: ")


def test_unknown_tasks_are_named(capsys):
    assert run(["prepare", "cod"]) == 1
    assert "task is cod (did you mean 'code'?)" in capsys.readouterr().err


def test_killed_while_it_waits_everything_is_asked_once(serve, tmp_path):
    held, release = threading.Event(), threading.Event()

    def hold(path, body):
        if body["temperature"] == 1 and not release.is_set():
            held.set()
            release.wait(200)
        return teach(path, body)

    endpoint = serve(hold)
    args = command(tmp_path, endpoint.url, "--concurrency", 1)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, "-m", "plm", *args], cwd=ROOT, env=environment)
    assert held.wait(300)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert len(endpoint.answered) == 15 and not (tmp_path / "code.jsonl").exists()
    endpoint.answered.clear()  # the reply that is on its way to nobody
    release.set()
    time.sleep(0.1)
    before = {json.dumps(body, sort_keys=True) for _, body, _ in endpoint.asked[:15]}
    asked = len(endpoint.asked)
    assert run(args) == 0
    after = [json.dumps(body, sort_keys=True) for _, body, _ in endpoint.asked[asked:]]
    assert len(after) == len(set(after)) == 5 and not before & set(after)
    assert sorted(row["id"] for row in rows_of(tmp_path / "code.jsonl")) == sorted(KEPT)


def test_stopped_what_is_under_way_is_kept(serve, tmp_path):
    """SIGTERM, and Ctrl-C alike."""
    held = threading.Event()

    def slow(path, body):
        held.set()
        time.sleep(1.5)
        return teach(path, body)

    endpoint = serve(slow)
    args = command(tmp_path, endpoint.url, "--concurrency", 2)
    child = subprocess.Popen([sys.executable, "-m", "plm", *args], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert held.wait(300)
    child.terminate()
    _, text = child.communicate(timeout=60)
    assert child.returncode == 128 + signal.SIGTERM
    assert text.endswith("plm: error: interrupted; the same command goes on where it was\n") and "Traceback" not in text
    kept = list((tmp_path / "code.jsonl.work" / "replies").rglob("??/*.json"))
    assert len(kept) == len(endpoint.asked) == len(endpoint.answered) == 2


@pytest.mark.slow
def test_killed_again_and_again_it_ends_as_if_nothing_had_happened(done, serve, tmp_path):
    _, folder = done
    asked, replies = Counter(), Counter()

    def moody(path, body):  # every third new request fails at first
        key = json.dumps(body, sort_keys=True)
        asked[key] += 1
        if asked[key] == 1 and len(asked) % 3 == 0:
            return failed(500)
        replies[key] += 1
        return teach(path, body)

    endpoint = serve(moody)
    args = command(tmp_path, endpoint.url, "--concurrency", 1, output="again.jsonl")
    killer, kills = Killer(), 0
    try:
        while (ended := killer.run(args, tmp_path / "log", at=19 + kills))["code"] == -signal.SIGKILL:
            kills += 1
            assert not (tmp_path / "again.jsonl").exists() or kills > 3
    finally:
        killer.close()
    assert ended["code"] == 0 and kills >= 4, (tmp_path / "log").read_text()
    assert (tmp_path / "again.jsonl").read_bytes() == (folder / "code.jsonl").read_bytes()
    assert len(replies) == 20
    # one request at a time: a kill can lose no more than the one reply that is being written
    assert sum(replies.values()) <= 20 + kills
