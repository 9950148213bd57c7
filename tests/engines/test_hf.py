"""The embedded engine: equality with the library, seeds, distributions, stale weights, and what it leaves untouched."""

import math
import random
from collections import Counter

import pytest
import torch
from torch import nn
from transformers import (
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)
from transformers.cache_utils import DynamicCache

from plm.engines.base import Engine, SamplingParams
from plm.engines.cache import BufferLayer, new_cache
from plm.engines.hf import HFEngine, sample
from plm.errors import PlmError, StaleWeightsError

VOCABULARY, EOS = 40, 1
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": EOS,
}
KINDS = {
    "llama": (LlamaForCausalLM, LlamaConfig, {}),
    "llama_grouped_heads": (LlamaForCausalLM, LlamaConfig, {"num_key_value_heads": 2}),
    "gpt_neox": (GPTNeoXForCausalLM, GPTNeoXConfig, {}),
    "mistral_window": (MistralForCausalLM, MistralConfig, {"num_key_value_heads": 2, "sliding_window": 5}),
}


def make_model(kind: str = "llama", tie: bool = True, seed: int = 0, **arguments) -> nn.Module:
    """A tiny model whose weights are large enough that argmaxes are distinct."""
    model_class, config_class, more = KINDS[kind]
    model = model_class(config_class(**{**SIZES, **more, **arguments}, tie_word_embeddings=tie))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return model.eval()


def make_prompts(count: int = 64, longest: int = 24) -> list[list[int]]:
    rng = random.Random(0)
    return [[rng.randrange(2, VOCABULARY) for _ in range(rng.randrange(1, longest))] for _ in range(count)]


def synced(model: nn.Module, **arguments) -> HFEngine:
    engine = HFEngine(**arguments)
    engine.sync(model, "v")
    return engine


def one_at_a_time(model: nn.Module, prompt: list[int], count: int, end: int = EOS) -> list[int]:
    output = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt)).long(),
                            max_new_tokens=count, do_sample=False, eos_token_id=end)  # fmt: skip
    return output[0, len(prompt) :].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tie", [True, False])
def test_greedy_equals_the_library_one_prompt_at_a_time(kind, tie):
    model, prompts = make_model(kind, tie), make_prompts()
    end = one_at_a_time(model, prompts[0], 8)[-1]  # a token that does come up
    completions = synced(model, batch_size=24).generate(prompts, SamplingParams(20, 0.0, end), version="v")
    assert len(completions) == 64
    for prompt, completion in zip(prompts, completions, strict=True):
        expected = one_at_a_time(model, prompt, 20, end)
        assert completion.finished == (expected[-1] == end)
        assert completion.token_ids == (expected[:-1] if completion.finished else expected)
    assert {completion.finished for completion in completions} == {True, False}
    assert len({len(completion.token_ids) for completion in completions}) > 4
    assert len({tuple(completion.token_ids) for completion in completions}) > 30


def test_the_cache_holds_what_the_library_would_hold():
    torch.manual_seed(0)
    ours, theirs = new_cache(LlamaConfig(**SIZES), capacity=9), DynamicCache(config=LlamaConfig(**SIZES))
    assert all(type(layer) is BufferLayer for layer in ours.layers)
    assert not any(
        isinstance(layer, BufferLayer) for layer in new_cache(MistralConfig(**SIZES, sliding_window=5), 9).layers
    )
    for rows, length, keep in ((3, 5, [0, 1, 2]), (3, 1, [2, 0]), (2, 1, [1]), (1, 2, [0])):
        for layer in range(2):
            keys, values = torch.randn(2, rows, 4, length, 8)
            for actual, expected in zip(
                ours.update(keys, values, layer), theirs.update(keys, values, layer), strict=True
            ):
                assert torch.equal(actual, expected)
        ours.batch_select_indices(torch.tensor(keep))
        theirs.batch_select_indices(torch.tensor(keep))
        assert ours.get_seq_length() == theirs.get_seq_length()


def test_a_seed_gives_the_same_completion_in_any_company():
    model, prompts = make_model(), make_prompts()
    seeds = [1000 + row for row in range(64)]
    params = SamplingParams(12, 1.0, EOS)
    together = synced(model).generate(prompts, params, version="v", seeds=seeds)
    small = synced(model, batch_size=5).generate(prompts, params, version="v", seeds=seeds)
    budget = synced(model, max_tokens=100).generate(prompts, params, version="v", seeds=seeds)
    backwards = synced(model).generate(prompts[::-1], params, version="v", seeds=seeds[::-1])[::-1]
    alone = [synced(model).generate([prompts[row]], params, version="v", seeds=[seeds[row]])[0] for row in range(64)]
    assert together == small == budget == backwards == alone
    others = synced(model).generate(prompts, params, version="v", seeds=[seed + 1 for seed in seeds])
    assert sum(a == b for a, b in zip(together, others, strict=True)) < 8


