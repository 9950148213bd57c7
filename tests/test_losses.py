import math

import pytest
import torch

from plm.losses import sft_loss, token_logprobs


def test_token_logprobs_by_hand():
    """Logits are (0, ln 3): probabilities 1/4 and 3/4."""
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(3)]])
    assert token_logprobs(hidden, weight, torch.tensor([1])).item() == pytest.approx(math.log(3 / 4))
    assert token_logprobs(hidden, weight, torch.tensor([0])).item() == pytest.approx(math.log(1 / 4))


def test_token_logprobs_equal_log_softmax():
    hidden, weight, bias = torch.randn(7, 5), torch.randn(11, 5), torch.randn(11)
    targets = torch.randint(11, (7,))
    expected = torch.log_softmax(hidden @ weight.T + bias, -1)[torch.arange(7), targets]
    torch.testing.assert_close(token_logprobs(hidden, weight, targets, bias), expected)


def test_chunks_change_neither_values_nor_gradients(monkeypatch):
    hidden, weight = torch.randn(7, 5, requires_grad=True), torch.randn(11, 5, requires_grad=True)
    targets = torch.randint(11, (7,))
    whole = token_logprobs(hidden, weight, targets)
    whole.sum().backward()
    gradients = hidden.grad.clone(), weight.grad.clone()
    hidden.grad = weight.grad = None
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", 22)  # two rows at a time
    chunked = token_logprobs(hidden, weight, targets)
    chunked.sum().backward()
    torch.testing.assert_close(chunked, whole)
    torch.testing.assert_close((hidden.grad, weight.grad), gradients)


def test_sft_loss_sums_weighted_tokens():
    logprobs = torch.tensor([[0.0, -1.0, -2.0], [0.0, -4.0, 0.0]])
    weights = torch.tensor([[0.0, 1.0, 0.5], [0.0, 2.0, 0.0]])
    assert sft_loss(logprobs, weights).item() == pytest.approx(1.0 + 1.0 + 8.0)


def test_sft_loss_ignores_masked_tokens():
    logprobs = torch.randn(2, 4, requires_grad=True)
    weights = torch.tensor([[1.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    sft_loss(logprobs, weights).backward()
    assert torch.equal(logprobs.grad, -weights)
