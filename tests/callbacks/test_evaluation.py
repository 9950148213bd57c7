import pyarrow.parquet as pq
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.runs import EVALUATION, PROBE, config, fit, lock, plm, write


def evaluation(**arguments):
    return {**EVALUATION, "init_args": arguments}


def test_every_graded_completion_is_kept(tmp_path):
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=[evaluation(conditions=["none"], n=5)], rounds=1))
    (file,) = (run.path / "completions").glob("*.parquet")
    rows = pq.read_table(file).to_pylist()
    assert len(rows) == 5 and {"problem_id", "prompt", "completion", "score", "reason"} <= rows[0].keys()
    assert all(row["prompt"] == row["problem_id"] + "\n" for row in rows)
    assert run.read_results()[0]["correct"] == sum(row["score"] for row in rows) / 5


def test_curves_lie_in_one_chart(tmp_path):
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=[EVALUATION, PROBE]))
    for curve in ("right", "none", "decoy", "probe"):
        events = EventAccumulator(str(run.path / "tensorboard" / curve)).Reload()
        assert [event.step for event in events.Scalars("correct/val")] == [4, 8]


@pytest.mark.parametrize(("every", "epochs"), [(1, [1, 2, 3]), (2, [2, 3]), (0, [3])])
@pytest.mark.parametrize("what", [evaluation(conditions=["none"], n=2), PROBE], ids=["evaluation", "probe"])
def test_rounds_that_are_due(tmp_path, what, every, epochs):
    callback = {**what, "init_args": {**what["init_args"], "every_n_rounds": every}}
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=[callback], rounds=3))
    assert [row["epoch"] for row in run.read_results()] == epochs


def test_at_start(tmp_path):
    callback = evaluation(conditions=["none"], every_n_rounds=0, at_start=True, n=2)
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=[callback], rounds=1))
    assert [row["step"] for row in run.read_results()] == [0, 4]


def test_the_same_problems_every_time_and_for_every_condition(tmp_path):
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=[evaluation(n=3)]))
    ids = {
        tuple(pq.read_table(file)["problem_id"].to_pylist()) for file in (run.path / "completions").glob("*.parquet")
    }
    assert len(ids) == 1


def test_an_impossible_number_is_one_line(tmp_path, capsys):
    assert plm("fit", write(tmp_path / "zero.yaml", config(lock(), callbacks=[evaluation(n=0)]))) == 1
    assert "EvaluationCallback's n is 0" in capsys.readouterr().err


def test_named_rounds_and_the_last(tmp_path):
    callback = evaluation(conditions=["none"], rounds=[1, 2], n=2)
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=[callback], rounds=4))
    assert [row["epoch"] for row in run.read_results()] == [1, 2, 4]


def test_a_line_for_each_domain(tmp_path):
    callback = evaluation(conditions=["none"], n=7, by_domain=True)
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=[callback], rounds=1))
    lines = {row["domain"]: row for row in run.read_results()}
    assert set(lines) == {"all", "even", "odd"} and lines["all"]["n"] == 7 == lines["even"]["n"] + lines["odd"]["n"]
    right = {name: row["correct"] * row["n"] for name, row in lines.items()}
    assert right["all"] == pytest.approx(right["even"] + right["odd"])
    assert len(list((run.path / "completions").glob("*.parquet"))) == 1
    events = EventAccumulator(str(run.path / "tensorboard" / "none")).Reload()
    assert {"correct/val", "correct/val/even", "correct/val/odd"} <= set(events.Tags()["scalars"])


def test_a_policys_own_lines_are_not_the_models_whatever_they_are_called(tmp_path):
    weak = {"class_path": "plm.policies.DatasetPolicy", "init_args": {"name": "weak"}}
    baseline = {"class_path": "plm.callbacks.PolicyBaselineCallback", "init_args": {"policies": {"careless": weak}}}
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=[baseline, evaluation(conditions=["none"])], rounds=1))
    assert [(row["phase"], row["method"]) for row in run.read_results()] == [
        ("careless", "policy"),
        ("lock", "sft_lock"),
    ]


def test_shots_stand_solved_before_the_question(tmp_path):
    callbacks = [evaluation(conditions=["none"], n=2, shots=shots) for shots in (0, 2, 3)]
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=callbacks, rounds=1))
    assert [(row["shots"], row["demonstrations"]) for row in run.read_results()] == [(0, 8), (2, 8), (3, 8)]
    prompts = {}
    for shots, label in ((0, "none"), (2, "none-2-shot"), (3, "none-3-shot")):
        (file,) = (run.path / "completions").glob(f"*-val-{label}.parquet")
        prompts[shots] = [row["prompt"] for row in pq.read_table(file).to_pylist()]
    for plain, two, three in zip(*prompts.values(), strict=True):
        assert two.endswith(plain) and three.endswith(plain)
        prefix = two.removesuffix(plain)
        assert three.startswith(prefix)  # the same problems first
        solved = [block.split("\n") for block in prefix.removesuffix("\n\n").split("\n\n")]
        assert len(solved) == 2 and all(answer == f"a{question}" for question, answer in solved)
        assert all(question.startswith("e") for question, _ in solved)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [({"shots": 9}, "9 problems were asked"), ({"shots": -1}, "shots is -1"), ({"rounds": [0]}, "counted from 1")],
)
def test_impossible_shots_and_rounds_are_one_line(tmp_path, capsys, arguments, text):
    assert (
        plm("fit", write(tmp_path / "bad.yaml", config(lock(), callbacks=[evaluation(n=2, **arguments)], rounds=1)))
        == 1
    )
    assert text in capsys.readouterr().err
