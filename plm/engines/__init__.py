"""Who turns prompts into completions."""

from plm.engines.auto import AutoEngine
from plm.engines.base import Completion, Engine, SamplingParams
from plm.engines.hf import HFEngine
from plm.engines.vllm import VLLMEngine

__all__ = ["AutoEngine", "Completion", "Engine", "HFEngine", "SamplingParams", "VLLMEngine"]
