"""Prompts as a chat model expects them: its tokenizer's chat template, or plain `User:` and `Assistant:` lines."""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from plm.tokenizers import token_ids


def chat_prompt(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """One user message, up to where the assistant's answer begins.

    Args:
        tokenizer: Its chat template is used where it has one; its special tokens then stand in the text.
        text: The message.
    """
    if not tokenizer.chat_template:
        return f"User: {text}\n\nAssistant:"
    shown = tokenizer.apply_chat_template(
        [{"role": "user", "content": text}], tokenize=False, add_generation_prompt=True
    )
    return str(shown)


def encode_chat(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of a prompt by `chat_prompt`; what the template wrote is not added a second time."""
    return token_ids(tokenizer, prompt, add_special_tokens=not tokenizer.chat_template)


def spaced(prompt: str, completion: str) -> str:
    """The completion with a space in front where the prompt ends with `Assistant:`, as models write it there."""
    return f" {completion}" if prompt.endswith(":") and not completion[:1].isspace() else completion
