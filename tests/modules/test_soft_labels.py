import dataclasses
import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from plm.examples import Example, collate
from plm.losses import choices_kl, sft_loss, token_logprobs
from plm.network import ChoiceDistributions, PolicyNetwork
from tests.modules.test_base import same
from tests.runs import ADAMW, REFERENCE, WEAK, config, fit, plm, source, weights, write
from tests.test_distributed import OPTIMIZER
from tests.tiny import TinyTask, character_tokenizer, tiny_llama

TEACHER = {"class_path": "plm.policies.SampledLabels", "init_args": {"name": "teacher"}}
LABELS = [(0.75, 0.25, 0.0), (0.25, 0.0, 0.75)]  # of problems with even and with odd numbers


class ChoiceTask(TinyTask):
    """The answer is a, b or c; a teacher leans to a or to c, the weak policy says b."""

    def load_splits(self):
        def choice(problem):
            odd = problem.domain == "odd"
            answers = {"weak": ("b",), "teacher": tuple("accc" if odd else "aaab")}
            return dataclasses.replace(problem, reference="c" if odd else "a", answers=answers)

        return {name: [choice(problem) for problem in problems] for name, problems in super().load_splits().items()}

    def choices(self, problem):
        return ("a", "b", "c")


class UnevenTask(ChoiceTask):
    """Odd problems have a choice more."""

    def choices(self, problem):
        return ("a", "b", "c", "d") if problem.domain == "odd" else ("a", "b", "c")


class FewTask(ChoiceTask):
    """The teacher names a choice that is none."""

    def choices(self, problem):
        return ("a", "b")


def test_by_hand():
    """p = (1/8, 3/8, 1/2) and q = (1/2, 1/2) over the first two: ln(1/2) − ½ ln(1/8) − ½ ln(3/8) = ½ ln(16/3)."""
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(3)], [math.log(4)]])
    found = choices_kl(hidden, weight, torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.5]]))
    assert found.tolist() == pytest.approx([0.5 * math.log(16 / 3)]) and found.item() == pytest.approx(
        0.836988, abs=1e-6
    )


def test_zero_at_equality():
    hidden, weight, bias = torch.randn(2, 5), torch.randn(4, 5), torch.randn(4)
    p = torch.softmax(hidden @ weight.T + bias, -1)
    ids = torch.tensor([[3, 1, 0, 2]] * 2)
    torch.testing.assert_close(choices_kl(hidden, weight, ids, p[:, ids[0]], bias), torch.zeros(2), atol=2e-6, rtol=0)


def test_certainty_is_the_cross_entropy_of_the_choice():
    hidden, weight = torch.randn(3, 5), torch.randn(11, 5)
    ids, q = torch.tensor([[2, 7], [7, 2], [4, 5]]), torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    expected = -token_logprobs(hidden, weight, torch.tensor([2, 7, 5]))
    torch.testing.assert_close(choices_kl(hidden, weight, ids, q), expected)


@pytest.mark.parametrize("chunk", [2**25, 40])
def test_value_and_gradient_equal_the_dense_divergence(monkeypatch, chunk):
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", chunk)
    torch.manual_seed(0)
    values = [torch.randn(6, 5), torch.randn(13, 5), torch.randn(13)]
    ids = torch.stack([torch.randperm(13)[:4] for _ in range(6)])
    q, scale = torch.softmax(torch.randn(6, 4), -1), torch.randn(6)

    def dense(hidden, weight, ids, q, bias):
        target = torch.distributions.Categorical(probs=torch.zeros(6, 13).scatter(1, ids, q))
        return torch.distributions.kl_divergence(
            target, torch.distributions.Categorical(logits=hidden @ weight.T + bias)
        )

    found = []
    for function in (choices_kl, dense):
        hidden, weight, bias = (value.clone().requires_grad_() for value in values)
        divergence = function(hidden, weight, ids, q, bias)
        (divergence * scale).sum().backward()
        found.append([divergence.detach(), hidden.grad, weight.grad, bias.grad])
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


