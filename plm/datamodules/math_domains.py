"""The domains of MATH: subjects in the paper's three groups, subjects alone, or levels (TSK-7; App. E.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Domains: TypeAlias = Literal["subject", "type", "level"]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "algebra": ("Algebra", "Intermediate Algebra", "Prealgebra"),
    "geometry": ("Geometry", "Precalculus"),
    "numbers": ("Number Theory", "Counting & Probability"),
}
GROUP_OF: Mapping[str, str] = {type_: group for group, types in GROUPS.items() for type_ in types}
LEVELS = ("Level 1", "Level 2", "Level 3", "Level 4", "Level 5")
NO_LEVEL = "Level ?"
"""Two problems of MATH have it; by level, they are a domain of their own."""


def group_of_type(type_: str) -> str:
    """The paper's group of a subject."""
    return GROUP_OF[type_]


def domain_of(type_: str, level: str, domains: Domains) -> str:
    """A problem's domain: `algebra`, `geometry` or `numbers`; or `Prealgebra`, …; or `Level 1`, …."""
    return {"subject": GROUP_OF[type_], "type": type_, "level": level}[domains]
