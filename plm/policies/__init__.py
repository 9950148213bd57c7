"""Policies: whoever answers problems."""

from plm.policies.base import Policy
from plm.policies.data import DatasetPolicy, ReferencePolicy
from plm.policies.fixed_random import FixedRandomPolicy, fixed_random_distribution, fixed_random_tokens

__all__ = [
    "DatasetPolicy",
    "FixedRandomPolicy",
    "Policy",
    "ReferencePolicy",
    "fixed_random_distribution",
    "fixed_random_tokens",
]
