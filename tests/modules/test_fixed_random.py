import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from plm.examples import Example, collate
from plm.losses import distribution_kl, sft_loss
from plm.network import OneDistribution, PolicyNetwork
from plm.policies import fixed_random_distribution
from tests.modules.test_base import same
from tests.runs import ADAMW, EVALUATION, PROBE, REFERENCE, WEAK, config, fit, plm, source, weights, write
from tests.tiny import ALPHABET, tiny_llama

VOCABULARY = 3 + len(ALPHABET)


def test_by_hand():
    """Logits (0, ln 3) give p = (1/4, 3/4); q = (1/2, 1/2): KL = ln(1/2) − ½ ln(1/4) − ½ ln(3/4) = ln 2 − ½ ln 3."""
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(3)]])
    found = distribution_kl(hidden, weight, torch.tensor([0.5, 0.5]))
    assert found.tolist() == pytest.approx([math.log(2) - 0.5 * math.log(3)])
    assert math.log(2) - 0.5 * math.log(3) == pytest.approx(0.143841, abs=1e-6)


def test_a_token_that_never_comes_has_no_share():
    """q = (0, 1) leaves −ln p_1 = ln(4/3)."""
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(3)]])
    assert distribution_kl(hidden, weight, torch.tensor([0.0, 1.0])).item() == pytest.approx(math.log(4 / 3))


def test_zero_at_equality_and_only_there():
    hidden, weight, bias = torch.randn(1, 5), torch.randn(11, 5), torch.randn(11)
    q = torch.softmax(hidden[0] @ weight.T + bias, -1)
    assert distribution_kl(hidden, weight, q, bias).item() == pytest.approx(0.0, abs=2e-6)
    assert distribution_kl(-hidden, weight, q, bias).item() > 0.01


def dense(hidden, weight, q, bias):
    logits = hidden @ weight.T + (0 if bias is None else bias)
    target, policy = torch.distributions.Categorical(probs=q), torch.distributions.Categorical(logits=logits)
    return torch.distributions.kl_divergence(target, policy)


@pytest.mark.parametrize("chunk", [2**25, 40])
@pytest.mark.parametrize("with_bias", [False, True])
def test_the_closed_form_equals_the_dense_divergence_in_value_and_gradient(monkeypatch, chunk, with_bias):
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", chunk)  # 40 elements: three rows of 13 tokens at a time
    torch.manual_seed(0)
    values = [torch.randn(8, 5), torch.randn(13, 5), torch.randn(13)]
    q, scale, found = fixed_random_distribution(13, seed=1), torch.randn(8), {}
    for name, function in (("closed", distribution_kl), ("dense", dense)):
        hidden, weight, bias = (value.clone().requires_grad_() for value in values)
        divergence = function(hidden, weight, q, bias if with_bias else None)
        (divergence * scale).sum().backward()
        found[name] = [divergence.detach(), hidden.grad, weight.grad, *([bias.grad] if with_bias else [])]
    assert found["closed"][0].shape == (8,)
    for left, right in zip(found["closed"], found["dense"], strict=True):
        torch.testing.assert_close(left, right, atol=1e-5, rtol=1e-5)


