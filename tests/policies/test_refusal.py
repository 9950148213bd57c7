"""Refusals for some domains, another policy's answers for the others, in order."""

import pytest

from plm.errors import PlmError
from plm.policies.data import ReferencePolicy
from plm.policies.refusal import REFUSAL, RefusalPolicy
from plm.records import Problem

PROBLEMS = [Problem(f"p{i}", f"q{i}", domain, f"a{i}") for i, domain in enumerate(["x", "y", "x", "z"])]


def test_answers_keep_their_order():
    policy = RefusalPolicy(["x"], ReferencePolicy())
    assert policy.answers(PROBLEMS, 0) == [REFUSAL, "a1", REFUSAL, "a3"]
    assert policy.finished(PROBLEMS, 0) == [True] * 4
    assert RefusalPolicy(["z"], policy, "No.").answers(PROBLEMS, 0) == [REFUSAL, "a1", REFUSAL, "No."]


@pytest.mark.parametrize("arguments", [{"domains": []}, {"domains": ["x"], "text": " "}])
def test_nothing_to_refuse_is_one_line(arguments):
    with pytest.raises(PlmError, match="RefusalPolicy"):
        RefusalPolicy(otherwise=ReferencePolicy(), **arguments)
