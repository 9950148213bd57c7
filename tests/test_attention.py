"""Rows in one line against rows padded: the same numbers, and nothing seen that belongs to another row."""

import dataclasses

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from plm.attention import MODELS, PADDED, attention_by_rows
from plm.errors import PlmError
from plm.examples import Example, collate
from plm.network import PolicyNetwork

SIZES = dict(vocab_size=50, bos_token_id=None, eos_token_id=1, pad_token_id=0)
COMMON = dict(
    hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64, max_position_embeddings=64
)
MAKERS = {
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**SIZES, **COMMON, num_key_value_heads=2)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(GPTNeoXConfig(**SIZES, **COMMON)),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(**SIZES, n_embd=32, n_layer=3, n_head=4, n_positions=64, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
    ),
}


def like_llama(name):
    config = AutoConfig.for_model(name, **SIZES, **COMMON, num_key_value_heads=2, head_dim=8)
    config.sliding_window = None
    return AutoModelForCausalLM.from_config(config)


LENGTHS = ((5, (3, 4)), (9, (2, 6, 1)), (4, (5,)), (1, (7, 2)))  # prompts, and their completions


def network(name="llama", **arguments):
    torch.manual_seed(0)
    model = MAKERS[name]() if name in MAKERS else like_llama(name)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, 0, 0.3)
    return PolicyNetwork(model.train(), **arguments)


def rows(seed=0):
    generator = torch.Generator().manual_seed(seed)

    def ids(n):
        return torch.randint(3, 50, (n,), generator=generator).tolist()

    made = [Example(prompt, ids(n)) for length, sizes in LENGTHS for prompt in [ids(length)] for n in sizes]
    return [made[index] for index in torch.randperm(len(made), generator=generator)]


def scores_and_gradients(net, batch):
    net.zero_grad()
    scores = net(batch)
    (scores * torch.linspace(-1, 1, len(scores))[:, None]).sum().backward()
    return scores.detach(), {name: p.grad.clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize("name", [*MAKERS, *sorted(MODELS - set(MAKERS))])
@pytest.mark.parametrize("kind", ["shared", "packed"])
def test_one_line_gives_the_padded_scores_and_gradients(name, kind):
    """Also where no prompt is shared, and where all rows are equally long."""
    net = network(name)
    assert net.knows_rows
    different = [Example([index + 3, *row.prompt_ids], row.completion_ids) for index, row in enumerate(rows())]
    equal = [Example(row.prompt_ids[:1] * 4, [9, 8, index + 3]) for index, row in enumerate(different)]
    for given, shares in ((rows(), True), (different, False), (equal, False)):
        padded = scores_and_gradients(net, collate(given, 0, layout="padded"))
        batch = collate(given, 0, layout=kind)
        assert (batch.layout is not None) == (kind == "packed" or shares)
        line = scores_and_gradients(net, batch)
        torch.testing.assert_close(line[0], padded[0], atol=1e-5, rtol=1e-5)
        for key, gradient in line[1].items():
            assert (gradient - padded[1][key]).norm() <= 1e-5 * padded[1][key].norm() + 1e-6, key


@torch.no_grad()
def test_models_of_other_kinds_are_padded():
    """OPT reads positions off the mask: it gets none, and its scores are those of each row alone."""
    opt = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("opt", **SIZES, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=64,
                             word_embed_proj_dim=32, max_position_embeddings=64)
    ).eval()  # fmt: skip
    net = PolicyNetwork(opt)
    assert not net.knows_rows
    together = net(collate(rows(), 0))
    for row, line in zip(rows(), together, strict=True):
        torch.testing.assert_close(line[: len(row)], net(collate([row], 0))[0], atol=1e-5, rtol=1e-5)


def test_the_shared_line_is_shorter():
    batch = collate(rows(), 0)
    assert batch.input_ids_BL.numel() == 8 * 15 and batch.layout.input_ids_1T.numel() == 5 + 7 + 9 + 9 + 9 + 1 + 9


