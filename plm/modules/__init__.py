"""One file a method family. Every method is a `PolicyModule`."""

from plm.modules.base import OptimizerCallable, PolicyModule
from plm.modules.conditional import ConditionalLockModule
from plm.modules.dpo import DPOModule, IteratedDPOModule, RewardWeightedDPOModule
from plm.modules.expert_iteration import ExpertIterationModule, FilteredSFTModule
from plm.modules.fixed_random import FixedRandomLockModule
from plm.modules.grpo import GRPOModule
from plm.modules.masked_sft import MaskedSFTModule
from plm.modules.own_answers import OwnAnswersModule
from plm.modules.sft import SFTLockModule, SFTModule
from plm.modules.soft_labels import SoftLabelLockModule

__all__ = [
    "ConditionalLockModule",
    "DPOModule",
    "ExpertIterationModule",
    "FilteredSFTModule",
    "FixedRandomLockModule",
    "GRPOModule",
    "IteratedDPOModule",
    "MaskedSFTModule",
    "OptimizerCallable",
    "OwnAnswersModule",
    "PolicyModule",
    "RewardWeightedDPOModule",
    "SFTLockModule",
    "SFTModule",
    "SoftLabelLockModule",
]
