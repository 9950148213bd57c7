"""Random initialisation, loading and saving of models."""

import sys
import types
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import (
    AutoModelForCausalLM,
    GPT2LMHeadModel,
    GPTNeoXForCausalLM,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)
from transformers.pytorch_utils import Conv1D

from plm.errors import PlmError
from plm.models import FromScratch, LoadedModel, Pretrained, initialize, load_pretrained, save_model


def train_tokenizer(texts, vocab_size, extra_texts=()):
    """One token a character."""
    characters = sorted({character for text in (*texts, *extra_texts) for character in text})
    vocabulary = {token: index for index, token in enumerate(["<pad>", "<eos>", *characters])}
    assert len(vocabulary) <= vocab_size
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<pad>"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>")


@pytest.fixture(autouse=True)
def character_tokenizer(monkeypatch):
    module = types.ModuleType("plm.tokenizers")
    module.train_tokenizer = train_tokenizer
    monkeypatch.setitem(sys.modules, "plm.tokenizers", module)


def load(**arguments) -> LoadedModel:
    return FromScratch(**{"hidden_size": 64, "heads": 2, "layers": 2, **arguments}).load(["abcabc", "add"], ["xyz"])


def linear_names(model) -> set[str]:
    return {name for name, module in model.named_modules() if isinstance(module, (torch.nn.Linear, Conv1D))}


def test_constructing_reads_nothing_and_loading_takes_both_texts():
    source = FromScratch()
    assert (source.hidden_size, source.intermediate_size, source.vocab_size, source.max_length) == (96, 384, 1024, 512)
    model, tokenizer = load()
    assert len(tokenizer) == 2 + len("abcdxyz")
    assert model.get_input_embeddings().weight.shape == (9, 64)
    assert (model.config.eos_token_id, model.config.pad_token_id) == (1, 0)
    assert model.config.max_position_embeddings == 512
    assert not model.training


@pytest.mark.parametrize(
    ("architecture", "expected", "zero"),
    [
        ("llama", LlamaForCausalLM, ("o_proj", "down_proj")),
        ("gpt_neox", GPTNeoXForCausalLM, ("attention.dense", "dense_4h_to_h")),
        ("gpt2", GPT2LMHeadModel, ("attn.c_proj", "mlp.c_proj")),
    ],
)
@pytest.mark.parametrize("tie", [True, False])
def test_standard_deviations(architecture, expected, zero, tie):
    model = load(architecture=architecture, hidden_size=256, intermediate_size=512, tie_embeddings=tie).model
    assert type(model) is expected
    weights = dict(model.named_parameters())
    zeros = {name for name in linear_names(model) if name.endswith(zero)}
    assert len(zeros) == 2 * 2
    for name in linear_names(model) - {"lm_head"}:
        weight = weights[f"{name}.weight"]
        if name in zeros:
            assert not weight.any()
        else:
            inputs = weight.shape[0 if architecture == "gpt2" else 1]  # its layers keep their weights transposed
            assert weight.std().item() == pytest.approx(inputs**-0.5, rel=0.02)
            assert weight.mean().item() == pytest.approx(0, abs=0.01 * inputs**-0.5)
        if (bias := weights.get(f"{name}.bias")) is not None:
            assert not bias.any()
    embedding, output = model.get_input_embeddings().weight, model.get_output_embeddings().weight
    assert (embedding is output) is tie
    assert embedding.std().item() == pytest.approx(1 / 16, rel=0.05)
    assert output.std().item() == pytest.approx(1 / 16, rel=0.05)


def test_weights_depend_on_the_seed_only_and_the_global_state_is_untouched():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = load(seed=3).model.state_dict()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second, third = load(seed=3).model.state_dict(), load(seed=4).model.state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], third["model.embed_tokens.weight"])


def test_a_gpt2_is_as_wide_as_asked_and_drops_nothing():
    model = load(architecture="gpt2", intermediate_size=96, max_length=32).model
    assert model.transformer.h[0].mlp.c_fc.weight.shape == (64, 96)
    assert model.transformer.wpe.weight.shape == (32, 64) and model.config.max_position_embeddings == 32
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.0}
    assert model.transformer.wpe.weight.std().item() == pytest.approx(1 / 8, rel=0.1)