@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_no_row_sees_another_one(name):
    """Other tokens in one row, prompt or completion, and every other row keeps its scores bit for bit."""
    net, given = network(name), [Example([index + 3, 4, 5], row.completion_ids) for index, row in enumerate(rows())]
    before = net(collate(given, 0, layout="packed"))
    for index, row in enumerate(given):
        changed = Example(list(row.prompt_ids), [(token + 7) % 40 + 3 for token in row.completion_ids])
        changed = dataclasses.replace(changed, prompt_ids=[40, 41, 42])
        after = net(collate([changed if i == index else each for i, each in enumerate(given)], 0, layout="packed"))
        others = [i for i in range(len(given)) if i != index]
        assert torch.equal(after[others], before[others])
        assert not torch.equal(after[index], before[index])


@pytest.mark.parametrize("name", MAKERS)
@torch.no_grad()
def test_no_completion_sees_another_one_of_its_prompt(name):
    net = network(name)
    given = [Example([5, 6, 7, 8], [9, 10, index + 3]) for index in range(3)]
    before = net(collate(given, 0))
    for index in range(3):
        changed = dataclasses.replace(given[index], completion_ids=[30, 31, 32])
        batch = collate([changed if i == index else each for i, each in enumerate(given)], 0)
        after, others = net(batch), [i for i in range(3) if i != index]
        assert batch.layout is not None and torch.equal(after[others], before[others])
        assert not torch.equal(after[index], before[index])


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("kind", ["padded", "shared", "packed"])
def test_gradient_checkpointing_changes_no_bit(name, kind):
    batch = collate(rows(), 0, layout=kind)
    plain = scores_and_gradients(network(name), batch)
    lean_network = network(name, gradient_checkpointing=True)
    seen = []
    for layer in lean_network.model.modules():
        if type(layer).__name__.endswith(("DecoderLayer", "NeoXLayer", "GPT2Block")):
            layer.register_forward_pre_hook(lambda *_: seen.append(1))
    lean = scores_and_gradients(lean_network, batch)
    assert len(seen) == 6  # each of three layers twice
    torch.testing.assert_close(lean, plain, atol=0, rtol=0)


def test_gradient_checkpointing_keeps_less():
    def kept(**arguments):
        net, sizes = network(**arguments), []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            net(collate(rows(), 0))
        return sum(sizes)

    assert kept(gradient_checkpointing=True) < 0.5 * kept()


def test_packing_says_which_models_cannot():
    sliding = MistralForCausalLM(MistralConfig(**SIZES, **COMMON, num_key_value_heads=2, sliding_window=3))
    net = PolicyNetwork(sliding)
    with pytest.raises(PlmError, match=r"packing needs a model .*mistral"):
        net(collate(rows(), 0, layout="packed"))
    eager = MAKERS["llama"]()
    eager.set_attn_implementation("eager")
    with pytest.raises(PlmError, match=r"packing needs .* eager"):
        PolicyNetwork(eager)(collate(rows(), 0, layout="packed"))


