"""Policies: whoever answers problems."""

from plm.policies.base import Policy
from plm.policies.data import DatasetPolicy, ReferencePolicy

__all__ = ["DatasetPolicy", "Policy", "ReferencePolicy"]
