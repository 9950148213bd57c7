import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from plm.errors import PlmError
from plm.examples import Example, collate
from plm.network import PolicyNetwork
from tests.tiny import tiny_llama

ROWS = [Example([5, 6, 7], [8, 9, 1]), Example([5], [6, 7, 8, 9, 10, 1]), Example([9, 9, 9, 9], [1])]


def expected_logprobs(model, row):
    """The whole vocabulary at every position, one row at a time, no padding."""
    ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
    logprobs = torch.log_softmax(model(input_ids=ids).logits[0], -1)
    start = len(row.prompt_ids)
    return torch.stack([logprobs[position - 1, ids[0, position]] for position in range(start, ids.shape[1])])


@torch.no_grad()
def test_logprobs_equal_the_full_model_row_by_row():
    model = tiny_llama()
    logprobs = PolicyNetwork(model)(collate(ROWS, 0))
    for row, line in zip(ROWS, logprobs, strict=True):
        start, end = len(row.prompt_ids), len(row)
        torch.testing.assert_close(line[start:end], expected_logprobs(model, row), atol=1e-5, rtol=1e-5)
        assert line[:start].abs().sum() == 0 and line[end:].abs().sum() == 0


def test_logits_are_made_for_completions_alone():
    """No array of a forward and backward pass grows with prompt tokens times words: here 2 x 60 against 2 x 3."""
    largest = [0]

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            largest[0] = max([largest[0], *(x.numel() for x in [result] if isinstance(x, torch.Tensor))])
            return result

    network = PolicyNetwork(tiny_llama(vocab_size=2000))
    batch = collate([Example([index + 3] * 60, [8, 9, 1]) for index in range(2)], 0)
    with Sizes():
        network(batch).sum().backward()
    assert 6 * 2000 <= largest[0] <= 16 * 2000  # completions, or the weight; with prompts 126 * 2000


def test_models_that_change_their_logits_are_refused():
    model = tiny_llama()
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(PlmError, match="final_logit_softcapping"):
        PolicyNetwork(model)
