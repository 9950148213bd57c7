"""MMLU in miniature: invented facts in four domains, and multiple-choice questions about them."""

from plm.datamodules.mini_facts.build import make_facts, make_open_question, make_problem
from plm.datamodules.mini_facts.world import Fact

__all__ = ["Fact", "make_facts", "make_open_question", "make_problem"]