def test_a_longer_limit_only_continues():
    model, prompts = make_model(), make_prompts(16)
    short, long = (
        synced(model).generate(prompts, SamplingParams(count, 1.0, EOS), version="v", seeds=range(16))
        for count in (4, 12)
    )
    for a, b in zip(short, long, strict=True):
        assert b.token_ids[:4] == a.token_ids
        assert a.finished == (b.finished and len(b.token_ids) < 4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_samples_follow_the_softmax(temperature):
    model = make_model(vocab_size=6)
    with torch.no_grad():
        model.lm_head.weight.mul_(0.4)  # flatter, so that all tokens come up
        expected = (model(torch.tensor([[2, 3, 4]])).logits[0, -1].double() / temperature).softmax(-1)
    count = 4000
    engine = synced(model, batch_size=1000)
    completions = engine.generate(
        [[2, 3, 4]] * count, SamplingParams(1, temperature, EOS), version="v", seeds=range(count)
    )
    counts = Counter(completion.token_ids[0] if completion.token_ids else EOS for completion in completions)
    chi_square = sum(
        (counts[token] - count * share) ** 2 / (count * share) for token, share in enumerate(expected.tolist())
    )
    assert chi_square < 20.5  # 5 degrees of freedom: exceeded once in a thousand


def test_sampling_inverts_the_cumulative_distribution():
    logits = torch.tensor([0.1, 0.2, 0.0, 0.7]).log().expand(6, 4)
    uniforms = torch.tensor([0.0, 0.0999, 0.1001, 0.2999, 0.3001, 1 - 2**-53], dtype=torch.float64)
    assert sample(logits, 1.0, uniforms).tolist() == [0, 0, 1, 1, 3, 3]
    shares = torch.tensor([0.01, 0.04, 0.0, 0.49]) / 0.54  # squares: temperature 1/2
    assert sample(logits[:2], 0.5, shares.double().cumsum(0)[:2] + 1e-6).tolist() == [1, 3]


def test_low_temperature_is_greedy():
    model, prompts = make_model(), make_prompts(16)
    greedy = synced(model).generate(prompts, SamplingParams(8, 0.0, EOS), version="v")
    cold = synced(model).generate(prompts, SamplingParams(8, 1e-4, EOS), version="v", seeds=range(16))
    assert cold == greedy


def test_the_end_token_ends_and_is_not_part():
    model, prompts = make_model(), make_prompts(8)
    free = synced(model).generate(prompts, SamplingParams(10, 0.0, 10**6), version="v")
    assert all(len(completion.token_ids) == 10 and not completion.finished for completion in free)
    end = free[3].token_ids[4]
    ended = synced(model).generate(prompts, SamplingParams(10, 0.0, end), version="v")
    for before, after in zip(free, ended, strict=True):
        cut = before.token_ids.index(end) if end in before.token_ids else 10
        assert after == (before.token_ids[:cut], end in before.token_ids)


def test_the_end_token_in_a_prompt_is_an_ordinary_token():
    model = make_model()
    [completion] = synced(model).generate([[EOS, 5, EOS]], SamplingParams(6, 0.0, EOS), version="v")
    expected = one_at_a_time(model, [EOS, 5, EOS], 6)
    assert completion.token_ids == [token for token in expected if token != EOS]


def test_progress_adds_up():
    seen = []
    prompts = make_prompts()
    engine = synced(make_model(), batch_size=20)
    engine.generate(prompts, SamplingParams(15, 1.0, EOS), version="v", seeds=range(64), progress=seen.append)
    assert sum(seen) == 64 and min(seen) > 0 and len(seen) > 8


def test_finished_rows_leave_the_batch(monkeypatch):
    model, sizes = make_model(), []
    forward = model.forward

    def spy(**arguments):
        sizes.append(tuple(arguments["input_ids"].shape))
        output = forward(**arguments)
        assert output.logits.shape[1] == 1  # of the last position only
        return output

    monkeypatch.setattr(model, "forward", spy)
    completions = synced(model).generate(make_prompts(), SamplingParams(15, 1.0, EOS), version="v", seeds=range(64))
    rows = [size[0] for size in sizes]
    assert rows[0] == 64 and rows == sorted(rows, reverse=True)
    for step, count in enumerate(rows[1:], start=1):
        unfinished = sum(not done or len(ids) >= step for ids, done in completions)
        assert unfinished <= count < max(unfinished / 0.9, 2) + 1e-9


def test_long_prompts_fill_fewer_rows(monkeypatch):
    model, shapes = make_model(), []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **a: (shapes.append(tuple(a["input_ids"].shape)), forward(**a))[1])
    prompts = [[5] * 20] * 4 + [[5] * 2] * 8
    synced(model, max_tokens=48).generate(prompts, SamplingParams(4, 0.0, 10**6), version="v")
    assert [shape for shape in shapes if shape[1] > 1] == [(2, 20), (2, 20), (8, 2)]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_modes_gradients_and_random_states_are_as_before(temperature):
    model = make_model().train()
    model.model.layers[0].eval()
    flags = [module.training for module in model.modules()]
    torch.manual_seed(7)
    state, numbers = torch.get_rng_state(), random.getstate()
    engine = synced(model)
    results = []
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            params = SamplingParams(5, temperature, EOS)
            results.append(engine.generate(make_prompts(9), params, version="v", seeds=range(9)))
            assert torch.is_grad_enabled() is enabled
    assert results[0] == results[1]
    assert [module.training for module in model.modules()] == flags
    assert torch.equal(torch.get_rng_state(), state) and random.getstate() == numbers
    model(torch.tensor([[2, 3]])).logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_dropout_is_off():
    model = make_model(attention_dropout=0.5)
    prompts = make_prompts(9)
    expected = synced(model).generate(prompts, SamplingParams(8, 0.0, EOS), version="v")
    assert synced(model.train()).generate(prompts, SamplingParams(8, 0.0, EOS), version="v") == expected


