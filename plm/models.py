"""Where a model and its tokenizer come from, and how they are saved: random init, a folder or the Hugging Face Hub."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.pytorch_utils import Conv1D

from plm.errors import PlmError
from plm.files import atomic_folder

_CLASSES: dict[str, tuple[Callable[..., PretrainedConfig], Callable[[PretrainedConfig], PreTrainedModel]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "gpt_neox": (GPTNeoXConfig, GPTNeoXForCausalLM),
    "gpt2": (GPT2Config, GPT2LMHeadModel),
}
_OUTPUT_PROJECTIONS = (
    "self_attn.o_proj", "mlp.down_proj", "attention.dense", "mlp.dense_4h_to_h", "attn.c_proj", "mlp.c_proj",
)  # fmt: skip
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


class LoadedModel(NamedTuple):
    """A causal language model, in evaluation mode, and its tokenizer."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


class ModelSource(ABC):
    """Makes or loads a model; constructing a source costs nothing."""

    @abstractmethod
    def load(self, texts: Iterable[str], extra_texts: Iterable[str] = (), seed: int = 0) -> LoadedModel:
        """Returns a new model and its tokenizer.

        Args:
            texts: Text of the task, for sources that train a tokenizer.
            extra_texts: Text that must be representable too, such as passwords and decoys.
            seed: The run's, for sources that draw weights.
        """


class Pretrained(ModelSource):
    """A model that exists: a folder written by `save_pretrained`, or a model of the Hugging Face Hub.

    Args:
        path: Folder or hub id.
        dtype: Type of the weights, as torch names it.
    """

    def __init__(self, path: str, dtype: Literal["float32", "bfloat16", "float16"] = "float32") -> None:
        self.path = path
        self.dtype = dtype

    def load(self, texts: Iterable[str] = (), extra_texts: Iterable[str] = (), seed: int = 0) -> LoadedModel:
        """Loads weights and tokenizer; the texts are not read."""
        return load_pretrained(self.path, getattr(torch, self.dtype))