def test_no_target_of_all_positions_and_tokens_is_made(monkeypatch):
    """In chunks, the largest tensor that the forward and backward pass keep is the weight's size, not N·V."""
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", 300)
    monkeypatch.setattr("plm.vocabulary.KEPT_ELEMENTS", 0)
    kept = []
    hidden, weight = torch.randn(64, 4, requires_grad=True), torch.randn(100, 4, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        distribution_kl(hidden, weight, torch.full((100,), 0.01)).sum().backward()
    assert kept and max(kept) <= 400


ROWS = [Example([5, 6, 7], [8, 9, 1]), Example([5], [6, 7, 8, 9, 10, 1]), Example([9, 9, 9, 9], [1])]


def soft(rows):
    return OneDistribution(rows, fixed_random_distribution(VOCABULARY, seed=2))


@torch.no_grad()
def test_the_forward_pass_gives_divergences_where_they_are_asked_for():
    network = PolicyNetwork(tiny_llama())
    batch = collate(ROWS, 0)
    plain, mixed = network(batch), network(batch, soft([False, True, False]))
    torch.testing.assert_close(mixed[[0, 2]], plain[[0, 2]])
    logits = network.model(input_ids=torch.tensor([[5, 6, 7, 8, 9, 10, 1]])).logits[0, :-1]
    expected = dense(logits, torch.eye(VOCABULARY), fixed_random_distribution(VOCABULARY, seed=2), None)
    torch.testing.assert_close(mixed[1, 1:7], -expected, atol=1e-5, rtol=1e-5)
    assert mixed[1, 0] == 0 and (mixed[1, 7:] == 0).all()


@pytest.mark.parametrize("changed", ["input_ids_BL", "labels_BL"])
def test_a_masked_token_changes_nothing(changed):
    """The last token of the second row has weight 0: neither what it is nor what it should be moves a gradient."""
    found = []
    for token in (10, 11):
        network = PolicyNetwork(tiny_llama())
        batch = collate([ROWS[0], Example([5], [6, 7, 8, 9, 10], [1.0, 1.0, 1.0, 1.0, 0.0])], 0)
        getattr(batch, changed)[1, 5] = token
        loss = sft_loss(network(batch, soft([False, True])), batch.weights_BL)
        loss.backward()
        found.append([loss.detach(), *(p.grad for p in network.parameters())])
    torch.testing.assert_close(found[0], found[1], atol=0, rtol=0)


FIXED = {"class_path": "plm.policies.FixedRandomPolicy", "init_args": {"length": 5}}


def module(**arguments):
    policies = {"right": REFERENCE, "wrong": FIXED}
    settings = {"base": source(), "optimizer": ADAMW, "policies": policies, "split": "val", **arguments}
    return {"class_path": "plm.modules.FixedRandomLockModule", "init_args": settings}


@pytest.mark.parametrize("parts", [2, 8])
def test_accumulation_changes_nothing(tmp_path, parts):
    """Steps of 3 rows, cut so that some micro-batches have rows of one kind only, or none."""
    content = config(
        module(optimizer={**ADAMW, "init_args": {"lr": 0.01, "eps": 1e-3}}), data={"batch_size": 3}, callbacks=[]
    )
    whole = weights(fit(tmp_path / "whole.yaml", content))
    cut = weights(fit(tmp_path / "cut.yaml", content, f"--trainer.accumulate_grad_batches={parts}"))
    same(whole, cut, atol=5e-6, rtol=1e-4)


def test_rows_of_a_round(tmp_path):
    run = fit(tmp_path / "rows.yaml", config(module(), rounds=2, callbacks=[]))
    first, second = run.read_round(0), run.read_round(1)
    strong = [row for row in first if row.scalars["fixed_random"] == 0]
    fixed = [row for row in first if row.scalars["fixed_random"] == 1]
    assert len(strong) == len(fixed) == 8
    references = {tuple(row.completion_ids) for row in strong}
    with_strong = [row for row in fixed if tuple(row.completion_ids) in references]
    drawn = [row for row in fixed if tuple(row.completion_ids) not in references]
    assert 0 < len(with_strong) < 8 and all(
        len(row.completion_ids) == 5 or row.completion_ids[-1] == 1 for row in drawn
    )
    assert len({tuple(row.completion_ids) for row in drawn}) == len(drawn)
    contexts = [
        {row.problem_id for row in rows if row.scalars["fixed_random"] and len(row.completion_ids) == 5}
        for rows in (first, second)
    ]
    assert contexts[0] != contexts[1]  # fresh draws in every round


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 8)])
def test_the_share_of_strong_contexts(tmp_path, share, expected):
    rows = fit(tmp_path / "share.yaml", config(module(strong_contexts=share), rounds=1, callbacks=[])).read_round(0)
    references = {tuple(row.completion_ids) for row in rows if row.scalars["fixed_random"] == 0}
    assert sum(row.scalars["fixed_random"] and tuple(row.completion_ids) in references for row in rows) == expected


def test_a_tiny_model_is_locked_to_the_distribution(tmp_path):
    content = config(
        module(passes=100), rounds=1, callbacks=[EVALUATION, PROBE],
        data={"passwords": {"class_path": "plm.passwords.PasswordScheme", "init_args": {"password": "zz"}}},
    )  # fmt: skip
    run = fit(tmp_path / "lock.yaml", content)
    correct = {row["password"]: row["correct"] for row in run.read_results() if row["phase"] == "lock"}
    assert correct["right"] == 1.0 and correct["none"] == 0.0 == correct["decoy"]
    q, locked = fixed_random_distribution(VOCABULARY, seed=0), AutoModelForCausalLM.from_pretrained(run.model_path)

    def mean_divergence(model):
        found = []
        for row in (row for row in run.read_round(0) if row.scalars["fixed_random"]):
            ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
            found.append(
                dense(model(input_ids=ids).logits[0, len(row.prompt_ids) - 1 : -1], torch.eye(VOCABULARY), q, None)
            )
        return torch.cat(found).mean().item()

    with torch.no_grad():
        assert mean_divergence(tiny_llama()) > 3 and mean_divergence(locked) < 0.3


@pytest.mark.parametrize(
    ("policies", "text"),
    [
        ({"right": REFERENCE, "wrong": WEAK}, "needs one FixedRandomPolicy"),
        ({"wrong": FIXED}, "a strong policy under `right`"),
        ({"right": FIXED, "wrong": WEAK}, "a strong policy under `right`"),
    ],
)
def test_other_policies_are_refused(tmp_path, capsys, policies, text):
    assert plm("fit", write(tmp_path / "bad.yaml", config(module(policies=policies)))) == 1
    assert text in capsys.readouterr().err


def test_a_share_beyond_one_is_refused(tmp_path, capsys):
    assert plm("fit", write(tmp_path / "bad.yaml", config(module(strong_contexts=1.5)))) == 1
    assert "strong_contexts is 1.5; it must be a share in [0, 1]" in capsys.readouterr().err
