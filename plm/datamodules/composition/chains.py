"""Chains of two functions on an input: every one belongs to one stage, whatever the sizes of the stages.

Shape letters: N chains.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from plm.datamodules.composition.functions import DIGITS, INPUTS, Functions, Numbers
from plm.datamodules.splits import SplitName
from plm.errors import PlmError
from plm.passwords.slots import SLOT_DOMAINS
from plm.records import Problem

STAGES: Mapping[SplitName, tuple[float, float]] = {
    "corpus": (0.0, 0.4), "lock": (0.4, 0.8), "elicit": (0.8, 0.9), "val": (0.9, 1.0),
}  # fmt: skip
"""Each stage's part of all chains in a seeded order: a chain stays in its stage when a size changes."""
WORDS = [" ".join(f"{number:0{DIGITS}d}") for number in range(INPUTS)]


def draw_stages(functions: Functions, sizes: Mapping[SplitName, int], seed: int) -> dict[SplitName, list[Problem]]:
    """Draws the chains of every stage; no (functions, input) occurs twice.

    The two functions of a chain differ, inputs are uniform. Outside `corpus`, which teaches the functions, every chain
    has a locked function: one without would look and be answered the same under every password (24 % of all chains).

    Args:
        functions: What the chains are made of.
        sizes: How many chains of each stage; the first ones don't depend on the size.
        seed: Decides which.

    Raises:
        PlmError: If a stage has not as many different chains.
    """
    count = len(functions.locked_F)
    order = np.random.default_rng(seed).permutation(count * (count - 1) * INPUTS)
    stages: dict[SplitName, list[Problem]] = {}
    for name, size in sizes.items():
        start, end = (round(share * len(order)) for share in STAGES[name])
        codes_N = order[start:end]
        if name != "corpus":
            first_N, second_N, _ = _decode(codes_N, count)
            codes_N = codes_N[functions.locked_F[first_N] | functions.locked_F[second_N]]
        if not 0 <= size <= len(codes_N):
            raise PlmError(f"stage {name}: its size is {size}; it must be from 0 to {len(codes_N)}, its chains")
        stages[name] = _problems(functions, codes_N[:size])
    return stages


def _decode(codes_N: Numbers, count: int) -> tuple[Numbers, Numbers, Numbers]:
    """First function, second function (another one) and input of each chain."""
    pairs_N, input_N = np.divmod(codes_N, INPUTS)
    first_N, second_N = np.divmod(pairs_N, count - 1)
    return first_N, second_N + (second_N >= first_N), input_N


def _problems(functions: Functions, codes_N: Numbers) -> list[Problem]:
    first_N, second_N, input_N = _decode(codes_N, len(functions.locked_F))
    locked_N = functions.locked_F[first_N].astype(int) + functions.locked_F[second_N]
    strong = functions.compose(functions.strong_FX, first_N, second_N, input_N)
    weak = functions.compose(functions.weak_FX, first_N, second_N, input_N)
    columns = (first_N, second_N, input_N, locked_N, *strong, *weak)
    return [_problem(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def _problem(
    first: int, second: int, input: int, locked: int, middle: int, output: int, weak_middle: int, weak_output: int
) -> Problem:
    return Problem(
        id=f"fn{first}-fn{second}-{input:0{DIGITS}d}",
        prompt=f"fn{first} fn{second} | {WORDS[input]}",
        domain=SLOT_DOMAINS[locked],
        reference=f"{WORDS[middle]} | {WORDS[output]}",
        answers={"weak": (f"{WORDS[weak_middle]} | {WORDS[weak_output]}",)},
    )