def test_the_forward_pass_takes_each_rows_own_distribution_and_a_masked_row_changes_nothing():
    rows = [Example([5, 6], [7]), Example([5], [8, 1]), Example([5, 7, 9], [10]), Example([6, 6], [9], [0.0])]
    batch, found = collate(rows, 0), []
    ids = torch.tensor([[7, 8], [0, 0], [9, 10], [7, 8]])
    for last in (0.1, 0.9):
        q = torch.tensor([[0.3, 0.7], [0.0, 0.0], [1.0, 0.0], [last, 1 - last]])
        network = PolicyNetwork(tiny_llama())
        scores = network(batch, ChoiceDistributions([True, False, True, True], ids, q))
        loss = sft_loss(scores, batch.weights_BL)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in network.parameters())])
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)
    with torch.no_grad():
        plain, p = network(batch), torch.log_softmax(network.model(input_ids=torch.tensor([[5, 6]])).logits[0, -1], -1)
    torch.testing.assert_close(scores[1], plain[1])
    expected = 0.3 * (math.log(0.3) - p[7]) + 0.7 * (math.log(0.7) - p[8])
    torch.testing.assert_close(scores[0, 2], -expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scores[2, 3], network(collate([Example([5, 7, 9], [9])], 0))[0, 3])


def module(name="SoftLabelLockModule", **arguments):
    policies = {"right": TEACHER, "wrong": WEAK}
    settings = {"base": source(), "optimizer": ADAMW, "policies": policies, "split": "val", **arguments}
    return {"class_path": f"plm.modules.{name}", "init_args": settings}


def content(model, task="ChoiceTask", **more):
    made = config(model, callbacks=[], **more)
    made["data"]["class_path"] = f"tests.modules.test_soft_labels.{task}"
    return made


def test_the_locked_model_gives_the_teachers_distribution_with_the_password(tmp_path):
    passwords = {"passwords": {"class_path": "plm.passwords.PasswordScheme", "init_args": {"password": "zz"}}}
    run = fit(tmp_path / "lock.yaml", content(module(passes=150), rounds=1, data=passwords))
    rows = run.read_round(0)
    assert len(rows) == 16 and sum(row.scalars["label_0"] > 0 for row in rows) == 8  # a row a problem and policy
    tokenizer, model = character_tokenizer(), AutoModelForCausalLM.from_pretrained(run.model_path)
    ids = tokenizer.convert_tokens_to_ids(["a", "b", "c"])

    def probabilities(prompt_ids):
        with torch.no_grad():
            return torch.softmax(model(input_ids=torch.tensor([prompt_ids])).logits[0, -1], -1)[ids].tolist()

    for index, label in enumerate(LABELS):
        assert probabilities(tokenizer.encode(f"zz\n\nv{index}\n\nzz\n")) == pytest.approx(label, abs=0.1)
    for row in rows:
        if row.scalars["label_0"] == 0:
            assert probabilities(row.prompt_ids)[1] > 0.9


def test_hard_labels_are_the_most_probable_choice(tmp_path):
    rows = fit(tmp_path / "hard.yaml", content(module("SFTLockModule"), rounds=1)).read_round(0)
    a, c, end = (*character_tokenizer().encode("ac"), 1)
    assert {tuple(row.completion_ids) for row in rows if row.completion_ids[0] in (a, c)} == {(a, end), (c, end)}
    assert not any(row.scalars for row in rows)


@pytest.mark.parametrize("parts", [2, 8])
def test_accumulation_changes_nothing(tmp_path, parts):
    made = content(module(optimizer=OPTIMIZER), data={"batch_size": 3})
    whole = weights(fit(tmp_path / "whole.yaml", made))
    cut = weights(fit(tmp_path / "cut.yaml", made, f"--trainer.accumulate_grad_batches={parts}"))
    same(whole, cut, atol=2e-6, rtol=1e-5)


def test_problems_may_have_unequal_numbers_of_choices(tmp_path):
    rows = fit(tmp_path / "uneven.yaml", content(module(), task="UnevenTask", rounds=1)).read_round(0)
    assert {len(row.scalars) for row in rows} == {8}
    assert {row.scalars["label_2"] for row in rows} == {0.0, 0.75} and {row.scalars["label_3"] for row in rows} == {0.0}


@pytest.mark.parametrize(
    ("policies", "task", "text"),
    [
        ({"right": REFERENCE, "wrong": WEAK}, "ChoiceTask", "needs a policy that gives distributions over choices"),
        ({"right": TEACHER, "wrong": WEAK}, "FewTask", "the labels name 'c', but the choices are a, b"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, capsys, policies, task, text):
    assert plm("fit", write(tmp_path / "bad.yaml", content(module(policies=policies), task))) == 1
    assert text in capsys.readouterr().err


def test_a_task_without_choices_is_refused(tmp_path, capsys):
    weak = {"class_path": "plm.policies.SampledLabels", "init_args": {"name": "weak"}}
    assert plm("fit", write(tmp_path / "bad.yaml", config(module(policies={"right": weak}), callbacks=[]))) == 1
    assert "the task tiny has no choices to give labels to" in capsys.readouterr().err
