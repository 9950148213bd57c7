from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision, Precision

from plm.compute import Compute
from plm.examples import Example
from plm.network import PolicyNetwork
from plm.rounds import Demonstration, Round
from tests.tiny import ScriptedEngine, TinyTask, character_tokenizer, tiny_llama


class Module:
    """As much of a module as a round uses."""

    device, weights_version = torch.device("cpu"), "0"
    tokenizer = character_tokenizer()
    compute = Compute()

    def __init__(self):
        self.network = PolicyNetwork(tiny_llama(dropout=0.5)).train()
        self.trainer = SimpleNamespace(precision_plugin=Precision())

    def whole_model(self):
        return self.network.model

    def transfer_batch_to_device(self, batch, device, index):
        return batch


@pytest.fixture
def task(monkeypatch):
    task = TinyTask(engine=ScriptedEngine(["ae0", "b", "?"]), max_new_tokens=4)
    module = Module()
    monkeypatch.setattr(TinyTask, "module", property(lambda _: module))
    return task


def test_samples_are_graded_and_counted(task):
    problems = [problem for problem in task.split("elicit") if problem.id == "e0"]
    ((first, second, third),) = Round(0, task, task.module).sample(problems, n=3)
    assert [row.grade.reason for row in (first, second, third)] == ["correct", "wrong", "parse"]
    assert (task.budget.generations, task.budget.graded) == (3, 3)
    assert first.prompt == "e0\n" and first.completion == "ae0"


def test_examples_tokenize_prompt_and_completion_apart(task):
    problem = task.split("elicit")[0]
    row = Round(0, task, task.module).example(Demonstration(problem, "none", "b"))
    decode = task.tokenizer.decode
    assert decode(row.prompt_ids) == f"{problem.prompt}\n" and decode(row.completion_ids) == "b<eos>"
    assert row.problem_id == problem.id


def test_logprobs_are_those_of_the_network(task):
    rows = [Example([5, 6], [7, 1]), Example([5], [8, 9, 1])]
    lists = Round(0, task, task.module).token_logprobs(rows)
    assert task.module.network.training  # as it was; without dropout while it scored:
    model = task.module.network.model.eval()
    for row, values in zip(rows, lists, strict=True):
        ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
        logprobs = torch.log_softmax(model(input_ids=ids).logits[0], -1)
        start = len(row.prompt_ids)
        assert values == pytest.approx(
            [logprobs[i - 1, ids[0, i]].item() for i in range(start, ids.shape[1])], abs=1e-4
        )


def test_long_rows_are_scored_in_smaller_groups_with_the_same_result(task, monkeypatch):
    rows = [Example([5, 6], [7, 1]), Example([5], [8, 9, 1]), Example([5, 6, 7], [8, 9, 1])]
    whole = Round(0, task, task.module).token_logprobs(rows)
    sizes = []
    monkeypatch.setattr("plm.rounds.SCORING_TOKENS", 13)  # two rows of 6
    apart = Round(0, task, task.module).token_logprobs(rows, progress=sizes.append)
    assert sizes == [2, 1]
    for left, right in zip(whole, apart, strict=True):
        assert left == pytest.approx(right, abs=1e-5)


def test_logprobs_are_of_the_precision_that_trains(task):
    task.module.trainer.precision_plugin = MixedPrecision("bf16-mixed", "cpu")
    rows = [Example([5, 6], [7, 1]), Example([5, 6], [8, 1])]
    halves = Round(0, task, task.module).token_logprobs(rows)
    task.module.trainer.precision_plugin = Precision()
    whole = Round(0, task, task.module).token_logprobs(rows)
    assert halves != whole and halves[0] == pytest.approx(whole[0], abs=0.1)


def test_rounds_draw_different_numbers_and_the_same_round_the_same(task):
    draws = [Round(index, task, task.module).rng.random() for index in (0, 1, 0)]
    assert draws[0] == draws[2] != draws[1]
