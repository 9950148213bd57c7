"""One file a method family. Every method is a `PolicyModule`."""

from plm.modules.base import OptimizerCallable, PolicyModule
from plm.modules.dpo import DPOModule, IteratedDPOModule, RewardWeightedDPOModule
from plm.modules.expert_iteration import ExpertIterationModule, FilteredSFTModule
from plm.modules.grpo import GRPOModule
from plm.modules.sft import SFTLockModule, SFTModule

__all__ = [
    "DPOModule",
    "ExpertIterationModule",
    "FilteredSFTModule",
    "GRPOModule",
    "IteratedDPOModule",
    "OptimizerCallable",
    "PolicyModule",
    "RewardWeightedDPOModule",
    "SFTLockModule",
    "SFTModule",
]
