"""One file a method family. Every method is a `PolicyModule`."""

from plm.modules.base import OptimizerCallable, PolicyModule
from plm.modules.sft import SFTLockModule, SFTModule

__all__ = ["OptimizerCallable", "PolicyModule", "SFTLockModule", "SFTModule"]
