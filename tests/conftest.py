"""Fixtures: a Llama of about 6,000 parameters, a character tokenizer, a scripted engine, a task of a few rows."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# a worker a core, whose own threads would only wait for each other; and the last digits are those of one thread, with
# workers and without
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
import torch

from tests.tiny import TinySource
from tests.warm import WarmChildren


@pytest.fixture
def tiny_model():
    """A Llama of about 6,000 parameters with its character tokenizer."""
    return TinySource().load([])


@pytest.fixture(scope="session")
def warm_server():
    """Forks children; see `tests.warm`."""
    children = WarmChildren()
    yield children
    children.close()


@pytest.fixture(scope="module")
def warm_children(warm_server):
    """Models that a run starts from, and samples, are made by forks of a process that has imported everything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("plm.resolver.run_child", warm_server.run_child)
        yield


@pytest.fixture(autouse=True)
def one_seed():
    """Every test starts from the same random state."""
    torch.manual_seed(0)
