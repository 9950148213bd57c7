import math

import pytest
import torch

from plm.losses import clipped_policy_gradient_loss
from plm.modules.grpo import group_advantages
from tests.modules.test_base import same
from tests.runs import ADAMW, config, fit, source, weights


def test_advantages_by_hand():
    """Scores 1, 0, 0, 0: mean 1/4, standard deviation sqrt(3)/4."""
    assert group_advantages([1, 0, 0, 0]) == pytest.approx([math.sqrt(3)] + [-1 / math.sqrt(3)] * 3)
    assert group_advantages([1.0, 1.0]) == []


def test_at_the_sampling_weights_the_gradient_is_reinforce_by_hand():
    """Ratios are 1: d/dlogp of -A/|y| sum_t ratio = -A/|y|."""
    logprobs = torch.tensor([[0.0, -1.0, -2.0], [0.0, -3.0, 0.0]], requires_grad=True)
    weights = torch.tensor([[0.0, 1.0, 1.0], [0.0, 1.0, 0.0]])
    loss = clipped_policy_gradient_loss(logprobs, logprobs.detach(), torch.tensor([2.0, -1.0]), weights, 0.2)
    assert loss.item() == pytest.approx(-2.0 + 1.0)
    loss.backward()
    assert logprobs.grad.tolist() == [[0.0, -1.0, -1.0], [0.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("ratio", "advantage", "value", "moves"),
    [(1.5, 1.0, -1.2, False), (0.5, 1.0, -0.5, True), (1.5, -1.0, 1.5, True), (0.5, -1.0, 0.8, False)],
)
def test_clipping_by_hand(ratio, advantage, value, moves):
    logprob = torch.tensor([[math.log(ratio)]], requires_grad=True)
    loss = clipped_policy_gradient_loss(logprob, torch.zeros(1, 1), torch.tensor([advantage]), torch.ones(1, 1), 0.2)
    assert loss.item() == pytest.approx(value)
    loss.backward()
    assert bool(logprob.grad.abs().sum() > 0) == moves


def test_masked_tokens_and_fillers_change_nothing():
    logprobs, old, advantages = torch.randn(2, 4), torch.randn(2, 4), torch.randn(2)
    weights = torch.tensor([[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    loss = clipped_policy_gradient_loss(logprobs, old, advantages, weights, 0.2)
    logprobs[:, [0, 3]] += 5
    logprobs[1] -= 7
    assert clipped_policy_gradient_loss(logprobs, old, advantages, weights, 0.2).item() == pytest.approx(loss.item())


def content(**more):
    engine = {"class_path": "tests.tiny.ScriptedEngine", "init_args": {"answers": ["b", "ae0", "b", "ae1", "b"]}}
    settings = {"base": source(), "optimizer": ADAMW, "problems": 8, "answers": 3}
    data = {"engine": engine, "batch_size": more.pop("batch_size", 4)}
    return config({"class_path": "plm.modules.GRPOModule", "init_args": settings}, data=data, **more)


def test_the_real_command_keeps_old_logprobs_and_drops_even_groups(tmp_path):
    run = fit(tmp_path / "grpo.yaml", content())
    rows = run.read_round(0)
    assert 0 < len(rows) < 24 and len(rows) % 3 == 0
    assert all(len(row.token_scalars["old_logprob"]) == len(row.completion_ids) for row in rows)
    assert sum(row.scalars["advantage"] for row in rows) == pytest.approx(0, abs=1e-6)
    assert run.read_results()[-1]["generations"] == 2 * 24


def test_accumulation_changes_nothing(tmp_path):
    made = content(batch_size=8, callbacks=[])
    whole, cut = (fit(tmp_path / f"{n}.yaml", made, f"--trainer.accumulate_grad_batches={n}") for n in (1, 8))
    assert whole.read_round(1)
    same(weights(whole), weights(cut), atol=5e-6, rtol=1e-4)