def test_the_tokenizer_of_words_is_one_for_each_word(monkeypatch):
    monkeypatch.delitem(sys.modules, "plm.tokenizers")  # the real ones
    model, tokenizer = load(tokenizer="words")
    assert tokenizer("add abcabc").input_ids == [4, 3] and len(tokenizer) == 3 + 3
    assert model.get_input_embeddings().weight.shape == (6, 64)


def test_zero_output_projections_make_the_first_logits_those_of_the_embedding():
    model = load().model
    token_ids = torch.tensor([[2, 3, 4]])
    embedded = model.get_input_embeddings()(token_ids)
    expected = model.get_output_embeddings()(model.model.norm(embedded))
    torch.testing.assert_close(model(token_ids).logits, expected)


def test_initialize_reaches_every_matrix():
    model = load().model
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.fill_(7.0)
    initialize(model, 0)
    assert not any((parameter == 7.0).any() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"hidden_size": 96, "heads": 2}, r"hidden_size=96: must be a multiple of 32 \* heads = 64"),
        ({"hidden_size": 48, "heads": 3}, r"hidden_size=48: must be a multiple of 32 \* heads = 96"),
        ({"layers": 0}, "layers=0: must be at least 1"),
        ({"intermediate_size": 0}, "intermediate_size=0: must be at least 1"),
        ({"architecture": "bert"}, "architecture='bert': must be one of llama, gpt_neox, gpt2"),
    ],
)
def test_bad_arguments_name_argument_value_and_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "gpt2"])
@pytest.mark.parametrize("tie", [True, False])
def test_saved_models_load_to_the_same_logits(tmp_path, architecture, tie):
    model, tokenizer = load(architecture=architecture, tie_embeddings=tie)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.arange(parameter.numel()).reshape(parameter.shape).sin())
    save_model(model, tokenizer, tmp_path / "model", {"plm.json": "{}"})
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert (tmp_path / "model" / "plm.json").read_text() == "{}"
    loaded, loaded_tokenizer = load_pretrained(str(tmp_path / "model"))
    token_ids = torch.tensor([tokenizer("abcd")["input_ids"]])
    assert loaded_tokenizer("abcd")["input_ids"] == tokenizer("abcd")["input_ids"] == [2, 3, 4, 5]
    assert torch.equal(loaded(token_ids).logits, model(token_ids).logits)
    assert loaded.dtype == torch.float32 and not loaded.training
    assert (loaded.get_input_embeddings().weight is loaded.get_output_embeddings().weight) is tie
    assert Pretrained(str(tmp_path / "model"), "bfloat16").load().model.dtype == torch.bfloat16


def test_saving_replaces_and_a_full_disk_keeps_the_old_folder(tmp_path, monkeypatch):
    model, tokenizer = load()
    save_model(model, tokenizer, tmp_path / "model")

    def full(folder):
        Path(folder, "model.safetensors").write_text("half")
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(model, "save_pretrained", full)
    with pytest.raises(PlmError, match=f"cannot write in {tmp_path}: No space left on device"):
        save_model(model, tokenizer, tmp_path / "model")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    AutoModelForCausalLM.from_pretrained(tmp_path / "model")


def test_folders_that_cannot_be_loaded_are_one_line(tmp_path):
    model, tokenizer = load()
    save_model(model, tokenizer, tmp_path / "model")
    for broken, message in (("model.safetensors", "there are no weights"), ("config.json", "there is no config.json")):
        (tmp_path / "model" / broken).unlink()
        with pytest.raises(PlmError, match=message) as caught:
            load_pretrained(str(tmp_path / "model"))
        assert "\n" not in str(caught.value) and str(tmp_path / "model") in str(caught.value)
    for missing in (str(tmp_path / "nowhere"), "./nowhere", "a/b/c"):
        with pytest.raises(PlmError, match="there is no such folder"):
            load_pretrained(missing)


def test_a_truncated_weight_file_is_one_line(tmp_path):
    model, tokenizer = load()
    save_model(model, tokenizer, tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(PlmError, match=r"model '.*model'"):
        load_pretrained(str(tmp_path / "model"))


def test_without_a_network_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PlmError, match=r"model 'nobody/no-such-model': .*the Hub cannot be reached; give a folder"):
        load_pretrained("nobody/no-such-model")
