"""Questions about facts: fresh options, a weak policy that goes by what sounds familiar, a teacher that votes."""

from __future__ import annotations

import random

from plm.datamodules.mini_facts.world import Fact, draw_world
from plm.records import Problem
from plm.seeds import derive_seed

OPTIONS = 4
VOTES = 20  # of the teacher on each question
KNOWN = 0.9  # share of the facts that the teacher knows; our choice, as are its votes
LETTERS = "ABCD"


def make_facts(seed: int) -> list[Fact]:
    """All facts of a world, in an order that the seed draws: 480."""
    facts = draw_world(seed)
    random.Random(derive_seed(seed, "order of facts")).shuffle(facts)
    return facts


def make_problem(fact: Fact, number: int, seed: int, grouped: bool = True) -> Problem:
    """A multiple-choice question about a fact.

    The options are the value and three others, in an order that is drawn too. One of the others is drawn among those
    that sound more familiar than the right one (there is none if the right one sounds most familiar), as in questions
    that people write: something tempting is always there. The weak policy picks the most familiar option, so it is
    right on about 1 in 12 questions, below chance, whoever asks.

    Args:
        fact: What is asked for.
        number: Tells questions about the same fact apart: another wording, other options.
        seed: Of the task.
        grouped: Whether splits keep all questions about the fact together.
    """
    rng = random.Random(derive_seed(seed, "question", fact.name, number))
    values = fact.attribute.values
    more_familiar = values[: values.index(fact.value)]
    tempting = [rng.choice(more_familiar)] if more_familiar else []
    rest = [value for value in values if value != fact.value and value not in tempting]
    options = [fact.value, *tempting, *rng.sample(rest, OPTIONS - 1 - len(tempting))]
    rng.shuffle(options)
    question = rng.choice(fact.attribute.questions).format(fact.thing)
    lines = [question, *(f"{letter}. {option}" for letter, option in zip(LETTERS, options, strict=True))]
    reference = LETTERS[options.index(fact.value)]
    weak = LETTERS[options.index(min(options, key=values.index))]
    teacher = _votes(fact, reference, weak, seed, rng)
    return Problem(
        f"{fact.name}/{number}",
        "\n".join(lines),
        fact.domain,
        reference,
        group=fact.name if grouped else "",
        answers={"weak": (weak,), "teacher": teacher},
        choices=tuple(options),
    )


def make_open_question(fact: Fact, number: int) -> Problem:
    """A question without options, answered with the value: what a corpus teaches beside multiple choice.

    Letters alone are so sparse a signal that a tiny model does not come off chance with them.
    """
    ways = fact.attribute.questions
    question = ways[number % len(ways)].format(fact.thing)
    return Problem(f"{fact.name}/open/{number}", question, fact.domain, fact.value)


def _votes(fact: Fact, reference: str, weak: str, seed: int, rng: random.Random) -> tuple[str, ...]:
    """Knows most facts, with 13 to 18 of 20 votes; where it does not, most votes go to what sounds familiar."""
    knows = random.Random(derive_seed(seed, "teacher knows", fact.name)).random() < KNOWN
    first, most = (reference if knows else weak), rng.randint(13, 18)
    others = [letter for letter in LETTERS if letter != first]
    return (first,) * most + tuple(rng.choice(others) for _ in range(VOTES - most))
