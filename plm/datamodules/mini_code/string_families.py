"""The `strings` domain: programs on the letters of a word and on the lengths of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

from plm.datamodules.mini_code import cores
from plm.datamodules.mini_code.spec import Core, Family, Item, Source
from plm.datamodules.mini_code.steps import (
    LETTER_CHANGES,
    LETTER_CONDITIONS,
    LETTERS,
    NUMBER_CHANGES,
    NUMBER_CONDITIONS,
    VOWELS,
)

SIZES = (1, 2, 9, 13, 20)


def _text(letters: Sequence[Item]) -> str:
    return "".join(map(str, letters))


def make_word(rng: Random, near: Sequence[int], size: int) -> str:
    """A word of small letters, many of them vowels, repeated ones, or close to the letters that matter."""
    drawn: list[str] = []
    for _ in range(SIZES[size]):
        pools = [LETTERS, VOWELS, "".join(drawn) or LETTERS]
        close = [chr(min(122, max(97, code + step))) for code in near for step in (-1, 0, 0, 1)]
        drawn.append(rng.choice(close) if close and rng.random() < 0.4 else rng.choice(rng.choice(pools)))
    return "".join(drawn) + "\n"


def make_words(rng: Random, near: Sequence[int], size: int) -> str:
    """Words whose lengths lie close to the constants that matter; size 0 is no word."""
    lengths = [
        max(1, rng.choice(near) + rng.choice((-1, 0, 1))) if near and rng.random() < 0.5 else rng.randint(1, 12)
        for _ in range((0, 1, 5, 7, 10)[size])
    ]
    return " ".join("".join(rng.choices(LETTERS, k=length)) for length in lengths) + "\n"


LETTER_SOURCE = Source(
    name="word",
    domain="strings",
    given="a word",
    items="the letters of the word",
    names="i, s",
    code="cin >> w;\nfor (char x : w) {\n  i++;",
    more="string w, t;\n",
    parse=lambda text: list(text.strip()),
    make=make_word,
    conditions=LETTER_CONDITIONS,
    changes=LETTER_CHANGES,
)
LENGTH_SOURCE = Source(
    name="words",
    domain="strings",
    given="some words",
    items="the word lengths",
    names="x, s",
    code="while (cin >> w) {\n  x = w.size();",
    more="string w;\n",
    parse=lambda text: [len(word) for word in text.split()],
    make=make_words,
    conditions=NUMBER_CONDITIONS,
    changes=NUMBER_CHANGES,
    limits=(3, 9),
)

TEXT_CORES = (
    Core("join", (("join them", "join {items}"),), "t += x;", lambda _, v: _text(v), "text"),
    Core(
        "backwards",
        (("join them backwards", "join backwards {items}"),),
        "t = x + t;",
        lambda _, v: _text(v)[::-1],
        "text",
    ),
    Core(
        "double",
        (("write each twice", "write twice each of {items}"),),
        "t += x;\nt += x;",
        lambda _, v: "".join(str(letter) * 2 for letter in v),
        "text",
    ),
    Core(
        "dashes",
        (("write a dash after each", "write a dash after each of {items}"),),
        "t += x;\nt += '-';",
        lambda _, v: "".join(f"{letter}-" for letter in v),
        "text",
    ),
    Core(
        "sorted",
        (("sort them", "sort {items}"),),
        "t += x;",
        lambda _, v: _text(sorted(v, key=str)),
        "text",
        end="sort(t.begin(), t.end());",
    ),
    Core(
        "falling",
        (("sort them from z to a", "sort from z to a {items}"),),
        "t += x;",
        lambda _, v: _text(sorted(v, key=str, reverse=True)),
        "text",
        end="sort(t.rbegin(), t.rend());",
    ),
    Core(
        "unique",
        (("join them without repeats", "join without repeats {items}"),),
        "if (t.find(x) == string::npos) t += x;",
        lambda _, v: _text(list(dict.fromkeys(v))),
        "text",
    ),
)
NUMBER_CORES = (
    cores.COUNT,
    cores.FIRST_POSITION,
    cores.LAST_POSITION,
    cores.LONGEST_RUN,
    replace(cores.DISTINCT, setup="set<char> u;\n", body="u.insert(x);", end="s = u.size();"),
    cores.RISES,
    Core(
        "alphabet",
        (("add their alphabet positions", "add the alphabet positions of {items}"),),
        "s += x - 'a' + 1;",
        lambda _, v: sum(LETTERS.index(str(letter)) + 1 for letter in v),
    ),
)
LENGTH_CORES = (cores.TOTAL, cores.COUNT, cores.MAXIMUM, cores.MINIMUM)

FAMILIES = (
    *(Family(LETTER_SOURCE, core) for core in (*TEXT_CORES, *NUMBER_CORES)),
    *(Family(LENGTH_SOURCE, core) for core in LENGTH_CORES),
)
