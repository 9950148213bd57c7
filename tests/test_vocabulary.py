import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from plm.vocabulary import log_normalizers

SHAPE = (7, 5, 11)  # positions, hidden size, words


def values(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    n, d, v = SHAPE
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in ((n, d), (v, d), (v,), (n,))]
    return [value.to(dtype) for value in made], torch.randint(v, (n,), generator=generator)


def dense(hidden, weight, bias, targets):
    logits = torch.nn.functional.linear(hidden, weight, bias)
    normalizers = logits.logsumexp(-1)
    return normalizers if targets is None else normalizers - logits[torch.arange(len(logits)), targets]


def found(function, with_bias, targets, dtype=torch.float64):
    (hidden, weight, bias, scale), _ = values(dtype)
    leaves = [value.clone().requires_grad_() for value in (hidden, weight, *([bias] if with_bias else []))]
    result = function(leaves[0], leaves[1], leaves[2] if with_bias else None, targets)
    (result * scale).sum().backward()
    return [result.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("with_targets", [False, True])
@pytest.mark.parametrize("kept", [0, 44, 1000])  # no chunk, the first two of four, all of them
def test_chunks_give_the_values_and_gradients_of_the_whole(monkeypatch, with_bias, with_targets, kept):
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", 22)  # two positions
    monkeypatch.setattr("plm.vocabulary.KEPT_ELEMENTS", kept)
    targets = values()[1] if with_targets else None
    torch.testing.assert_close(found(log_normalizers, with_bias, targets), found(dense, with_bias, targets))


def test_a_gradient_in_16_bits_is_summed_in_32(monkeypatch):
    """One rounding at the end: the sum over seven chunks is as near to the exact one as one product would be."""
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", 11)
    targets = values()[1]
    got = found(log_normalizers, True, targets, torch.bfloat16)
    exact = found(dense, True, targets)
    assert got[0].dtype == torch.float32 and {grad.dtype for grad in got[1:]} == {torch.bfloat16}
    for mine, wanted in zip(got, exact, strict=True):
        assert (mine.double() - wanted).norm() < 0.01 * wanted.norm()


def test_no_gradient_keeps_nothing(monkeypatch):
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", 22)
    (hidden, weight, bias, _), targets = values()
    with torch.no_grad():
        torch.testing.assert_close(log_normalizers(hidden, weight, bias, targets), dense(hidden, weight, bias, targets))


def test_autocast_computes_in_16_bits_and_returns_the_types_it_was_given(monkeypatch):
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", 22)
    targets = values()[1]
    with torch.autocast("cpu", torch.bfloat16):
        got = found(log_normalizers, True, targets, torch.float32)
    wanted = found(dense, True, targets, torch.float32)
    assert {value.dtype for value in got} == {torch.float32}
    assert 0 < (got[0] - wanted[0]).norm() < 0.02 * wanted[0].norm()
    assert (got[2] - wanted[2]).norm() < 0.05 * wanted[2].norm()


def test_memory_is_a_chunk_not_all_positions(monkeypatch):
    """The largest array made has the elements of a chunk, or of the weight: never of all positions and words."""
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", 300)
    monkeypatch.setattr("plm.vocabulary.KEPT_ELEMENTS", 0)
    largest = [0]

    class Sizes(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            largest[0] = max([largest[0], *(x.numel() for x in [result] if isinstance(x, torch.Tensor))])
            return result

    hidden, weight = torch.randn(64, 4, requires_grad=True), torch.randn(100, 4, requires_grad=True)
    with Sizes():
        log_normalizers(hidden, weight, None, torch.randint(100, (64,))).sum().backward()
    assert 300 <= largest[0] <= 400  # of all: 6,400


def test_a_chunk_is_let_go_before_the_next_one_is_made(monkeypatch):
    monkeypatch.setattr("plm.vocabulary.CHUNK_ELEMENTS", 300)
    monkeypatch.setattr("plm.vocabulary.KEPT_ELEMENTS", 600)  # the first two of the forward pass are for the backward
    made, most = [], [0]

    class Alive(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.numel() == 300:
                made.append(weakref.ref(result))
            most[0] = max(most[0], len({x.data_ptr() for each in made if (x := each()) is not None}))
            return result

    hidden, weight = torch.randn(64, 4, requires_grad=True), torch.randn(100, 4, requires_grad=True)
    with Alive():
        log_normalizers(hidden, weight, None, torch.randint(100, (64,))).sum().backward()
    assert len(made) > 40 and most[0] == 3  # those two and the one that is worked on
