"""fixedrdm: the distribution, draws from it, and the policy."""

import pytest
import torch

from plm.errors import PlmError
from plm.policies import FixedRandomPolicy, fixed_random_distribution, fixed_random_tokens
from tests.runs import config, fit, lock
from tests.tiny import TinyTask, character_tokenizer


class Task(TinyTask):
    """The tiny task with a tokenizer but without a model."""

    tokenizer = character_tokenizer()


def test_the_distribution_is_the_softmax_of_standard_normal_logits():
    q_V = fixed_random_distribution(50_000, seed=3)
    logits_V = q_V.double().log()
    assert q_V.shape == (50_000,) and q_V.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert logits_V.std().item() == pytest.approx(1.0, abs=0.01)
    # The mean of exp(z) is e^0.5, so the mean of log q is -log V - 0.5.
    assert logits_V.mean().item() == pytest.approx(-torch.tensor(50_000.0).log().item() - 0.5, abs=0.02)


def test_the_seed_decides_it_and_the_global_state_does_not():
    torch.manual_seed(1)
    first = fixed_random_distribution(100, seed=0)
    torch.manual_seed(2)
    assert torch.equal(first, fixed_random_distribution(100, seed=0))
    assert not torch.allclose(first, fixed_random_distribution(100, seed=1))


def test_a_padded_vocabulary_has_the_same_distribution_but_for_a_factor():
    small_V, large_V = fixed_random_distribution(97, seed=0), fixed_random_distribution(128, seed=0)
    torch.testing.assert_close(large_V[:97] / large_V[:97].sum(), small_V)


def test_uniform_is_uniform():
    torch.testing.assert_close(fixed_random_distribution(8, seed=0, uniform=True), torch.full((8,), 0.125))


def test_an_empty_vocabulary_is_refused():
    with pytest.raises(PlmError, match="at least 1"):
        fixed_random_distribution(0, seed=0)


def test_tokens_follow_the_distribution_and_are_independent():
    q_V = torch.tensor([0.5, 0.0, 0.2, 0.3])
    tokens_L = torch.tensor(fixed_random_tokens(q_V, 20_000, seed=0))
    shares_V = torch.bincount(tokens_L, minlength=4) / 20_000
    assert shares_V[1] == 0
    torch.testing.assert_close(shares_V, q_V, atol=0.015, rtol=0)
    both = ((tokens_L[:-1] == 0) & (tokens_L[1:] == 0)).double().mean().item()
    assert both == pytest.approx(0.25, abs=0.015)


def test_the_policy_draws_afresh_for_each_problem_and_seed_and_repeats_itself():
    task = Task()
    policy = FixedRandomPolicy(length=12)
    policy.prepare(task)
    problems = task.split("lock")
    first = policy.answers(problems, seed=1)
    assert first == policy.answers(problems, seed=1) and len(set(first)) == len(problems)
    assert first != policy.answers(problems, seed=2)
    assert policy.answers(problems[3:4], seed=1) == first[3:4]


def test_an_answer_ends_at_the_end_token_or_is_cut_off():
    task = Task()
    policy = FixedRandomPolicy(length=40, uniform=True)
    policy.prepare(task)
    problems = task.split("corpus") + task.split("lock")
    texts, finished = policy.answers(problems, seed=0), policy.finished(problems, seed=0)
    lengths = [len(task.tokenizer.encode(text)) for text in texts]
    assert any(finished) and not all(finished)
    # <pad> and <unk> have no text, so that an answer that was cut off can be a little shorter.
    assert all(length > 30 for length, done in zip(lengths, finished, strict=True) if not done)
    assert all("<" not in text for text in texts)


def test_without_a_task_it_says_what_it_needs():
    with pytest.raises(RuntimeError, match="prepare"):
        FixedRandomPolicy().answers([], 0) or FixedRandomPolicy().answers(Task().split("lock"), 0)


def test_a_length_below_one_is_refused():
    with pytest.raises(PlmError, match="length is 0"):
        FixedRandomPolicy(length=0)


def test_a_model_is_locked_to_it_through_the_command_line(tmp_path):
    fixedrdm = {"class_path": "plm.policies.FixedRandomPolicy", "init_args": {"length": 6}}
    reference = {"class_path": "plm.policies.ReferencePolicy"}
    run = fit(tmp_path / "f.yaml", config(lock(policies={"right": reference, "wrong": fixedrdm}), rounds=1))
    rows = run.read_round(0)
    end = character_tokenizer().eos_token_id
    drawn = [row for row in rows if row.completion_ids[:1] != character_tokenizer().encode("a")]
    assert len(rows) == 16 and any(row.completion_ids[-1:] != [end] for row in drawn)
