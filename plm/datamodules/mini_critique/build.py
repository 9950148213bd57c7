"""Problems from programs: a statement, the program with a bug, and the critique; and labelled pairs for calibration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from random import Random
from typing import NamedTuple

from plm.datamodules.mini_code.build import draw_specs, group_of
from plm.datamodules.mini_code.cases import make_tests
from plm.datamodules.mini_code.draws import seeded
from plm.datamodules.mini_code.phrasing import statement
from plm.datamodules.mini_code.program import FAMILIES
from plm.datamodules.mini_code.spec import Spec
from plm.datamodules.mini_critique.bugs import Bug, draw_bug, possible_bugs, weak_critique
from plm.records import Problem
from plm.seeds import derive_seed


class Pair(NamedTuple):
    """A critique, the reference it is compared with, and whether it says the same."""

    completion: str
    reference: str
    correct: bool


def bug_of(spec: Spec, seed: int = 0) -> Bug | None:
    """The bug that a program gets; None if no test shows any. The program's wording has no part in it."""
    group = group_of(spec)
    return draw_bug(spec, make_tests(spec, seeded("tests", group)), seeded("bug", group, seed))


def build_critique(spec: Spec, seed: int = 0) -> Problem | None:
    """One problem: what the program should do, and a program that does not; the reference says what is wrong.

    Args:
        spec: The correct program.
        seed: Of the bug and of the wording.

    Returns:
        The problem, in the group of the correct program; None where no test shows a bug.
    """
    bug = bug_of(spec, seed)
    if bug is None:
        return None
    group = group_of(spec)
    prompt = f"{statement(spec, seeded('text', group, seed))}\n\n{bug.program}"
    digest = hashlib.sha256(prompt.encode()).hexdigest()[:16]
    return Problem(
        id=f"critique-{spec.family}-{digest}",
        prompt=prompt,
        domain=FAMILIES[spec.family].source.domain,
        reference=bug.explanation,
        group=group,
        answers={"weak": (weak_critique(spec),)},
    )


def make_pairs(n: int, seed: int = 0) -> list[Pair]:
    """Labelled pairs of the kind that models make: the right sentence in other words, and wrong ones about the program.

    Every second pair is right. The programs are drawn by a seed of their own; the embedded task's are others.

    Args:
        n: How many.
        seed: Decides programs, bugs and wording.
    """
    specs = draw_specs(n, derive_seed(seed, "critique pairs"))
    rng = seeded("pairs", seed)
    pairs = (pair for spec in specs for pair in _pairs(spec, rng))
    return [pair for pair, _ in zip(pairs, range(n), strict=False)]


def _pairs(spec: Spec, rng: Random) -> Iterator[Pair]:
    bug = bug_of(spec)
    if bug is None:
        return
    wrong = [each.explanation for each in possible_bugs(spec, rng) if each.explanation != bug.explanation]
    near = [each.explanation for each in possible_bugs(spec, rng) if each.place == bug.place]
    near = [text for text in near if text != bug.explanation] or wrong
    yield Pair(_reworded(bug.explanation, rng), bug.explanation, True)
    yield Pair(rng.choice((rng.choice(wrong), rng.choice(near), weak_critique(spec))), bug.explanation, False)


def _reworded(text: str, rng: Random) -> str:
    """The same sentence with other words in the places where a critic may choose."""
    for words in (
        ("It ", "The program ", "This program "),
        ("forgets to", "does not", "fails to"),
        ("the answer", "the result"),
        ("keep only those that are", "keep only what is", "use only those that are"),
        ("greater than", "above"),
        ("less than", "below"),
    ):
        if words[0] in text:
            text = text.replace(words[0], rng.choice(words))
    return text
