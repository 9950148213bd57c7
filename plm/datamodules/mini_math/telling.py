r"""A spec in words, in two settings (LCK-4): English with LaTeX, and Spanish with ASCII math.

Both tell the same: the same names and things, the same of several phrases. A solution goes step by step; in LaTeX it
ends with `\boxed{}`, which ASCII math does not have, so that the other ends with the answer in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import NamedTuple

from plm.datamodules.mini_math.spec import Operation, Setting, Spec, solve, work
from plm.datamodules.mini_math.stories import NAMES, STORIES, THINGS

SETTINGS: tuple[Setting, ...] = ("english_latex", "spanish_ascii")
LETTERS = ("abcde", "pqrst", "fghjk")


class Notation(NamedTuple):
    """How a setting writes formulas and connects sentences.

    Attributes:
        math: Puts a formula into a sentence; `{}` is the formula.
        signs: The sign of each operation, with its spaces.
        last: Stands before the last of several steps, instead of a comma.
        let: A substitution's beginning and its question, with `{}` for the letter.
        evaluate: The task to work out a formula, `{}`.
        reasons: A solution's beginning, what connects its steps, and its end with the answer, `{}`.
    """

    math: str
    signs: Mapping[Operation, str]
    last: str
    let: tuple[str, str]
    evaluate: str
    reasons: tuple[str, str, str]


NOTATIONS: Mapping[Setting, Notation] = {
    "english_latex": Notation(
        math="${}$",
        signs={"+": " + ", "-": " - ", "*": r" \times "},
        last=" and ",
        let=("Let ", "Find {}."),
        evaluate="Evaluate {}.",
        reasons=("First, ", ". Then ", r". The answer is $\boxed{{{}}}$."),
    ),
    "spanish_ascii": Notation(
        math="{}",
        signs={"+": " + ", "-": " - ", "*": "*"},
        last=" y ",
        let=("Sea ", "Halla {}."),
        evaluate="Calcula {}.",
        reasons=("Primero, ", ". Luego ", ". La respuesta es {}."),
    ),
}


def _listed(parts: list[str], last: str) -> str:
    return last.join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def _told(spec: Spec, setting: Setting, rng: Random) -> str:
    story, notation = STORIES[spec.story], NOTATIONS[setting]
    wording = story.wordings[setting]
    name, thing = rng.choice(NAMES), rng.randrange(len(THINGS[setting]))
    given, steps = [spec.start], spec.steps
    if story.starts_with_product:
        given, steps = [spec.start, steps[0].value], steps[1:]
    opening = wording.opening
    for number in given:
        opening = opening.replace("{n}", notation.math.format(number), 1)
    said = [rng.choice(wording.steps[kind]).replace("{n}", notation.math.format(value)) for kind, value in steps]
    text = f"{opening} {wording.lead} {_listed(said, notation.last)}. {wording.question}"
    return text.replace("{name}", name).replace("{things}", THINGS[setting][thing])


def _substitution(spec: Spec, setting: Setting, rng: Random) -> str:
    notation, letters = NOTATIONS[setting], rng.choice(LETTERS)
    formulas = [f"{letters[0]} = {spec.start}"]
    for before, letter, (kind, value) in zip(letters, letters[1:], spec.steps, strict=False):
        formulas.append(f"{letter} = {before}{notation.signs[kind]}{value}")
    opening, question = notation.let
    asked = notation.math.format(letters[len(spec.steps)])
    shown = _listed([notation.math.format(formula) for formula in formulas], notation.last)
    return f"{opening}{shown}. {question.format(asked)}"


def _expression(spec: Spec, setting: Setting) -> str:
    notation = NOTATIONS[setting]
    formula = str(spec.start)
    for index, (kind, value) in enumerate(spec.steps):
        inner = f"({formula})" if index else formula
        formula = f"{inner}{notation.signs[kind]}{value}"
    return notation.evaluate.format(notation.math.format(formula))


def statement(spec: Spec, setting: Setting, rng: Random) -> str:
    """One of the ways to tell a problem; equal generators tell the same in both settings."""
    if spec.story == "substitution":
        return _substitution(spec, setting, rng)
    return _expression(spec, setting) if spec.story == "expression" else _told(spec, setting, rng)


def solution(spec: Spec, setting: Setting) -> str:
    """The chain of thought, a step at a time, and the answer."""
    notation = NOTATIONS[setting]
    first, then, end = notation.reasons
    steps = [notation.math.format(f"{a}{notation.signs[kind]}{b} = {c}") for a, kind, b, c in work(spec)]
    return f"{first}{then.join(steps)}{end.format(solve(spec))}"
