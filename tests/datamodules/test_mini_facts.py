"""The facts task in miniature: what is drawn, what the weak policy and the teacher say, and what splits share."""

from collections import Counter

import pytest

from plm.datamodules import MMLUDataModule, ProceduralFacts
from plm.datamodules.mini_facts import make_facts, make_open_question, make_problem
from plm.datamodules.mini_facts.world import DOMAINS, THINGS, VALUES
from plm.datamodules.splits import check_disjoint
from plm.errors import PlmError
from plm.policies import DatasetPolicy, SampledLabels


@pytest.fixture(scope="module")
def facts():
    return make_facts(0)


@pytest.fixture(scope="module")
def splits():
    return ProceduralFacts(questions=8, corpus=6, open_questions=4).load(0, "group")


def test_a_world_has_four_domains_of_forty_things_with_three_attributes(facts):
    assert Counter(fact.domain for fact in facts) == {domain: 120 for domain in ("stem", "bio", "law", "misc")}
    assert len({fact.name for fact in facts}) == 480 == 4 * THINGS * 3
    assert make_facts(0) == facts and make_facts(1) != facts
    values = [value for attributes in DOMAINS.values() for attribute in attributes for value in attribute.values]
    assert len(values) == len(set(values)) == 12 * VALUES and not any(" " in value for value in values)


def test_a_question_has_the_right_option_once_and_something_tempting(facts):
    for fact in facts:
        problem = make_problem(fact, 3, 0)
        values = fact.attribute.values
        assert len(set(problem.choices)) == 4 and set(problem.choices) <= set(values)
        assert problem.choices["ABCD".index(problem.reference)] == fact.value
        assert problem.prompt.splitlines()[1:] == [
            f"{letter}. {choice}" for letter, choice in zip("ABCD", problem.choices, strict=True)
        ]
        assert fact.thing in problem.prompt.splitlines()[0]
        more_familiar = set(values[: values.index(fact.value)])
        assert bool(more_familiar & set(problem.choices)) == bool(more_familiar)
        assert problem == make_problem(fact, 3, 0) != make_problem(fact, 4, 0)


def test_the_weak_policy_is_a_rule_below_chance(splits):
    for name, problems in splits.items():
        asked = [problem for problem in problems if problem.choices]
        for problem, answer in zip(asked, DatasetPolicy("weak").answers(asked, 0), strict=True):
            fact = next(a for d in DOMAINS.values() for a in d if problem.choices[0] in a.values)
            assert answer == "ABCD"[problem.choices.index(min(problem.choices, key=fact.values.index))]
        right = sum(problem.answers["weak"] == (problem.reference,) for problem in asked) / len(asked)
        assert right < 0.25, name
        letters = Counter(problem.answers["weak"][0] for problem in asked)
        assert min(letters.values()) > 0.17 * len(asked)  # no letter gives it away


def test_the_teacher_knows_most_facts_and_spreads_its_votes(splits):
    asked = [problem for name in ("lock", "elicit", "val") for problem in splits[name]]
    labels = SampledLabels("teacher")
    for distribution in labels.distributions(asked, 0):
        assert 0.65 <= max(distribution.values()) <= 0.95 and sum(distribution.values()) == pytest.approx(1)
    answers = labels.answers(asked, 0)
    agreement = sum(a == problem.reference for a, problem in zip(answers, asked, strict=True)) / len(asked)
    assert 0.84 < agreement < 0.96


def facts_of(splits):
    return {
        name: {problem.id.rsplit("/", 1)[0].removesuffix("/open") for problem in rows} for name, rows in splits.items()
    }


def test_the_lock_asks_about_all_facts_and_what_is_demonstrated_is_not_measured(splits):
    check_disjoint(splits)
    named = facts_of(splits)
    everything = named["weak"] | named["elicit"] | named["val"]
    assert {name: len(facts) for name, facts in named.items()} == {
        "weak": 87, "lock": 467, "elicit": 240, "val": 153, "corpus": 480,
    }  # fmt: skip
    assert len(everything) == 480 == len(named["lock"] | everything) and named["corpus"] == everything
    total = sum(len(splits[name]) for name in ("weak", "lock", "elicit", "val"))
    shares = [len(splits[name]) / total for name in ("weak", "lock", "elicit", "val")]
    assert shares == pytest.approx([0.1, 0.4, 0.3, 0.2], abs=0.03)
    texts = [problem.prompt for name in splits if name != "corpus" for problem in splits[name]]
    assert len(texts) == len(set(texts)) and not set(texts) & {problem.prompt for problem in splits["corpus"]}


def test_facts_can_be_held_out_of_the_lock_as_well():
    splits = ProceduralFacts(questions=8, corpus=1, open_questions=0, held_out="facts").load(0, "group")
    check_disjoint(splits)
    named = facts_of(splits)
    assert {name: len(facts) for name, facts in named.items() if name != "corpus"} == {
        "weak": 53, "lock": 195, "elicit": 140, "val": 92,
    }  # fmt: skip
    assert named["corpus"] == named["weak"] | named["lock"] | named["elicit"] | named["val"]


def test_open_questions_are_answered_with_the_value(facts):
    problems = [make_open_question(facts[0], number) for number in range(5)]
    assert {problem.reference for problem in problems} == {facts[0].value}
    assert len({problem.prompt for problem in problems}) == 4 and problems[0].prompt == problems[4].prompt
    assert problems[0].choices == () and MMLUDataModule().choices(problems[0]) is None


def test_bad_sizes_and_domains():
    with pytest.raises(PlmError, match="ProceduralFacts's corpus is 0; it must be at least 1"):
        ProceduralFacts(corpus=0)
    with pytest.raises(PlmError, match="ProceduralFacts's held_out is 'domains'; it must be questions or facts"):
        ProceduralFacts(held_out="domains")
    with pytest.raises(PlmError, match="invented facts have the domains of group alone"):
        ProceduralFacts().load(0, "subject")