@torch.no_grad()
def test_models_that_cannot_are_padded_and_keep_their_own_attention():
    torch.manual_seed(0)
    sliding = MistralForCausalLM(MistralConfig(**SIZES, **COMMON, num_key_value_heads=2, sliding_window=3)).eval()
    net = PolicyNetwork(sliding)
    for row, line in zip(rows(), net(collate(rows(), 0)), strict=True):
        ids = torch.tensor([[*row.prompt_ids, *row.completion_ids]])
        logprobs = torch.log_softmax(sliding(input_ids=ids).logits[0, :-1], -1)
        wanted = logprobs.gather(1, ids[0, 1:, None])[len(row.prompt_ids) - 1 :, 0]
        torch.testing.assert_close(line[len(row.prompt_ids) : len(row)], wanted, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_the_model_generates_and_is_saved_as_before(tmp_path):
    plain, wrapped = MAKERS["gpt_neox"](), MAKERS["gpt_neox"]()
    wrapped.load_state_dict(plain.state_dict())
    PolicyNetwork(wrapped)
    ids = torch.tensor([[0, 0, 7, 8, 9], [3, 4, 5, 6, 7]])
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    texts = [
        m.generate(input_ids=ids, attention_mask=mask, max_new_tokens=8, do_sample=False) for m in (plain, wrapped)
    ]
    assert torch.equal(*texts)
    logits = [m(input_ids=ids, attention_mask=mask).logits for m in (plain, wrapped)]
    assert torch.equal(*logits)
    wrapped.save_pretrained(tmp_path)
    assert "plm_rows" not in (tmp_path / "config.json").read_text()


def test_padded_rows_are_transformers_own_causal_attention():
    layer = torch.nn.Module()
    query, key, value = torch.randn(3, 2, 4, 5, 8).unbind()
    wanted = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    got, _ = attention_by_rows(layer, query, key, value, torch.zeros(1, 1, 5, 5), rows=PADDED)
    assert torch.equal(got, wanted.transpose(1, 2))


def by_hand(query, key, value, starts_q, starts_k, longest_q, longest_k, *, scale, window_size):
    """What torch's kernel promises, as the release 2.11 has it: stretch by stretch, causal up to the last key."""
    assert window_size == (-1, 0) and key.shape[1] == query.shape[1] and starts_q.dtype == starts_k.dtype == torch.int32
    assert (longest_q, longest_k) == (int(starts_q.diff().max()), int(starts_k.diff().max()))
    outputs = []
    for (q0, q1), (k0, k1) in zip(starts_q.unfold(0, 2, 1).tolist(), starts_k.unfold(0, 2, 1).tolist(), strict=True):
        mask = torch.ones(q1 - q0, k1 - k0, dtype=torch.bool).tril(k1 - k0 - (q1 - q0))
        parts = (x.transpose(0, 1) for x in (query[q0:q1], key[k0:k1], value[k0:k1]))
        outputs.append(torch.nn.functional.scaled_dot_product_attention(*parts, attn_mask=mask, scale=scale))
    return torch.cat([output.transpose(0, 1) for output in outputs])


def grouped_by_hand(query, key, value, *stretches, enable_gqa=False, **given):
    """The same since torch 2.12, which takes fewer heads for keys where it is told."""
    if enable_gqa:
        key, value = (x.repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    return by_hand(query, key, value, *stretches, **given)


@pytest.mark.parametrize("kernel", [by_hand, grouped_by_hand])
@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("kind", ["shared", "packed"])
def test_what_the_kernels_of_variable_lengths_are_given(name, kind, kernel, monkeypatch):
    """The kernel itself needs a GPU; the stretches that it is told of, and the heads, are right with one by hand."""
    monkeypatch.setattr("torch.nn.attention.varlen.varlen_attn", kernel)
    net = network(name)
    padded = scores_and_gradients(net, collate(rows(), 0, layout="padded"))
    monkeypatch.setattr("plm.attention._has_variable_lengths", lambda *_: True)
    line = scores_and_gradients(net, collate(rows(), 0, layout=kind))
    torch.testing.assert_close(line[0], padded[0], atol=1e-5, rtol=1e-5)
    for key, gradient in line[1].items():
        assert (gradient - padded[1][key]).norm() <= 1e-5 * padded[1][key].norm() + 1e-6, key


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["shared", "packed"])
def test_kernels_of_variable_lengths_agree_with_padded_rows(dtype, kind):
    """Against float32, they are no further than the padded rows in the same 16 bits, twice over."""
    net, exact = network().cuda().to(dtype), None
    for which, each in (("exact", network().cuda()), ("padded", net), ("line", net)):
        batch = collate(rows(), 0, layout=kind if which == "line" else "padded")
        scores = each(move_data_to_device(batch, torch.device("cuda"))).float()
        if exact is None:
            exact = scores
        elif which == "padded":
            allowed = 2 * (scores - exact).norm()
        else:
            assert (scores - exact).norm() <= allowed
