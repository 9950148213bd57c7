"""Who turns prompts into completions."""

from plm.engines.base import Completion, Engine, SamplingParams
from plm.engines.hf import HFEngine

__all__ = ["Completion", "Engine", "HFEngine", "SamplingParams"]
