"""Policies: whoever answers problems."""

from plm.policies.base import Policy
from plm.policies.data import DatasetPolicy, ReferencePolicy
from plm.policies.fixed_random import FixedRandomPolicy, fixed_random_distribution, fixed_random_tokens
from plm.policies.labels import FileLabels, LabelPolicy, SampledLabels, label_distributions, save_labels
from plm.policies.model import ModelLabels, ModelPolicy
from plm.policies.refusal import RefusalPolicy

__all__ = [
    "DatasetPolicy",
    "FileLabels",
    "FixedRandomPolicy",
    "LabelPolicy",
    "ModelLabels",
    "ModelPolicy",
    "Policy",
    "ReferencePolicy",
    "RefusalPolicy",
    "SampledLabels",
    "fixed_random_distribution",
    "fixed_random_tokens",
    "label_distributions",
    "save_labels",
]
