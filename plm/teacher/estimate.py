"""What making data will cost, before anything is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from plm.datamodules.code_files.record import PublishedProblem
from plm.records import Problem
from plm.teacher.critique_prompts import break_prompt, draw_examples, is_short_enough
from plm.teacher.math_setting import Told, ToldProblem
from plm.teacher.prompts import kept_tests, shown_tests, solution_prompt, translation_prompt
from plm.teacher.replies import Request

CHARACTERS_PER_TOKEN = 3.5
"""Of English and code; our rough number."""
PROGRAM_TOKENS = 400
"""Of a C++ program, its fence included; our rough number."""
GLUE_CHARACTERS = 600
CRITIQUE_TOKENS = 80
"""Of a critique and its tags; our rough number."""


class Estimate(NamedTuple):
    """A step's requests and tokens.

    Attributes:
        step: Its name.
        requests: How many.
        prompt_tokens: Of all prompts.
        completion_tokens: Of all completions.
    """

    step: str
    requests: int
    prompt_tokens: float
    completion_tokens: float


def estimate(
    problems: Sequence[PublishedProblem],
    request: Callable[[str], Request],
    is_answered: Callable[[Request], bool],
    samples: int,
    choices: int,
) -> list[Estimate]:
    """Estimates every step as if no problem were dropped and every reply were good at once: for most data, too much.

    Args:
        problems: With tests.
        request: Makes the request for a translation of a prompt.
        is_answered: Whether a request's reply is on disk; those cost nothing.
        samples: Programs at T = 1.
        choices: Texts that one request asks for.

    Returns:
        The steps in order.
    """
    asked = prompt = completion = question = 0.0
    usable = 0
    for problem in problems:
        tests = [a + b for a, b in kept_tests(problem)] if problem.kind == "stdin" else shown_tests(problem)
        if not tests:
            continue
        usable += 1
        question += len(solution_prompt(problem.statement))
        text = translation_prompt(problem)
        if not is_answered(request(text)):
            asked += 1
            prompt += len(text)
            made = 0 if problem.kind == "stdin" else sum(map(len, tests)) + GLUE_CHARACTERS
            completion += len(problem.statement) + made
    draws = -(-samples // choices)
    unit = CHARACTERS_PER_TOKEN
    return [
        Estimate("translate", int(asked), prompt / unit, completion / unit),
        Estimate("solve", usable, question / unit, float(usable * PROGRAM_TOKENS)),
        Estimate("sample", usable * draws, draws * question / unit, float(usable * samples * PROGRAM_TOKENS)),
    ]


def estimate_critiques(
    problems: Sequence[Problem], request: Callable[[str], Request], is_answered: Callable[[Request], bool]
) -> list[Estimate]:
    """Estimates the one step of breaking programs as if every reply were good at once.

    Args:
        problems: With a correct program.
        request: Makes the request for a prompt.
        is_answered: Whether a request's reply is on disk; those cost nothing.
    """
    texts = [(break_prompt(one, draw_examples(one)), one) for one in problems if is_short_enough(one)]
    asked = [(text, one) for text, one in texts if not is_answered(request(text))]
    prompt = sum(len(text) for text, _ in asked) / CHARACTERS_PER_TOKEN
    program = sum(len(one.reference) for _, one in asked) / CHARACTERS_PER_TOKEN
    return [Estimate("break", len(asked), prompt, program + CRITIQUE_TOKENS * len(asked))]


def estimate_math_setting(
    drafts: Sequence[ToldProblem], request: Callable[[str], Request], is_answered: Callable[[Request], bool]
) -> list[Estimate]:
    """Estimates the translations of problems and of answers as if all were good at once, as long as the originals.

    Args:
        drafts: The problems, with the answers to them.
        request: Makes the request for a prompt.
        is_answered: Whether a request's reply is on disk; those cost nothing.
    """
    answers = [answer for one in drafts for answer in one.answers]
    steps: Mapping[str, Sequence[Told]] = {"translate": drafts, "translate answers": answers}
    found = []
    for name, texts in steps.items():
        asked = [one.shown for one in texts if one.shown.is_short_enough and not is_answered(request(one.shown.prompt))]
        prompt = sum(len(shown.prompt) for shown in asked)
        completion = sum(len(text) for shown in asked for text in shown.texts.values())
        found.append(Estimate(name, len(asked), prompt / CHARACTERS_PER_TOKEN, completion / CHARACTERS_PER_TOKEN))
    return found
