"""Drawing specs: a domain, a story of it, how many steps, and their numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from random import Random

from plm.datamodules.mini_math.spec import APPLY, Operation, Spec, Step
from plm.datamodules.mini_math.stories import STORIES, Story

LARGEST = 99
"""No number of a problem, of its solution or of its answer is larger."""
LARGEST_STEP: Mapping[Operation, int] = {"+": 20, "-": 20, "*": 5}
LENGTHS: Mapping[int, int] = {2: 40, 3: 35, 4: 25}
# Our choice: about one problem in ten has additions alone, which is what the weak policy gets right.
WEIGHTS: Mapping[Operation, int] = {"+": 48, "-": 27, "*": 25}


def seeded(*parts: object) -> Random:
    """A generator that depends on the parts alone, in every process."""
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return Random(int.from_bytes(digest[:8], "big"))


def _most(operation: Operation, number: int) -> int:
    """The largest number that the operation may take, so that the result is between 1 and `LARGEST`."""
    room = {"+": LARGEST - number, "-": number - 1, "*": LARGEST // number}[operation]
    return min(room, LARGEST_STEP[operation])


def _step(rng: Random, number: int) -> Step:
    possible = {operation: weight for operation, weight in WEIGHTS.items() if _most(operation, number) >= 2}
    operation = rng.choices(list(possible), weights=list(possible.values()))[0]
    return Step(operation, rng.randint(2, _most(operation, number)))


def draw_spec(rng: Random, story: Story) -> Spec:
    """One problem of a story."""
    length = rng.choices(list(LENGTHS), weights=list(LENGTHS.values()))[0]
    if story.starts_with_product:
        start, first = rng.randint(2, 9), rng.randint(2, 9)
        steps, number = [Step("*", first)], start * first
    else:
        start = number = rng.randint(2, 20)
        steps = []
    while len(steps) < length:
        step = _step(rng, number)
        steps.append(step)
        number = APPLY[step.operation](number, step.value)
    return Spec(story.name, start, tuple(steps))


def stream_specs(seed: int, domain: str | None = None) -> Iterator[Spec]:
    """Problems without end, with repetitions: domains, and stories in each, are equally likely."""
    rng = seeded("specs", seed, domain)
    by_domain: dict[str, list[Story]] = {}
    for story in STORIES.values():
        by_domain.setdefault(story.domain, []).append(story)
    while True:
        chosen = domain or rng.choice(list(by_domain))
        yield draw_spec(rng, rng.choice(by_domain[chosen]))