def test_modes_are_as_before_after_an_exception(monkeypatch):
    model = make_model().train()

    def fail(**_):
        assert not model.training and not torch.is_grad_enabled()
        raise RuntimeError("out of memory")

    engine = synced(model)
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="out of memory"):
        patch.setattr(model, "forward", fail)
        engine.generate([[2]], SamplingParams(5, 0.0, EOS), version="v")
    assert model.training and torch.is_grad_enabled() and all(module.training for module in model.modules())
    assert engine.generate([[2]], SamplingParams(5, 0.0, EOS), version="v")


def test_stale_weights_raise():
    model, params = make_model(), SamplingParams(2, 0.0, EOS)
    engine: Engine = HFEngine()
    with pytest.raises(StaleWeightsError, match="weights 'a', but the engine holds None"):
        engine.generate([[2]], params, version="a")
    engine.sync(model, "a")
    engine.generate([[2]], params, version="a")
    with pytest.raises(StaleWeightsError, match="weights 'b', but the engine holds 'a'"):
        engine.generate([[2]], params, version="b")
    engine.sync(model, "b")
    engine.generate([[2]], params, version="b")
    engine.close()
    with pytest.raises(StaleWeightsError):
        engine.generate([[2]], params, version="b")


@pytest.mark.parametrize("foreach", [True, False])
def test_weights_trained_after_the_sync_are_stale(foreach):
    model, params = make_model(), SamplingParams(2, 0.0, EOS)
    engine = synced(model)
    model(torch.tensor([[2, 3]])).logits.sum().backward()
    engine.generate([[2]], params, version="v")
    torch.optim.AdamW(model.parameters(), foreach=foreach).step()
    with pytest.raises(StaleWeightsError, match="changed since they were synced as 'v'"):
        engine.generate([[2]], params, version="v")
    engine.sync(model, "v")
    engine.generate([[2]], params, version="v")


def test_the_engine_uses_the_modules_own_weights():
    model, prompts, params = make_model(), make_prompts(16), SamplingParams(8, 0.0, EOS)
    engine = synced(model)
    before = engine.generate(prompts, params, version="v")
    model.load_state_dict(make_model(seed=1).state_dict())
    engine.sync(model, "w")
    after = engine.generate(prompts, params, version="w")
    assert after != before and after == synced(make_model(seed=1)).generate(prompts, params, version="v")


@pytest.mark.parametrize(
    ("prompts", "params", "seeds", "message"),
    [
        ([[2], []], SamplingParams(2, 0.0, EOS), None, r"prompts\[1\] is empty"),
        ([[2]], SamplingParams(0, 0.0, EOS), None, "max_new_tokens=0: must be at least 1"),
        ([[2]], SamplingParams(2, -1.0, EOS), None, r"temperature=-1.0: must be at least 0"),
        ([[2]], SamplingParams(2, 1.0, EOS), None, "seeds: sampling needs one for each of the 1 prompts"),
        ([[2], [3]], SamplingParams(2, 1.0, EOS), [1], "seeds: sampling needs one for each of the 2 prompts"),
    ],
)
def test_bad_arguments_name_argument_and_value(prompts, params, seeds, message):
    with pytest.raises(ValueError, match=message):
        synced(make_model()).generate(prompts, params, version="v", seeds=seeds)


