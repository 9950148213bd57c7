"""The procedural math task: computations, their tellings in two settings, the weak policy."""

import hashlib
import json
import re
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from plm.datamodules import ProceduralMath
from plm.datamodules.mini_math import SETTINGS, STORIES, Spec, Step, draw_specs, render, solution, solve, weak_spec
from plm.datamodules.mini_math.draws import LARGEST, draw_spec, seeded
from plm.datamodules.mini_math.spec import work
from plm.datamodules.mini_math.stories import THINGS
from plm.datamodules.mini_math.weak import SAMPLES, careless_specs
from plm.datamodules.splits import check_disjoint

SAVED = Spec("savings", 12, (Step("+", 7), Step("*", 3), Step("-", 20)))


def numbers(text):
    return [int(found) for found in re.findall(r"\d+", text)]


# --- one problem, worked by hand


def test_a_solution_goes_step_by_step_in_both_settings():
    assert solve(SAVED) == 37 and SAVED.level == 2 and SAVED.computation == "12+7*3-20"
    assert solution(SAVED, "english_latex") == (
        r"First, $12 + 7 = 19$. Then $19 \times 3 = 57$. Then $57 - 20 = 37$. The answer is $\boxed{37}$."
    )
    assert solution(SAVED, "spanish_ascii") == (
        "Primero, 12 + 7 = 19. Luego 19*3 = 57. Luego 57 - 20 = 37. La respuesta es 37."
    )


def test_the_weak_policy_adds_everything_up():
    assert weak_spec(SAVED).computation == "12+7+3+20"
    assert render(SAVED).answers["weak"] == (
        r"First, $12 + 7 = 19$. Then $19 + 3 = 22$. Then $22 + 20 = 42$. The answer is $\boxed{42}$.",
    )
    sums = Spec("savings", 12, (Step("+", 7), Step("+", 3)))
    assert weak_spec(sums) == sums and render(sums).answers["weak"] == (render(sums).reference,)


def test_formulas_as_each_setting_writes_them():
    expression = render(Spec("expression", 12, (Step("+", 7), Step("*", 3))))
    assert expression.prompt == r"Evaluate $(12 + 7) \times 3$."
    assert expression.renderings["spanish_ascii"].prompt == "Calcula (12 + 7)*3."
    letters = render(Spec("substitution", 12, (Step("+", 7), Step("*", 3))))
    shape = r"Let \$(.) = 12\$, \$(.) = \1 \+ 7\$ and \$(.) = \2 \\times 3\$. Find \$\3\$\."
    assert re.fullmatch(shape, letters.prompt)
    spanish = r"Sea (.) = 12, (.) = \1 \+ 7 y (.) = \2\*3\. Halla \3\."
    assert re.fullmatch(spanish, letters.renderings["spanish_ascii"].prompt)


# --- the whole task


def test_stories_cover_the_papers_three_groups():
    assert Counter(story.domain for story in STORIES.values()) == {"algebra": 4, "geometry": 2, "numbers": 2}
    assert {story.type for story in STORIES.values()} == {
        "Prealgebra", "Algebra", "Geometry", "Number Theory", "Counting & Probability",
    }  # fmt: skip


def test_problems_are_the_same_in_every_process():
    # whoever changes the task on purpose puts the new digest here, and says in the changelog that numbers move
    problems = [render(spec, 5) for spec in draw_specs(300, 5)]
    text = json.dumps([[p.id, p.domain, p.group, [[n, *r] for n, r in p.renderings.items()]] for p in problems])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "7080c41110bd5031"


def test_more_problems_start_like_fewer():
    assert draw_specs(60, 3)[:20] == draw_specs(20, 3) != draw_specs(20, 4)


def test_computations_ids_and_texts_are_distinct():
    problems = [render(spec) for spec in draw_specs(6000, 1)]
    assert len({problem.group for problem in problems}) == 6000
    assert len({problem.id for problem in problems}) == 6000
    for setting in SETTINGS:
        assert len({problem.renderings[setting].prompt for problem in problems}) == 6000
        assert len({problem.renderings[setting].reference for problem in problems}) == 6000


