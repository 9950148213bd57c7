"""What there is to know: four domains, each with invented things and three attributes of twelve values.

Every value is one word, and of one attribute. The order of an attribute's values is how familiar they sound, the most
familiar first: the weak policy goes by it (`build.py`).
"""

from __future__ import annotations

import random
from typing import NamedTuple

from plm.seeds import derive_seed

THINGS = 40  # of each domain
VALUES = 12  # of each attribute


class Attribute(NamedTuple):
    """A kind of fact.

    Attributes:
        name: Unique over all domains.
        questions: How to ask for it; `{}` is the thing. Four ways.
        values: Most familiar first.
    """

    name: str
    questions: tuple[str, ...]
    values: tuple[str, ...]


class Fact(NamedTuple):
    """One thing has one value of one attribute."""

    domain: str
    thing: str
    attribute: Attribute
    value: str

    @property
    def name(self) -> str:
        """Names the fact."""
        return f"{self.thing}/{self.attribute.name}"


def _ways(noun: str, verb: str) -> tuple[str, ...]:
    return (f"{verb} {{}} ?", f"name the {noun} of {{}} .", f"{{}} has which {noun} ?", f"the {noun} of {{}} is")


def _attribute(noun: str, verb: str, values: str) -> Attribute:
    return Attribute(noun, _ways(noun, verb), tuple(values.split()))


DOMAINS: dict[str, tuple[Attribute, ...]] = {
    "stem": (
        _attribute(
            "colour", "what colour shows the metal",
            "red blue green white black brown pink gold violet teal ochre mauve",
        ),
        _attribute(
            "use", "what is made from the metal",
            "wire nails pipes coins bells springs lenses magnets fuses gears hinges rivets",
        ),
        _attribute(
            "shape", "which crystals forms the metal",
            "cubes plates needles spheres rods prisms rings cones stars fans tubes discs",
        ),
    ),
    "bio": (
        _attribute(
            "food", "what is eaten by the animal",
            "grass fish seeds fruit leaves insects roots eggs nectar algae moss krill",
        ),
        _attribute(
            "home", "where lives the animal",
            "forest river desert lake swamp cave meadow reef tundra marsh canyon lagoon",
        ),
        _attribute(
            "danger", "what threatens the animal",
            "wolves hunters floods drought snakes eagles frost fire parasites storms noise salt",
        ),
    ),
    "law": (
        _attribute(
            "court", "who decides cases under the act",
            "judge jury mayor council senate tribunal notary board bishop sheriff arbiter provost",
        ),
        _attribute(
            "penalty", "what is the punishment under the act",
            "prison fine warning exile labour curfew probation ban custody restitution demotion censure",
        ),
        _attribute(
            "subject", "what is protected by the act",
            "land money children trade animals privacy water workers patents tenants archives hedges",
        ),
    ),
    "misc": (
        _attribute(
            "export", "what is sold by the city",
            "wine cotton timber sugar coffee silk rubber glass carpets spices amber saffron",
        ),
        _attribute(
            "instrument", "what is played in the city",
            "piano guitar drums violin flute harp trumpet organ cello banjo oboe zither",
        ),
        _attribute(
            "founder", "who founded the city",
            "king soldiers monks merchants sailors farmers nuns miners pirates poets weavers cartographers",
        ),
    ),
}  # fmt: skip

_ONSETS = "b d f g k l m n p r s t v z br dr gr kr pr tr st sk".split()
_VOWELS = "a e i o u".split()
_ENDS = {"stem": "ium", "bio": "ops", "law": "lex", "misc": "grad"}


def draw_world(seed: int) -> list[Fact]:
    """Every fact of a world: things are named and given their values by the seed."""
    rng = random.Random(derive_seed(seed, "mini facts"))
    facts: list[Fact] = []
    for domain, attributes in DOMAINS.items():
        names: dict[str, None] = {}
        while len(names) < THINGS:
            syllables = (rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(2))
            names["".join(syllables).capitalize() + rng.choice(_ONSETS[:14]) + _ENDS[domain]] = None
        for thing in names:
            facts += [Fact(domain, thing, attribute, rng.choice(attribute.values)) for attribute in attributes]
    return facts
