"""What a library does inside stays inside, comes back at the next visit, and leaves the trainer as it was."""

import gc
import logging
import os
import random
import sys

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch.distributions import Distribution
from transformers import GPTNeoXModel

from plm.engines.isolation import Isolation
from tests.engines.test_hf import make_model


@pytest.fixture
def isolation():
    return Isolation({"PLM_TEST_INSIDE": "yes"})


def start_group(folder):
    dist.init_process_group("gloo", store=dist.FileStore(str(folder / "store"), 1), rank=0, world_size=1)


def test_the_environment_is_kept_apart(isolation, monkeypatch):
    monkeypatch.setenv("PLM_TEST_BOTH", "outside")
    before = dict(os.environ)
    with isolation:
        assert os.environ["PLM_TEST_INSIDE"] == "yes" and os.environ["PLM_TEST_BOTH"] == "outside"
        os.environ["PLM_TEST_NEW"] = "1"
        os.environ["PLM_TEST_BOTH"] = "inside"
        del os.environ["PLM_TEST_INSIDE"]
    assert dict(os.environ) == before
    with isolation:
        assert os.environ["PLM_TEST_NEW"] == "1" and os.environ["PLM_TEST_BOTH"] == "inside"
        assert "PLM_TEST_INSIDE" not in os.environ
    assert dict(os.environ) == before


def test_random_states_threads_and_types_are_as_before_also_after_an_exception(isolation):
    def state():
        return (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist(),
                torch.get_num_threads(), torch.get_default_dtype(), torch.get_float32_matmul_precision())  # fmt: skip

    before = state()
    with pytest.raises(KeyError), isolation:
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        torch.set_num_threads(torch.get_num_threads() + 1)
        torch.set_default_dtype(torch.float64)
        torch.set_float32_matmul_precision("medium")
        raise KeyError
    assert state() == before


def test_functions_put_in_place_of_torchs_are_in_place_inside_only(isolation):
    owners = [(torch, "set_num_threads"), (torch.accelerator, "synchronize"), (torch.cuda, "Stream"),
              (Distribution, "_validate_args"), (logging, "_logRecordFactory"), (sys, "excepthook")]  # fmt: skip
    before = [getattr(*owner) for owner in owners]

    def patched(*_):
        raise AssertionError("never called")

    with isolation:
        for owner, name in owners:
            setattr(owner, name, patched)
    assert [getattr(*owner) for owner in owners] == before
    with isolation:
        assert all(getattr(*owner) is patched for owner in owners)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    assert torch.get_num_threads() == threads + 1
    torch.set_num_threads(threads)


def test_patched_model_classes_are_patched_inside_only(isolation):
    class Wrapper:
        def __call__(self, *args, **kwargs):
            raise AttributeError("do_not_compile")

    model, tokens = make_model("gpt_neox"), torch.tensor([[2, 3]])
    expected = model(tokens).logits
    bases, forward = GPTNeoXModel.__bases__, GPTNeoXModel.forward
    with isolation:
        GPTNeoXModel.__bases__ = (Wrapper, *GPTNeoXModel.__bases__)
        GPTNeoXModel.__call__ = Wrapper.__call__
        GPTNeoXModel.forward = None
        with pytest.raises(AttributeError, match="do_not_compile"):
            model(tokens)
    assert torch.equal(model(tokens).logits, expected)
    assert GPTNeoXModel.__bases__ == bases and GPTNeoXModel.forward is forward and "__call__" not in vars(GPTNeoXModel)
    with isolation:
        assert issubclass(GPTNeoXModel, Wrapper) and GPTNeoXModel.forward is None
    assert not issubclass(GPTNeoXModel, Wrapper)


def test_a_process_group_made_inside_is_not_the_trainers(isolation, tmp_path):
    with isolation:
        start_group(tmp_path)
        inner = dist.group.WORLD
    assert not dist.is_initialized()
    with isolation:
        assert dist.group.WORLD is inner
        dist.all_reduce(torch.ones(1))
        dist.destroy_process_group()
    assert not dist.is_initialized()


def test_the_trainers_process_group_survives_one_that_is_made_and_destroyed_inside(isolation, tmp_path):
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
    start_group(tmp_path / "outer")
    try:
        outer, name = dist.group.WORLD, dist.group.WORLD.group_name
        with isolation:
            assert not dist.is_initialized()
            start_group(tmp_path / "inner")
            dist.new_group([0])
            assert dist.group.WORLD is not outer
        assert dist.group.WORLD is outer
        with isolation:
            dist.destroy_process_group()
        total = torch.ones(1)
        dist.all_reduce(total)
        assert dist.group.WORLD is outer and total.item() == 1
        # by name, as sharded tensors find their group
        assert torch._C._distributed_c10d._resolve_process_group(name) is not None
        gathered = torch.distributed._functional_collectives.all_reduce(torch.ones(1), "sum", outer)
        assert gathered.item() == 1
    finally:
        dist.destroy_process_group()


def test_the_trainers_garbage_can_be_collected_afterwards(isolation):
    gc.unfreeze()  # what an earlier test may have frozen
    with isolation:
        gc.freeze()
    assert gc.get_freeze_count() == 0


def test_blocks_do_not_nest(isolation):
    with isolation, pytest.raises(RuntimeError, match="inside another one already"), isolation:
        pass
    with isolation:
        pass
