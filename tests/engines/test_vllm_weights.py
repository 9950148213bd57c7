"""Whose weights vLLM holds: a stand-in for vLLM, which has nothing to do, is enough."""

import gc
from types import SimpleNamespace

import pytest

from plm.engines import AutoEngine, SamplingParams, VLLMEngine
from plm.engines.keeping import EngineKeeper
from plm.errors import StaleWeightsError
from tests.engines.test_hf import EOS, make_model


@pytest.fixture
def engine():
    made = VLLMEngine()
    made._llm = SimpleNamespace(reset_prefix_cache=lambda: True, enqueue=lambda *_, **__: [])
    made._transport, made._compared = SimpleNamespace(send=lambda *_: None), True
    return made


def asked(engine):
    """Ways to ask for the weights 0.0, which the first round of every run has."""
    greedy = SamplingParams(2, 0.0, EOS)
    return (
        lambda: engine.generate([], greedy, version="0.0"),
        lambda: engine.next_logprobs([], [3], version="0.0"),
    )


def test_the_weights_of_a_model_that_is_gone_raise(engine):
    model = make_model()
    engine.sync(model, "0.0")
    assert [ask() for ask in asked(engine)] == [[], []]
    del model
    gc.collect()
    for ask in asked(engine):
        with pytest.raises(StaleWeightsError, match=r"the model whose weights were synced as '0\.0' is gone: sync"):
            ask()
    another = make_model()
    engine.sync(another, "0.0")
    assert [ask() for ask in asked(engine)] == [[], []]


@pytest.mark.parametrize("auto", [False, True])
def test_an_engine_that_is_kept_forgets_the_weights_of_the_run_before(engine, auto):
    """Though their model is still there: what was run in a process can stay in memory for a while."""
    kept, before, model = engine, make_model(), make_model(seed=1)
    if auto:
        kept = AutoEngine(engine)
        kept._chosen = engine
    kept.sync(before, "0.0")
    keeper = EngineKeeper()
    keeper.give_back("key", kept)
    assert keeper.take("key", VLLMEngine()) is kept
    for ask in asked(kept):
        with pytest.raises(StaleWeightsError, match=r"weights '0\.0', but the engine holds None"):
            ask()
    kept.sync(model, "0.0")
    assert [ask() for ask in asked(kept)] == [[], []]
