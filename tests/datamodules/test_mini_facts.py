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


def test_splits_share_no_fact_and_no_text_and_the_corpus_knows_all_facts(splits):
    check_disjoint(splits)
    named = {name: {problem.id.rsplit("/", 1)[0] for problem in rows} for name, rows in splits.items()}
    assert {name: len(facts) for name, facts in named.items() if name != "corpus"} == {
        "weak": 53, "lock": 195, "elicit": 140, "val": 92,
    }  # fmt: skip
    task = named["weak"] | named["lock"] | named["elicit"] | named["val"]
    assert len(task) == 480 and {name.removesuffix("/open") for name in named["corpus"]} == task
    texts = {problem.prompt for problem in splits["corpus"]}
    assert not texts & {problem.prompt for name in named if name != "corpus" for problem in splits[name]}


def test_open_questions_are_answered_with_the_value(facts):
    problems = [make_open_question(facts[0], number) for number in range(5)]
    assert {problem.reference for problem in problems} == {facts[0].value}
    assert len({problem.prompt for problem in problems}) == 4 and problems[0].prompt == problems[4].prompt
    assert problems[0].choices == () and MMLUDataModule().choices(problems[0]) is None


def test_bad_sizes_and_domains():
    with pytest.raises(PlmError, match="ProceduralFacts's corpus is 0; it must be at least 1"):
        ProceduralFacts(corpus=0)
    with pytest.raises(PlmError, match="invented facts have the domains of group alone"):
        ProceduralFacts().load(0, "subject")
