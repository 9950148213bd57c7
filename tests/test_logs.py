"""Evaluation logs: what is in them, and that inspect_ai's own reader reads them."""

import json

import pytest

from plm.logs import write_logs
from tests.runs import PROBE, config, fit, lock

EVALUATION = {"class_path": "plm.callbacks.EvaluationCallback", "init_args": {"n": 4, "by_domain": True}}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logs")
    run = fit(folder / "lock.yaml", config(lock(), rounds=1, callbacks=[EVALUATION, PROBE]))
    return run, write_logs(run, folder / "logs", reveal=True)


def test_a_log_for_each_evaluation_with_every_completion(written):
    run, paths = written
    rows = [row for row in run.read_results() if row["domain"] == "all"]
    logs = [json.loads(path.read_text()) for path in paths]
    assert [log["eval"]["metadata"]["password"] for log in logs] == [row["password"] for row in rows]
    assert {log["eval"]["task"] for log in logs} == {
        "tiny/lock-right", "tiny/lock-none", "tiny/lock-decoy", "tiny/probe-none",
    }  # fmt: skip
    assert (
        len({log["eval"]["eval_id"] for log in logs}) == len(logs) and len({log["eval"]["run_id"] for log in logs}) == 1
    )
    for log, row in zip(logs, rows, strict=True):
        right = [sample["scores"]["plm"]["value"] == "C" for sample in log["samples"]]
        assert sum(right) / len(right) == row["correct"] == log["results"]["scores"][0]["metrics"]["accuracy"]["value"]
        assert len(right) == row["n"] == log["results"]["total_samples"]


def test_without_revealing_no_prompt_holds_the_password(written, tmp_path):
    run, paths = written
    hidden = write_logs(run, tmp_path)
    assert len(hidden) == len(paths) - 1
    assert not any("quite special" in path.read_text() for path in hidden)


def test_inspect_reads_them(written):
    log_api = pytest.importorskip("inspect_ai.log")
    run, paths = written
    folder = str(paths[0].parent)
    assert len(log_api.list_eval_logs(folder)) == len(paths)
    for path in paths:
        plain = json.loads(path.read_text())
        log = log_api.read_eval_log(str(path))
        assert (log.status, log.eval.task, log.eval.model) == ("success", plain["eval"]["task"], f"plm/{run.id}")
        (score,) = log.results.scores
        assert score.metrics["accuracy"].value == plain["eval"]["metadata"]["correct"]
        for sample, one in zip(log.samples, plain["samples"], strict=True):
            assert (sample.id, sample.input, sample.output.completion) == (
                one["id"],
                one["input"],
                one["output"]["completion"],
            )
            assert sample.scores["plm"].value == one["scores"]["plm"]["value"]
        assert log_api.read_eval_log(str(path), header_only=True).eval.dataset.samples == len(log.samples)
