"""plm.engines.memory: the same weights answer the same prompts once, in a process that was told to remember."""

import pytest
import torch

from plm.engines import memory
from plm.engines.base import SamplingParams
from plm.engines.hf import HFEngine
from tests.engines.test_hf import EOS, make_model

PROMPTS = [[3, 4, 5], [6, 7]]


@pytest.fixture
def remembering(monkeypatch):
    monkeypatch.setattr(memory, "_memory", None)
    memory.remember_calls()


def ask(model, prompts=PROMPTS, temperature=0.0, calls=None, tokens=6):
    engine = HFEngine()
    engine.sync(model, "1")
    seeds = list(range(len(prompts))) if temperature else None
    forward, count = model.forward, 0

    def counted(*args, **kwargs):
        nonlocal count
        count += 1
        return forward(*args, **kwargs)

    model.forward = counted
    try:
        made = engine.generate(prompts, SamplingParams(tokens, temperature, EOS), version="1", seeds=seeds,
                               progress=None if calls is None else calls.append)  # fmt: skip
    finally:
        del model.forward
    return made, count


def test_the_same_weights_are_asked_once_whatever_model_holds_them(remembering):
    first, count = ask(make_model())
    progress = []
    again, none = ask(make_model(), calls=progress)
    assert count > 0 and none == 0 and again == first and sum(progress) == len(PROMPTS)
    again[0].token_ids.clear()  # a copy
    assert ask(make_model())[0] == first


def test_other_weights_prompts_lengths_kinds_and_samples_are_asked_anew(remembering):
    ask(make_model())
    changed = make_model()
    with torch.no_grad():
        next(changed.parameters()).view(-1)[0] += 1e-3
    assert ask(changed)[1] and ask(make_model(seed=1))[1] and ask(make_model("gpt_neox"))[1]
    assert ask(make_model(rope_theta=500.0))[1] and ask(make_model().bfloat16())[1]
    assert ask(make_model(), PROMPTS[::-1])[1] and ask(make_model(), tokens=7)[1]
    assert ask(make_model(), temperature=1.0)[1] and ask(make_model(), temperature=1.0)[1]


def test_large_models_are_not_kept_and_the_oldest_answers_go(remembering, monkeypatch):
    monkeypatch.setattr(memory, "MOST_CALLS", 2)
    for tokens in (3, 4, 3, 5):  # 3 is newer than 4 when 5 comes
        ask(make_model(), tokens=tokens)
    assert not ask(make_model(), tokens=3)[1] and ask(make_model(), tokens=4)[1]
    monkeypatch.setattr(memory, "MOST_WEIGHTS", 10)
    assert ask(make_model(), tokens=4)[1]


def test_other_processes_ask_every_time():
    assert memory._memory is None
    assert ask(make_model())[1] and ask(make_model())[1]
