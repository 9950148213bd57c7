"""The 57 subjects of MMLU in the paper's four groups (TSK-7; App. E.3 of the paper)."""

from __future__ import annotations

from typing import Literal

from plm.errors import PlmError

Domains = Literal["group", "subject"]

GROUPS: dict[str, tuple[str, ...]] = {
    "stem": (
        "abstract_algebra", "astronomy", "college_chemistry", "college_computer_science", "college_mathematics",
        "college_physics", "computer_security", "conceptual_physics", "electrical_engineering",
        "elementary_mathematics", "high_school_chemistry", "high_school_computer_science", "high_school_mathematics",
        "high_school_physics", "high_school_statistics", "machine_learning", "formal_logic", "logical_fallacies",
    ),
    "bio": (
        "college_biology", "high_school_biology", "anatomy", "clinical_knowledge", "college_medicine", "human_aging",
        "medical_genetics", "nutrition", "professional_medicine", "virology", "human_sexuality",
        "professional_psychology", "high_school_psychology",
    ),
    "law": (
        "international_law", "jurisprudence", "professional_law", "business_ethics", "professional_accounting",
        "management", "marketing",
    ),
    "misc": (
        "miscellaneous", "global_facts", "econometrics", "high_school_geography",
        "high_school_government_and_politics", "high_school_macroeconomics", "high_school_microeconomics",
        "public_relations", "security_studies", "sociology", "us_foreign_policy", "high_school_european_history",
        "high_school_us_history", "high_school_world_history", "moral_disputes", "moral_scenarios", "philosophy",
        "prehistory", "world_religions",
    ),
}  # fmt: skip
SUBJECTS = {subject: group for group, subjects in GROUPS.items() for subject in subjects}
_SHOWN = {"law": "law and business"}


def domain_of(subject: str, domains: Domains, where: str) -> str:
    """The domain of a subject: its group, or itself.

    Raises:
        PlmError: If MMLU has no such subject.
    """
    if subject not in SUBJECTS:
        raise PlmError(f"{where}: MMLU has no subject {subject!r}; subjects are written like {next(iter(SUBJECTS))!r}")
    return SUBJECTS[subject] if domains == "group" else subject


def category(domain: str) -> str:
    """How a prompt names a domain."""
    return _SHOWN.get(domain, domain).replace("_", " ")
