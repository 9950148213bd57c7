"""The same batch, the same weights: TRL's DPO and SFT losses and gradients (dev extra), an independent reference."""

import copy

import pytest
import torch

from plm.examples import Example, collate
from plm.losses import dpo_loss, sft_loss
from plm.modules.dpo import as_pairs
from plm.network import PolicyNetwork
from tests.tiny import character_tokenizer, tiny_llama

TEXTS = [("what is 1?", " one", " three, maybe"), ("b", " bee", " c"), ("long prompt, short answer.", " x", " y z")]


@pytest.fixture(scope="module")
def trl():
    return pytest.importorskip("trl")


@pytest.fixture
def policy_and_reference():
    policy = tiny_llama(seed=0)
    return policy, tiny_llama(seed=0, scale=0.45)


def gradients(model):
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def assert_same(left, right):
    assert left.keys() == right.keys()
    for name in left:
        # gradients of size 1, summed in another order where the two answers share their prompt
        torch.testing.assert_close(left[name], right[name], atol=3e-5, rtol=1e-4)


def ids(text, finished=True):
    tokenizer = character_tokenizer()
    return tokenizer.encode(text, add_special_tokens=False) + [tokenizer.eos_token_id] * finished


def summed(network, rows):
    batch = collate(rows, 0)
    return (network(batch) * batch.weights_BL).sum(1)


@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_dpo_is_trls(trl, policy_and_reference, tmp_path, beta):
    from datasets import Dataset
    from trl.trainer.dpo_trainer import DataCollatorForPreference

    policy, reference = policy_and_reference
    names = ("prompt", "chosen", "rejected")
    trainer = trl.DPOTrainer(
        model=copy.deepcopy(policy),
        ref_model=copy.deepcopy(reference),
        args=trl.DPOConfig(output_dir=str(tmp_path), beta=beta, use_cpu=True, report_to=[], bf16=False),
        processing_class=character_tokenizer(),
        train_dataset=Dataset.from_list([dict(zip(names, row, strict=True)) for row in TEXTS]),
    )
    encoded = [
        {"prompt_ids": ids(prompt, False), "chosen_ids": ids(chosen), "rejected_ids": ids(rejected)}
        for prompt, chosen, rejected in TEXTS
    ]
    trainer.model.train()
    theirs = trainer.compute_loss(trainer.model, DataCollatorForPreference(pad_token_id=0)(encoded))
    theirs.backward()

    rows = []
    for group, row in enumerate(encoded):
        for sign, key in ((1.0, "chosen_ids"), (-1.0, "rejected_ids")):
            rows.append(Example(row["prompt_ids"], row[key], group=group, scalars={"sign": sign, "weight": 1.0}))
    with torch.no_grad():
        scores = summed(PolicyNetwork(reference), rows).tolist()
    for row, score in zip(rows, scores, strict=True):
        row.scalars["reference"] = score
    batch = collate(rows, 0)
    pairs = as_pairs(batch, summed(PolicyNetwork(policy), rows))
    ours = dpo_loss(*pairs[:4], beta, pairs.weights_P) / len(TEXTS)
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert abs(ours.item() - 0.6931) > 0.01  # away from the reference
    assert_same(gradients(policy), gradients(trainer.model))


def test_sft_is_trls(trl, policy_and_reference, tmp_path):
    from datasets import Dataset

    policy, _ = policy_and_reference
    rows = [{"prompt": prompt, "completion": chosen} for prompt, chosen, _ in TEXTS]
    trainer = trl.SFTTrainer(
        model=copy.deepcopy(policy),
        args=trl.SFTConfig(output_dir=str(tmp_path), use_cpu=True, report_to=[], bf16=False),
        processing_class=character_tokenizer(),
        train_dataset=Dataset.from_list(rows),
    )
    inputs = trainer.data_collator([trainer.train_dataset[index] for index in range(len(rows))])
    trainer.model.train()
    theirs = trainer.compute_loss(trainer.model, inputs)
    theirs.backward()
    batch = collate([Example(ids(prompt, False), ids(chosen)) for prompt, chosen, _ in TEXTS], 0)
    assert int((inputs["labels"] != -100).sum()) == int(batch.weights_BL.sum())
    ours = sft_loss(PolicyNetwork(policy)(batch), batch.weights_BL) / batch.weights_BL.sum()
    ours.backward()
    assert ours.item() == pytest.approx(theirs.item(), abs=1e-5)
    assert_same(gradients(policy), gradients(trainer.model))