def test_too_long_is_one_line_that_says_what_to_do():
    engine = synced(make_model())
    assert engine.generate([[2] * 60], SamplingParams(4, 0.0, EOS), version="v")
    with pytest.raises(
        PlmError, match=r"60 tokens and max_new_tokens=5 do not fit into the model's 64 positions: lower"
    ):
        engine.generate([[2] * 60], SamplingParams(5, 0.0, EOS), version="v")


def test_no_prompts_no_completions_and_bad_sizes():
    assert synced(make_model()).generate([], SamplingParams(2, 0.0, EOS), version="v") == []
    for name in ("batch_size", "max_tokens"):
        with pytest.raises(ValueError, match=f"{name}=0: must be at least 1"):
            HFEngine(**{name: 0})


def test_negative_and_huge_seeds():
    engine = synced(make_model())
    params = SamplingParams(6, 1.0, EOS)
    completions = engine.generate([[2]] * 4, params, version="v", seeds=[-1, 2**127, 2**64, 0])
    assert completions == engine.generate([[2]] * 4, params, version="v", seeds=[2**128 - 1, 2**127, 2**64, 0])
    assert len({tuple(completion.token_ids) for completion in completions}) > 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tie", [True, False])
def test_candidates_are_scored_by_the_librarys_softmax(kind, tie):
    model, prompts, candidates = make_model(kind, tie), make_prompts(), [7, 3, 30, 12]
    seen = []
    rows = synced(model, batch_size=24).next_logprobs(prompts, candidates, version="v", progress=seen.append)
    for prompt, row in zip(prompts, rows, strict=True):
        logits = model(torch.tensor([prompt])).logits[0, -1].double()
        assert row == pytest.approx(logits[candidates].log_softmax(-1).tolist(), abs=1e-5)
        assert sum(math.exp(value) for value in row) == pytest.approx(1.0)
    assert seen == [24, 24, 16]
    assert len({max(range(4), key=row.__getitem__) for row in rows}) == 4
    alone = [synced(model).next_logprobs([prompt], candidates, version="v")[0] for prompt in prompts]
    torch.testing.assert_close(torch.tensor(rows), torch.tensor(alone), rtol=0, atol=1e-5)


def test_scoring_makes_no_logits_and_leaves_modes_gradients_and_random_states(monkeypatch):
    model = make_model(attention_dropout=0.5).train()
    monkeypatch.setattr(model.lm_head, "forward", lambda *_: pytest.fail("logits over the vocabulary were made"))
    torch.manual_seed(7)
    state = torch.get_rng_state()
    twice = [synced(model).next_logprobs(make_prompts(5), [4, 5], version="v") for _ in range(2)]
    assert twice[0] == twice[1]  # dropout is off
    assert torch.equal(torch.get_rng_state(), state) and torch.is_grad_enabled()
    assert all(module.training for module in model.modules())


def test_close_candidates_do_not_tie_in_bfloat16():
    model = make_model().bfloat16()
    with torch.no_grad():
        model.lm_head.weight[6] = model.lm_head.weight[5] * 1.0078125  # one step of bfloat16 away
    rows = synced(model).next_logprobs(make_prompts(), [5, 6], version="v")
    assert all(first != second for first, second in rows)


def test_scoring_checks_weights_prompts_and_candidates():
    model = make_model()
    engine = synced(model)
    assert engine.next_logprobs([], [3], version="v") == []
    assert engine.next_logprobs([[2] * 64], [3], version="v") == [[0.0]]
    with pytest.raises(PlmError, match="65 tokens"):
        engine.next_logprobs([[2] * 65], [3], version="v")
    with pytest.raises(ValueError, match=r"prompts\[0\] is empty"):
        engine.next_logprobs([[]], [3], version="v")
    for candidates in ([], [3, 4, 3]):
        with pytest.raises(ValueError, match="must be at least one, all different"):
            engine.next_logprobs([[2]], candidates, version="v")
    with pytest.raises(StaleWeightsError, match="weights 'w', but the engine holds 'v'"):
        engine.next_logprobs([[2]], [3], version="w")
    with torch.no_grad():
        model.lm_head.weight.add_(1.0)
    with pytest.raises(StaleWeightsError, match="changed since they were synced"):
        engine.next_logprobs([[2]], [3], version="v")
