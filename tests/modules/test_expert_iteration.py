import random

import pytest

from plm.modules.expert_iteration import best
from plm.records import Grade, Graded, Problem
from tests.modules.test_base import same
from tests.runs import ADAMW, config, fit, plm, source, weights, write

ENGINE = "tests.tiny.ScriptedEngine"


def answers(scores):
    problem = Problem("p", "p", "d", "r")
    return [
        Graded(problem, "", str(i), 1, True, Grade(score == 1, score, "", "", 0.0)) for i, score in enumerate(scores)
    ]


def test_the_best_come_first_and_ties_are_random():
    scored = answers([0.0, 1.0, 0.5, 1.0, 0.0, 1.0])
    chosen = {tuple(sorted(a.completion for a in best(scored, 2, random.Random(seed)))) for seed in range(40)}
    assert chosen == {("1", "3"), ("1", "5"), ("3", "5")}
    assert {a.completion for a in best(scored, 4, random.Random(0))} == {"1", "2", "3", "5"}


def test_wrong_ones_fill_up():
    kept = best(answers([0.0, 1.0, 0.0]), 2, random.Random(0))
    assert [a.grade.score for a in kept] == [1.0, 0.0]
    assert len(best(answers([0.0, 1.0]), 5, random.Random(0))) == 2


def module(name, **arguments):
    settings = {"base": source(), "optimizer": ADAMW, "n": 2, "candidates": 3, **arguments}
    return {"class_path": f"plm.modules.{name}", "init_args": settings}


def scripted(*texts):
    return {"engine": {"class_path": ENGINE, "init_args": {"answers": list(texts)}}}


def test_expert_iteration_counts_every_candidate_and_trains_on_the_best(tmp_path):
    run = fit(tmp_path / "ei.yaml", config(module("ExpertIterationModule"), data=scripted("b", "ae0", "ae1"), rounds=3))
    last = run.read_results()[-1]
    assert last["method"] == "expert_iteration" and last["generations"] == last["graded"]
    assert last["graded"] >= 3 * 6 and last["graded"] % 6 == 0  # a round without a right answer is drawn again
    assert last["optimizer_steps"] == 3
    rows = [row for index in range(3) for row in run.read_round(index)]
    assert len(rows) == 3 * 2


def test_filtered_sft_spends_the_same_budget_on_another_policys_answers(tmp_path):
    reference = {"class_path": "plm.policies.ReferencePolicy"}
    run = fit(tmp_path / "f.yaml", config(module("FilteredSFTModule", policy=reference), data=scripted("b"), rounds=2))
    last = run.read_results()[-1]
    assert (last["generations"], last["graded"], last["demonstrations"]) == (12, 12, last["demonstrations"])
    assert 2 <= last["demonstrations"] <= 4


def test_accumulation_changes_nothing(tmp_path):
    data = {**scripted("b", "ae0", "ae1"), "batch_size": 8}
    content = config(module("ExpertIterationModule", n=8, candidates=1), data=data, callbacks=[], rounds=2)
    whole, cut = (fit(tmp_path / f"{n}.yaml", content, f"--trainer.accumulate_grad_batches={n}") for n in (1, 8))
    assert whole.read_round(1)
    same(weights(whole), weights(cut), atol=5e-6, rtol=1e-4)


@pytest.mark.parametrize("key", ["n", "candidates"])
def test_impossible_numbers_are_one_line(tmp_path, capsys, key):
    assert plm("fit", write(tmp_path / "bad.yaml", config(module("ExpertIterationModule", **{key: 0})))) == 1
    assert f"{key} is 0" in capsys.readouterr().err