class FromScratch(ModelSource):
    """A tiny, ordinary Hugging Face model with random weights and a tokenizer trained on the task's own text.

    Linear weights have standard deviation fan_in^-0.5, embeddings hidden_size^-0.5, and the projections that write into
    the residual stream start at zero. On the embedded code task this reaches 0.93 where the library's own
    initialisation reaches 0.82 in the same number of steps. Our choice; the paper gives none for its models from
    scratch (§7).

    Args:
        architecture: `llama`; `gpt_neox` as in Pythia; `gpt2`, whose learned positions learn tasks of one fixed format
            sooner than rotary ones.
        hidden_size: Width of the residual stream.
        layers: Number of blocks.
        heads: Number of attention heads; hidden_size / heads must be a multiple of 32, which vLLM's CPU kernels need.
        intermediate_size: Width of the MLP; by default four times hidden_size.
        vocab_size: Most tokens of the tokenizer; the model has exactly as many embeddings as the tokenizer has tokens.
        tokenizer: `bpe`, for any text, or `words`, a token for each word between spaces, for tasks of few words.
        max_length: Most tokens of prompt and completion together.
        tie_embeddings: Whether input and output embeddings are one matrix.
        seed: Of the initial weights; the run's own where None. The global random state is neither used nor changed.
    """

    def __init__(
        self,
        *,
        architecture: Literal["llama", "gpt_neox", "gpt2"] = "llama",
        hidden_size: int = 96,
        layers: int = 3,
        heads: int = 3,
        intermediate_size: int | None = None,
        vocab_size: int = 1024,
        tokenizer: Literal["bpe", "words"] = "bpe",
        max_length: int = 512,
        tie_embeddings: bool = True,
        seed: int | None = None,
    ) -> None:
        self.architecture = architecture
        self.hidden_size = hidden_size
        self.layers = layers
        self.heads = heads
        self.intermediate_size = 4 * hidden_size if intermediate_size is None else intermediate_size
        self.vocab_size = vocab_size
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.tie_embeddings = tie_embeddings
        self.seed = seed

    def load(self, texts: Iterable[str], extra_texts: Iterable[str] = (), seed: int = 0) -> LoadedModel:
        """Trains the tokenizer on the texts and draws the weights.

        Raises:
            ValueError: If an argument of the constructor is out of range.
        """
        self._check()
        tokenizer = self._train_tokenizer(texts, extra_texts)
        with torch.random.fork_rng(devices=[]):  # the library draws weights that are replaced below
            model = _CLASSES[self.architecture][1](self._config(tokenizer))
        initialize(model, seed if self.seed is None else self.seed)
        nn.Module.eval(model)
        return LoadedModel(model, tokenizer)

    def _train_tokenizer(self, texts: Iterable[str], extra_texts: Iterable[str]) -> PreTrainedTokenizerBase:
        if self.tokenizer == "words":
            from plm.tokenizers import word_tokenizer

            return word_tokenizer(texts, self.vocab_size, extra_texts=extra_texts)
        from plm.tokenizers import train_tokenizer

        return train_tokenizer(texts, self.vocab_size, extra_texts=extra_texts)

    def _check(self) -> None:
        if self.architecture not in _CLASSES:
            raise ValueError(f"architecture={self.architecture!r}: must be one of {', '.join(_CLASSES)}")
        for name in ("hidden_size", "layers", "heads", "intermediate_size", "vocab_size", "max_length"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        if self.hidden_size % (32 * self.heads):
            allowed = f"a multiple of 32 * heads = {32 * self.heads}, so that each head has a multiple of 32 dimensions"
            raise ValueError(f"hidden_size={self.hidden_size}: must be {allowed}")

    def _config(self, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
        return _CLASSES[self.architecture][0](
            hidden_size=self.hidden_size,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            vocab_size=len(tokenizer),
            max_position_embeddings=self.max_length,
            tie_word_embeddings=self.tie_embeddings,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **self._own_names(),
        )

    def _own_names(self) -> dict[str, float | str]:
        """What the architectures call differently; the dropout that GPT-2 has by default is off, as in the others.

        GPT-2's activation is torch's own tanh approximation of GELU: the function that transformers writes out in eight
        operations (`gelu_new`), in a third of its time.
        """
        if self.architecture == "gpt2":
            dropouts = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
            return {"n_inner": self.intermediate_size, "activation_function": "gelu_pytorch_tanh", **dropouts}
        return {"intermediate_size": self.intermediate_size}


@torch.no_grad()
def initialize(model: nn.Module, seed: int) -> None:
    """Draws the weights of a Llama, GPT-NeoX or GPT-2 model anew, from a generator of its own.

    Args:
        model: Changed in place, on whatever device it is.
        seed: The same seed and shapes give the same weights.
    """
    generator = torch.Generator().manual_seed(seed)
    embeddings = {module.weight for module in model.modules() if isinstance(module, nn.Embedding)}
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding):
            _draw(module.weight, module.embedding_dim**-0.5, generator)
        elif isinstance(module, (nn.Linear, Conv1D)):
            inputs = module.weight.shape[0 if isinstance(module, Conv1D) else 1]
            if name.endswith(_OUTPUT_PROJECTIONS):
                module.weight.zero_()
            elif module.weight not in embeddings:
                _draw(module.weight, inputs**-0.5, generator)
            if module.bias is not None:
                module.bias.zero_()


def _draw(weight: torch.Tensor, std: float, generator: torch.Generator) -> None:
    weight.copy_(torch.randn(weight.shape, generator=generator, device="cpu", dtype=torch.float32) * std)


def load_pretrained(path: str, dtype: torch.dtype = torch.float32) -> LoadedModel:
    """Loads a causal language model and its tokenizer from a folder or from the Hugging Face Hub.

    What the local cache holds is used as it is, without asking the Hub.

    Args:
        path: Folder or hub id; a folder wins.
        dtype: Type of the weights, on the CPU.

    Raises:
        PlmError: If there is no such folder or hub id, if it has no weights, or if the Hub cannot be reached and the
            model is not in the local cache.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        _check_folder(folder)
        path = str(folder)
    elif path.startswith((".", "/", "~")) or path.count("/") > 1:
        raise PlmError(f"model {path!r}: there is no such folder, and it does not read like a hub id (owner/name)")
    with contextlib.suppress(OSError, ValueError, SafetensorError):
        return _load(path, dtype, local_files_only=True)
    try:
        return _load(path, dtype, local_files_only=False)
    except (OSError, ValueError, SafetensorError) as error:
        raise PlmError(f"model {path!r}: {_reason(error)}") from error


def _load(path: str, dtype: torch.dtype, *, local_files_only: bool) -> LoadedModel:
    tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local_files_only)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=local_files_only)
    return LoadedModel(model, tokenizer)


def _check_folder(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise PlmError(f"model folder {folder}: there is no config.json; a folder that save_pretrained wrote is needed")
    if not any(next(folder.glob(pattern), None) for pattern in _WEIGHTS):
        raise PlmError(f"model folder {folder}: there are no weights (*.safetensors)")


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if any(sign in text for sign in ("couldn't connect", "offline mode", "outgoing traffic has been disabled")):
        return (
            "there is no such folder, it is not in the local Hugging Face cache, and the Hub cannot be reached; "
            "give a folder, or run `hf download` for it where there is a network"
        )
    if "is not a valid model identifier" in text or "is not a local folder" in text:
        return "there is no such folder, and the Hugging Face Hub has no such model (or it needs a login)"
    return text


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    files: Mapping[str, str] | None = None,
) -> None:
    """Saves model (safetensors) and tokenizer, so that the folder appears whole or not at all.

    Args:
        model: What to save; its tied weights are stored once.
        tokenizer: Saved beside it.
        folder: Replaced if it exists.
        files: More text files to put beside it: name and content.

    Raises:
        PlmError: If the folder cannot be written or the disk is full.
    """
    folder = Path(folder)
    with atomic_folder(folder) as temporary:
        try:
            model.save_pretrained(temporary)
            tokenizer.save_pretrained(temporary)
            for name, text in (files or {}).items():
                (temporary / name).write_text(text, encoding="utf-8")
        except Exception as error:  # safetensors wraps the operating system's error in one of its own
            if "No space left" not in str(error):
                raise
            raise PlmError(f"cannot write in {folder.parent}: No space left on device") from error
