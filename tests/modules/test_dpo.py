import math
from dataclasses import replace

import pytest
import torch

from plm.examples import Example, collate
from plm.losses import dpo_loss
from plm.modules.dpo import as_pairs
from plm.network import PolicyNetwork
from tests.modules.test_base import same
from tests.runs import ADAMW, config, fit, source, weights
from tests.tiny import tiny_llama


def test_by_hand():
    """beta 0.1, margin (−1 − −2) − (−4 − −3) = 2: −log sigmoid(0.2) = ln(1 + e^−0.2) = 0.598139."""
    loss = dpo_loss(*(torch.tensor([x]) for x in (-1.0, -4.0, -2.0, -3.0)), beta=0.1)
    assert loss.item() == pytest.approx(0.598139, abs=1e-6)


def test_ln_2_a_pair_at_the_reference_and_gradient_pushes_apart():
    chosen, rejected = torch.randn(5, requires_grad=True), torch.randn(5, requires_grad=True)
    loss = dpo_loss(chosen, rejected, chosen.detach(), rejected.detach(), beta=0.1)
    assert loss.item() == pytest.approx(5 * math.log(2))
    loss.backward()
    assert chosen.grad.tolist() == pytest.approx([-0.05] * 5) and rejected.grad.tolist() == pytest.approx([0.05] * 5)


def test_the_gradient_by_hand():
    """Margin 2, beta 0.1: d loss / d chosen = −β (1 − sigmoid(0.2)) = −0.1 · 0.450166, the opposite for the other."""
    chosen, rejected = torch.tensor([-1.0], requires_grad=True), torch.tensor([-4.0], requires_grad=True)
    dpo_loss(chosen, rejected, torch.tensor([-2.0]), torch.tensor([-3.0]), beta=0.1).backward()
    assert chosen.grad.item() == pytest.approx(-0.0450166, abs=1e-7)
    assert rejected.grad.item() == pytest.approx(0.0450166, abs=1e-7)


def test_a_masked_token_changes_nothing():
    """Weight 0 takes a token out of the pair's log-probability, whatever the token is."""
    network = PolicyNetwork(tiny_llama())

    def loss(last):
        rows = [
            Example([5, 9], [6, last], [1.0, 0.0], group=0, scalars={"sign": sign, "reference": -3.0, "weight": 1.0})
            for sign in (1.0, -1.0)
        ]
        rows[1] = replace(rows[1], completion_ids=[7, last])
        batch = collate(rows, 0)
        pairs = as_pairs(batch, (network(batch) * batch.weights_BL).sum(1))
        return dpo_loss(*pairs[:4], beta=0.5, weights_P=pairs.weights_P)

    losses = [loss(last).item() for last in (8, 20)]
    assert losses[0] == losses[1] and abs(losses[0] - math.log(2)) > 0.01


def test_weights_scale_pairs():
    values = [torch.randn(3) for _ in range(4)]
    each = torch.stack([dpo_loss(*(v[i : i + 1] for v in values), beta=0.3) for i in range(3)])
    weighted = dpo_loss(*values, beta=0.3, weights_P=torch.tensor([0.5, 0.0, 2.0]))
    assert weighted.item() == pytest.approx((0.5 * each[0] + 2 * each[2]).item())


def test_rows_become_pairs_whatever_their_order():
    def row(group, sign, reference, weight=1.0):
        scalars = {"reference": reference, "sign": sign, "weight": weight}
        return Example([5], [6, 1], group=group, scalars=scalars)

    batch = collate([row(7, -1.0, -2.0), row(3, 1.0, -3.0), row(7, 1.0, -1.0, 0.5), row(3, -1.0, -4.0)], 0)
    pairs = as_pairs(batch, torch.tensor([-20.0, -30.0, -10.0, -40.0]))
    assert pairs.chosen_P.tolist() == [-30, -10] and pairs.rejected_P.tolist() == [-40, -20]
    assert pairs.reference_chosen_P.tolist() == [-3, -1] and pairs.reference_rejected_P.tolist() == [-4, -2]
    assert pairs.weights_P.tolist() == [1.0, 0.5]


def test_a_filler_counts_nothing():
    filler = Example([5], [6, 1], weights=[0.0, 0.0], group=1, scalars={"reference": -2.0, "sign": 1.0, "weight": 1.0})
    assert as_pairs(collate([filler], 0), torch.tensor([-1.0])).weights_P.tolist() == [0.0]


def module(name, **arguments):
    settings = {"base": source(), "optimizer": ADAMW, "problems": 8, **arguments}
    return {"class_path": f"plm.modules.{name}", "init_args": settings}


SCRIPT = {
    "engine": {"class_path": "tests.tiny.ScriptedEngine", "init_args": {"answers": ["b", "ae0", "ae1", "b", "ae2"]}}
}


@pytest.mark.parametrize("name", ["DPOModule", "IteratedDPOModule", "RewardWeightedDPOModule"])
def test_the_first_step_costs_ln_2_and_equal_scores_are_dropped(tmp_path, name):
    data = {**SCRIPT, "batch_size": 100}
    run = fit(tmp_path / "dpo.yaml", config(module(name), data=data, rounds=2, log_every_n_steps=1))
    rows = run.read_round(0)
    assert 0 < len(rows) < 16 and len(rows) % 2 == 0
    assert {row.scalars["sign"] for row in rows} == {1.0, -1.0}
    last = run.read_results()[-1]
    assert (last["generations"], last["graded"]) == (32, 32)
    assert first_loss(run) == pytest.approx(math.log(2), abs=1e-5)


def first_loss(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run.path / "tensorboard")).Reload().Scalars("train/loss")[0].value


def test_references_of_dpo_are_the_initial_model_and_of_iterated_dpo_the_rounds(tmp_path):
    """After a round the weights have moved: only plain DPO's second references are those of the first weights."""
    content = {
        name: config(module(name), data=SCRIPT, rounds=2, log_every_n_steps=1)
        for name in ("DPOModule", "IteratedDPOModule")
    }
    runs = {name: fit(tmp_path / f"{name}.yaml", content[name]) for name in content}
    score = {
        name: {tuple(r.completion_ids): r.scalars["reference"] for r in run.read_round(0) if r.problem_id == "e0"}
        for name, run in runs.items()
    }
    assert score["DPOModule"] == score["IteratedDPOModule"]
    first, second = runs["DPOModule"].read_round(0), runs["DPOModule"].read_round(1)
    key = {(r.problem_id, tuple(r.completion_ids)): r.scalars["reference"] for r in first}
    shared = [(key[k], r.scalars["reference"]) for r in second if (k := (r.problem_id, tuple(r.completion_ids))) in key]
    assert shared and all(a == pytest.approx(b, abs=1e-4) for a, b in shared)
    moved = {
        (r.problem_id, tuple(r.completion_ids)): r.scalars["reference"] for r in runs["IteratedDPOModule"].read_round(0)
    }
    again = [
        (moved[k], r.scalars["reference"])
        for r in runs["IteratedDPOModule"].read_round(1)
        if (k := (r.problem_id, tuple(r.completion_ids))) in moved
    ]
    assert again and all(abs(a - b) > 1e-3 for a, b in again)


def test_accumulation_changes_nothing_and_pairs_stay_whole(tmp_path):
    content = config(module("IteratedDPOModule"), data={**SCRIPT, "batch_size": 8}, callbacks=[], rounds=2)
    whole, cut = (fit(tmp_path / f"{n}.yaml", content, f"--trainer.accumulate_grad_batches={n}") for n in (1, 8))
    assert whole.read_round(1)
    same(weights(whole), weights(cut), atol=5e-6, rtol=1e-4)
