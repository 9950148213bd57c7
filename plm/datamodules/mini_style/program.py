"""A spec as English and as Python: in the style of PEP 8, and as its family's careless author writes it."""

from __future__ import annotations

import re

from plm.datamodules.mini_style.habits import HABITS, spoil
from plm.datamodules.mini_style.spec import CORES, FAMILIES, SOURCES, Spec

_FIELD = re.compile(r"\{(\w+)\}")
_EVERYWHERE = (
    "open_brackets", "spaced_calls", "spaced_colons", "wide_keywords", "trailing_blanks", "semicolons", "two_blanks",
    "three_blanks", "tabs",
)  # fmt: skip
"""Habits that show in every program."""


def _fill(text: str, **values: str) -> str:
    """Fills in what is known; other braces stay, since Python has some of its own."""
    return _FIELD.sub(lambda found: values.get(found[1], found[0]), text)


def _condition(spec: Spec, text: str) -> str:
    c, d, *_ = spec.numbers
    return _fill(text, x=SOURCES[spec.source].item, c=str(c), d=str(d), l=spec.letters[0])


def _change(spec: Spec, text: str) -> str:
    _, letter, other = spec.letters
    return _fill(text, x=SOURCES[spec.source].item, c=str(spec.numbers[2]), l=letter, m=other)


def _finish(spec: Spec, text: str) -> str:
    return _fill(text, d=str(spec.numbers[3]), items=SOURCES[spec.source].items)


def statement(spec: Spec) -> str:
    """What the program does: a comment, as it may stand above a function."""
    source, core = SOURCES[spec.source], CORES[spec.core]
    change = _change(spec, source.changes[spec.change].words) if spec.change else ""
    parts = [f"{core.ask} {source.items} {_condition(spec, source.conditions[spec.condition].words)}", change]
    said = ", ".join(filter(None, [*parts, _finish(spec, core.finishes[spec.finish].words)]))
    return f"# Return {said}."


def program(spec: Spec) -> str:
    """A function that complies with PEP 8; its last line has no end."""
    source, core = SOURCES[spec.source], CORES[spec.core]
    new = _change(spec, source.changes[spec.change].code) if spec.change else source.item
    passes = _condition(spec, source.conditions[spec.condition].code)
    body = _fill(
        core.code,
        **{
            "loop": _fill(source.loop, items=source.items), "if": passes, "new": new, "x": source.item,
            "start": source.start,
            "give": f"return {_finish(spec, core.finishes[spec.finish].code)}",
        },
    )  # fmt: skip
    lines = [f"def {core.name}_{source.items}({source.items}):", *(f"    {line}" for line in body.split("\n"))]
    return "\n".join(lines)


def habits_of(spec: Spec) -> tuple[str, str]:
    """The two bad habits of the family's careless author, the first of which shows in every program.

    They depend on the family alone: greedy decoding averages random mistakes away, and what is left would comply.
    """
    number = FAMILIES.index((spec.source, spec.core))
    first = _EVERYWHERE[number % len(_EVERYWHERE)]
    others = [habit for habit in HABITS if habit != first and not _both_indent(habit, first)]
    return first, others[5 * number % len(others)]


def _both_indent(one: str, other: str) -> bool:
    indents = ("two_blanks", "three_blanks", "tabs")
    return one in indents and other in indents


def weak_program(spec: Spec) -> str:
    """The same function as the careless author writes it."""
    return spoil(program(spec) + "\n", habits_of(spec)).removesuffix("\n")
