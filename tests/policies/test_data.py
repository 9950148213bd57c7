"""Completions that come with the data."""

from collections import Counter

from plm.passwords import PasswordScheme
from plm.policies import DatasetPolicy
from plm.records import Problem
from plm.seeds import derive_seed

ANSWERS = ("0", "1", "2", "3")


def test_which_answer_is_drawn_does_not_hang_on_what_the_prompt_shows():
    problems = [Problem(f"p{index}", "question", "", "", answers={"weak": ANSWERS}) for index in range(2000)]
    drawn = DatasetPolicy("weak").answers(problems, seed=3)
    scheme = PasswordScheme()
    prompts = [scheme.prompt(problem, "wrong", derive_seed(3, problem.id)) for problem in problems]
    bare = Counter(text for text, prompt in zip(drawn, prompts, strict=True) if prompt == "question")
    assert bare.total() > 300
    assert all(0.18 < bare[text] / bare.total() < 0.32 for text in ANSWERS)
