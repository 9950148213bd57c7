"""Generation by vLLM; nothing outside of this folder names it."""

from plm.engines.vllm.engine import VLLMEngine
from plm.engines.vllm.starting import is_installed

__all__ = ["VLLMEngine", "is_installed"]