def test_stories_of_one_computation_share_its_group():
    tellings = [render(Spec(story, 3, (Step("*", 4), Step("+", 5)))) for story in STORIES]
    assert len({problem.group for problem in tellings}) == 1 and len({problem.prompt for problem in tellings}) == 8


def test_no_number_is_large():
    for spec in draw_specs(3000, 2):
        assert 2 <= len(spec.steps) <= 4
        assert all(1 <= result <= LARGEST for _, _, _, result in work(spec))


@pytest.mark.parametrize("story", STORIES)
def test_a_statement_gives_the_numbers_in_order_in_both_settings(story):
    """The solver, the solution and both statements agree; names and things are the same in both."""
    rng = seeded("numbers", story)
    for phrasing in range(40):
        spec = draw_spec(rng, STORIES[story])
        problem = render(spec, phrasing)
        given = [spec.start, *(step.value for step in spec.steps)]
        for rendering in problem.renderings.values():
            assert numbers(rendering.prompt) == given
            assert numbers(rendering.reference)[-1] == solve(spec)
            assert numbers(rendering.answers["weak"][0])[-1] == sum(given)
        english, spanish = (problem.renderings[setting].prompt for setting in SETTINGS)
        assert "{" not in english + spanish
        assert [t in english for t in THINGS["english_latex"]] == [t in spanish for t in THINGS["spanish_ascii"]]


def test_a_story_has_many_tellings():
    assert len({render(SAVED, phrasing).prompt for phrasing in range(200)}) >= 40
    assert len({render(SAVED, phrasing).group for phrasing in range(5)}) == 1


def test_the_other_setting_is_free_of_latex():
    for spec in draw_specs(500, 3):
        shown = render(spec, setting="spanish_ascii")
        assert (shown.prompt, shown.reference, shown.answers) == (*shown.renderings["spanish_ascii"],)
        assert not set("\\${}") & set(shown.prompt + shown.reference + shown.answers["weak"][0])


def test_the_careless_policy_is_the_weak_one_by_chance_and_right_for_one_answer_in_five():
    specs = draw_specs(600, 22)
    samples = [careless_specs(spec, seeded("test", spec.computation)) for spec in specs]
    right = [solve(sample) == solve(spec) for spec, several in zip(specs, samples, strict=True) for sample in several]
    assert 0.17 < sum(right) / len(right) < 0.25
    readings = {
        solution(replace(SAVED, steps=steps), "english_latex")
        for steps in product(*[(step, Step("+", step.value)) for step in SAVED.steps])
    }
    written = render(SAVED).answers["careless"]
    assert len(written) == SAMPLES and len(set(written)) > 1 and set(written) <= readings


def test_the_weak_policy_is_right_for_one_problem_in_ten():
    specs = draw_specs(4000, 21)
    right = [solve(spec) == solve(weak_spec(spec)) for spec in specs]
    assert 0.08 < sum(right) / 4000 <= 0.15
    by_luck = sum(good for good, spec in zip(right, specs, strict=True) if weak_spec(spec) != spec)
    assert by_luck / 4000 < 0.02


def test_the_source_keeps_computations_apart_and_its_corpus_knows_both_settings():
    splits = ProceduralMath(problems=1200, corpus=1500).load(0, "subject")
    check_disjoint(splits)
    sizes = {name: len(problems) for name, problems in splits.items()}
    assert sizes["corpus"] == 1500 and sum(sizes.values()) == 2700 and sizes["val"] >= 200
    references = {name: {problem.reference for problem in problems} for name, problems in splits.items()}
    assert all(references["val"].isdisjoint(references[name]) for name in ("corpus", "weak", "lock", "elicit"))
    assert sum("La respuesta" in problem.reference for problem in splits["corpus"]) == 750
    assert not any("La respuesta" in problem.reference for problem in splits["val"])


@pytest.mark.parametrize(
    ("domains", "expected"),
    [
        ("subject", {"algebra", "geometry", "numbers"}),
        ("type", {"Prealgebra", "Algebra", "Geometry", "Number Theory", "Counting & Probability"}),
        ("level", {"Level 1", "Level 2", "Level 3"}),
    ],
)
def test_domains(domains, expected):
    splits = ProceduralMath(problems=200, corpus=20).load(0, domains)
    assert {problem.domain for problem in splits["lock"]} == expected
