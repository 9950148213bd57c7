"""A spec in English: four orders of the same parts, and synonyms inside them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from plm.datamodules.mini_code.program import FAMILIES
from plm.datamodules.mini_code.spec import Family, Spec, Step, StepKind
from plm.datamodules.mini_code.steps import FINISHES

Parts = tuple[str, str, str, str, str]
"""Items with their condition, changes, question alone, question with `{items}`, finish."""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _say(rng: Random, kind: StepKind, step: Step, it: str) -> str:
    return rng.choice(kind.words).replace("{c}", kind.show(step.value)).replace("{it}", it)


def _items(rng: Random, spec: Spec, family: Family) -> str:
    if not spec.keep:
        return family.source.items
    words = _say(rng, family.source.conditions[spec.keep.kind], spec.keep, "")
    return f"{family.source.items} that are {words}"


def _changes(rng: Random, spec: Spec, family: Family) -> str:
    return " and ".join(_say(rng, family.source.changes[step.kind], step, "each") for step in spec.changes)


def _finish(rng: Random, spec: Spec, family: Family) -> str:
    kinds = FINISHES[family.core.result]
    if not spec.finish:
        return ""
    it = rng.choice(("the answer", "the result"))
    said = [_say(rng, kinds[step.kind], step, name) for step, name in zip(spec.finish, (it, "it"), strict=False)]
    return f" {_capital(rng.choice(('', 'then ', 'finally ')) + ', then '.join(said))}."


def _steps_first(given: str, parts: Parts, rng: Random) -> str:
    items, changes, ask, _, finish = parts
    middle = f" {_capital(changes)}." if changes else ""
    return f"{rng.choice(('Read', 'You get'))} {given}. Take {items}.{middle} {_capital(ask)}.{finish}"


def _one_sentence(given: str, parts: Parts, rng: Random) -> str:
    items, changes, ask, _, finish = parts
    middle = f", {changes}" if changes else ""
    return f"{rng.choice(('Given', 'From'))} {given}, take {items}{middle} and {ask}.{finish}"


def _question_first(given: str, parts: Parts, rng: Random) -> str:
    items, changes, _, ask, finish = parts
    # "the sum of the even integers after you add 3" would leave open whether the condition comes before the change
    whole = f"the results when you take {items} and {changes}" if changes else items
    said = _capital(ask.replace("{items}", whole))
    return f"{said}.{finish} {rng.choice(('The input is', 'You are given'))} {given}."


def _input_first(given: str, parts: Parts, rng: Random) -> str:
    items, changes, ask, _, finish = parts
    middle = f" {_capital(changes)}." if changes else ""
    return f"{rng.choice(('Input:', 'The input has'))} {given}. Use only {items}.{middle} {_capital(ask)}.{finish}"


FRAMES: tuple[Callable[[str, Parts, Random], str], ...] = (_steps_first, _one_sentence, _question_first, _input_first)


def statement(spec: Spec, rng: Random) -> str:
    """One of the many ways to put a program in words."""
    family = FAMILIES[spec.family]
    alone, named = rng.choice(family.core.asks)
    parts = (_items(rng, spec, family), _changes(rng, spec, family), alone, named, _finish(rng, spec, family))
    return rng.choice(FRAMES)(family.source.given, parts, rng)
