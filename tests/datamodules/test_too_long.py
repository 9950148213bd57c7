"""What does not fit into the model's context: counted, shown, and never cut silently."""

import dataclasses

import pyarrow.parquet as pq

from tests.runs import config, fit, lock
from tests.tiny import TinyTask

ROOM = 256  # of the tiny model, a character a token


class LongTask(TinyTask):
    """The first two problems of `lock` and the first three of `val` do not fit."""

    def load_splits(self):
        splits = super().load_splits()
        for name, count in (("lock", 2), ("val", 3)):
            for index in range(count):
                long = f"{splits[name][index].prompt} {'x' * ROOM}"
                splits[name][index] = dataclasses.replace(splits[name][index], prompt=long)
        return splits


def run_long(tmp_path):
    evaluation = {"class_path": "plm.callbacks.EvaluationCallback", "init_args": {"n": None, "conditions": ["none"]}}
    content = config(lock(), callbacks=[evaluation], rounds=1)
    content["data"]["class_path"] = "tests.datamodules.test_too_long.LongTask"
    return fit(tmp_path / "run.yaml", content)


def test_long_rows_are_left_out_of_training_whole_and_counted(tmp_path, capsys):
    run = run_long(tmp_path)
    assert f"4 of 16 rows are left out: longer than the context of {ROOM} tokens" in capsys.readouterr().err
    rows = run.read_round(0)
    assert sorted({row.problem_id for row in rows}) == [f"l{i}" for i in range(2, 8)] and len(rows) == 12
    assert run.read_round_meta(0)["too_long"] == 4 and run.read_round_meta(0)["rows"] == 12
    assert max(len(row) for row in rows) < ROOM
    assert all(len(row.completion_ids) in (2, 4) for row in rows)  # `b` or `al3`, and the end: nothing was cut


def test_long_prompts_are_wrong_and_counted_in_an_evaluation(tmp_path, capsys):
    run = run_long(tmp_path)
    (row,) = run.read_results()
    assert (row["n"], row["too_long"]) == (8, 3)
    assert "3 prompts too long" in capsys.readouterr().err
    (file,) = (run.path / "completions").glob("*.parquet")
    reasons = {one["problem_id"]: one["reason"] for one in pq.read_table(file).to_pylist()}
    assert {name for name, reason in reasons.items() if reason == "too_long"} == {"v0", "v1", "v2"}
