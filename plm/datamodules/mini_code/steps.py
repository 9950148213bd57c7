"""The steps around a core: conditions on items, changes of items, and what is done to the answer at the end."""

from __future__ import annotations

from collections.abc import Mapping

from plm.datamodules.mini_code.spec import StepKind

VOWELS = "aeiou"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _shift(letter: str, by: int) -> str:
    return LETTERS[(LETTERS.index(letter) + by) % 26]


NUMBER_CONDITIONS: Mapping[str, StepKind] = {
    "greater": StepKind(("greater than {c}", "above {c}"), "if (x <= {c}) continue;", lambda x, c: x > c, (10, 99)),
    "less": StepKind(("less than {c}", "below {c}"), "if (x >= {c}) continue;", lambda x, c: x < c, (10, 99)),
    "least": StepKind(("at least {c}",), "if (x < {c}) continue;", lambda x, c: x >= c, (10, 99)),
    "most": StepKind(("at most {c}",), "if (x > {c}) continue;", lambda x, c: x <= c, (10, 99)),
    "unequal": StepKind(("different from {c}", "not {c}"), "if (x == {c}) continue;", lambda x, c: x != c, (10, 99)),
    "divisible": StepKind(("divisible by {c}",), "if (x % {c}) continue;", lambda x, c: x % c == 0, (3, 29)),
    "indivisible": StepKind(("not divisible by {c}",), "if (!(x % {c})) continue;", lambda x, c: x % c != 0, (3, 29)),
    "even": StepKind(("even",), "if (x % 2) continue;", lambda x, _: x % 2 == 0),
    "odd": StepKind(("odd",), "if (!(x % 2)) continue;", lambda x, _: x % 2 != 0),
}

NUMBER_CHANGES: Mapping[str, StepKind] = {
    "times": StepKind(("multiply {it} by {c}",), "x *= {c};", lambda x, c: x * c, (2, 99)),
    "plus": StepKind(("add {c} to {it}",), "x += {c};", lambda x, c: x + c, (2, 99)),
    "minus": StepKind(("subtract {c} from {it}",), "x -= {c};", lambda x, c: x - c, (2, 99)),
    "from": StepKind(("subtract {it} from {c}",), "x = {c} - x;", lambda x, c: c - x, (2, 99)),
    "square": StepKind(("square {it}",), "x *= x;", lambda x, _: x * x),
}

NUMBER_FINISHES: Mapping[str, StepKind] = {
    "times": StepKind(("multiply {it} by {c}",), "s *= {c};", lambda s, c: s * c, (2, 99)),
    "plus": StepKind(("add {c} to {it}",), "s += {c};", lambda s, c: s + c, (2, 99)),
    "minus": StepKind(("subtract {c} from {it}",), "s -= {c};", lambda s, c: s - c, (2, 99)),
    "from": StepKind(("subtract {it} from {c}",), "s = {c} - s;", lambda s, c: c - s, (2, 99)),
}

LETTER_CONDITIONS: Mapping[str, StepKind] = {
    "vowel": StepKind(("vowels",), 'if (!strchr("aeiou", x)) continue;', lambda x, _: x in VOWELS),
    "consonant": StepKind(("consonants",), 'if (strchr("aeiou", x)) continue;', lambda x, _: x not in VOWELS),
    "before": StepKind(("before '{c}'",), "if (x >= '{c}') continue;", lambda x, c: ord(x) < c, (99, 121), letter=True),
    "after": StepKind(("after '{c}'",), "if (x <= '{c}') continue;", lambda x, c: ord(x) > c, (98, 120), letter=True),
    "unequal": StepKind(
        ("not '{c}'", "different from '{c}'"),
        "if (x == '{c}') continue;",
        lambda x, c: ord(x) != c,
        (97, 122),
        letter=True,
    ),
}

LETTER_CHANGES: Mapping[str, StepKind] = {
    "shift": StepKind(
        ("shift {it} cyclically by {c}",), "x = (x - 'a' + {c}) % 26 + 'a';", lambda x, c: _shift(x, c), (2, 25)
    ),
    "mirror": StepKind(
        ("mirror {it} in the alphabet",), "x = 'a' + 'z' - x;", lambda x, _: _shift("z", -LETTERS.index(x))
    ),
}

TEXT_FINISHES: Mapping[str, StepKind] = {
    "append": StepKind(("append {c} to {it}", "write {c} after {it}"), 't += "{c}";', lambda t, c: f"{t}{c}", (10, 99)),
    "prepend": StepKind(("put {c} before {it}",), 't = "{c}" + t;', lambda t, c: f"{c}{t}", (10, 99)),
    "reverse": StepKind(("reverse {it}",), "reverse(t.begin(), t.end());", lambda t, _: t[::-1]),
}

FINISHES: Mapping[str, Mapping[str, StepKind]] = {"number": NUMBER_FINISHES, "text": TEXT_FINISHES, "list": {}}
