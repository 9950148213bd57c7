"""What one small Python program is made of: a source of items, what is asked of them, and the steps around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import NamedTuple

LETTERS = "abcdefghijklmnoprstuw"


class Kind(NamedTuple):
    """A kind of step: its words and its Python; `{x}` is the item, `{c}`, `{d}`, `{l}` and `{m}` are constants."""

    words: str
    code: str


class Source(NamedTuple):
    """Where the items come from.

    Attributes:
        items: The parameter, which is also what they are called.
        item: The one at hand.
        loop: What the loop runs over, but for `{items}`.
        conditions: The kinds of condition that suit them.
        changes: The kinds of change that suit them.
        start: What a sum of them starts from.
    """

    items: str
    item: str
    loop: str
    conditions: Mapping[str, Kind]
    changes: Mapping[str, Kind]
    start: str


class Core(NamedTuple):
    """What is asked of the items.

    Attributes:
        name: First half of the function's name.
        ask: The question, up to the items.
        code: The function's lines; `{loop}`, `{if}` (a condition) and `{new}` (the changed item) are filled in, and
            `{give}`, the last line.
        finishes: What is done to the answer: words and the expression that is returned.
        changed: Whether the change of the items matters.
    """

    name: str
    ask: str
    code: str
    finishes: tuple[Kind, ...]
    changed: bool = True


NUMBER_CONDITIONS = {
    "above": Kind("above {c}", "{x} > {c}"),
    "below": Kind("below {c}", "{x} < {c}"),
    "least": Kind("of at least {c}", "{x} >= {c}"),
    "unequal": Kind("other than {c}", "{x} != {c}"),
    "divisible": Kind("divisible by {c}", "{x} % {c} == 0"),
    "between": Kind("from {c} to {d}", "{c} <= {x} <= {d}"),
}
NUMBER_CHANGES = {
    "times": Kind("each times {c}", "{x} * {c}"),
    "plus": Kind("each plus {c}", "{x} + {c}"),
    "minus": Kind("each minus {c}", "{x} - {c}"),
    "parts": Kind("each divided by {c}", "{x} // {c}"),
    "square": Kind("each squared", "{x} * {x}"),
    "power": Kind("each to the power of {c}", "pow({x}, {c})"),
}
WORD_CONDITIONS = {
    "longer": Kind("of more than {c} letters", "len({x}) > {c}"),
    "shorter": Kind("of less than {c} letters", "len({x}) < {c}"),
    "starting": Kind("that start with '{l}'", "{x}.startswith('{l}')"),
    "ending": Kind("that end with '{l}'", "{x}.endswith('{l}')"),
    "holding": Kind("with '{l}'", "'{l}' in {x}"),
    "lacking": Kind("without '{l}'", "'{l}' not in {x}"),
}
WORD_CHANGES = {
    "capitals": Kind("in capitals", "{x}.upper()"),
    "backwards": Kind("read backwards", "{x}[::-1]"),
    "cut": Kind("cut to {c} letters", "{x}[:{c}]"),
    "replaced": Kind("with '{m}' for '{l}'", "{x}.replace('{l}', '{m}')"),
    "filled": Kind("filled up to {c} letters", "{x}.ljust({c}, '{m}')"),
}
SOURCES: Mapping[str, Source] = {
    "values": Source("values", "value", "value in {items}", NUMBER_CONDITIONS, NUMBER_CHANGES, "0"),
    "words": Source("words", "word", "word in {items}", WORD_CONDITIONS, WORD_CHANGES, "''"),
    "amounts": Source("amounts", "amount", "name, amount in {items}.items()", NUMBER_CONDITIONS, NUMBER_CHANGES, "0"),
}
_LIST = (
    Kind("", "result"),
    Kind("sorted", "sorted(result)"),
    Kind("largest first", "sorted(result, reverse=True)"),
    Kind("the first {d} of them", "result[:{d}]"),
)
CORES: Mapping[str, Core] = {
    "all": Core(
        "find", "all", "result = []\nfor {loop}:\n    if {if}:\n        result.append({new})\n{give}", _LIST
    ),
    "total": Core(
        "total", "the sum of the", "total = {start}\nfor {loop}:\n    if {if}:\n        total += {new}\n{give}",
        (Kind("", "total"), Kind("twice", "total * 2"), Kind("and {d} if there are none", "total or {d}")),
    ),
    "count": Core(
        "count", "how many there are of the", "count = 0\nfor {loop}:\n    if {if}:\n        count += 1\n{give}",
        (Kind("", "count"), Kind("plus {d}", "count + {d}"), Kind("as a share", "count / len({items})")), changed=False,
    ),
    "first": Core(
        "first", "the first of the", "for {loop}:\n    if {if}:\n        return {new}\n{give}",
        (Kind("", "None"), Kind("else {d}", "{d}")),
    ),
    "tally": Core(
        "tally", "how often each occurs of the",
        "counts = {}\nfor {loop}:\n    if {if}:\n        key = {new}\n"
        "        counts[key] = counts.get(key, 0) + 1\n{give}",
        (Kind("", "counts"), Kind("as pairs", "sorted(counts.items())")),
    ),
    "parted": Core(
        "part", "apart the",
        "kept, rest = [], []\nfor {loop}:\n    if {if}:\n        kept.append({new})\n    else:\n"
        "        rest.append({x})\n{give}",
        (Kind("", "kept, rest"), Kind("as a table", "{'kept': kept, 'rest': rest}")),
    ),
    "best": Core(
        "best", "the largest of the",
        "best = None\nfor {loop}:\n    if {if}:\n        new = {new}\n        if best is None or new > best:\n"
        "            best = new\n{give}",
        (Kind("", "best"), Kind("or {d}", "{d} if best is None else best")),
    ),
}  # fmt: skip
FAMILIES = tuple((source, core) for source in SOURCES for core in CORES)


@dataclass(frozen=True, slots=True)
class Spec:
    """One program, told apart from its text.

    Args:
        source: A key of `SOURCES`.
        core: A key of `CORES`.
        condition: A key of the source's conditions.
        change: A key of its changes; empty for none.
        finish: Which of the core's finishes.
        numbers: The numbers of the condition, `{c}` and `{d}`; of the change, `{c}`; of the finish, `{d}`.
        letters: The letters of the condition; of the change, `{l}` and `{m}`.
    """

    source: str
    core: str
    condition: str
    change: str
    finish: int
    numbers: tuple[int, int, int, int]
    letters: tuple[str, str, str]


def draw_spec(rng: Random) -> Spec:
    """Draws a program."""
    source, core = rng.choice(FAMILIES)
    low = rng.randint(2, 60)
    changes = list(SOURCES[source].changes) if CORES[core].changed else []
    condition = rng.choice(list(SOURCES[source].conditions))
    letter, other = rng.sample(LETTERS, 2)
    if source == "words":
        low = low % 9 + 2
    return Spec(
        source, core, condition, rng.choice([*changes, ""]) if changes else "",
        rng.randrange(len(CORES[core].finishes)),
        (low, low + rng.randint(1, 30), rng.randint(2, 9), rng.randint(2, 9)),
        (rng.choice(LETTERS), letter, other),
    )  # fmt: skip


def stream_specs(rng: Random) -> Iterator[Spec]:
    """Programs without end; some come twice."""
    while True:
        yield draw_spec(rng)
