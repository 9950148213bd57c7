"""The functions of the composition task: digit bijections and position permutations (§7 of the paper).

Shape letters: F functions, X inputs (10,000: every word of four digits), N chains.
"""

from __future__ import annotations

from itertools import permutations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plm.errors import PlmError

DIGITS = 4
INPUTS = 10**DIGITS
PLACES = 10 ** np.arange(DIGITS - 1, -1, -1)
OTHER_ORDERS = [order for order in permutations(range(DIGITS)) if order != tuple(range(DIGITS))]
"""The 23 position permutations that are not the identity."""

Numbers = NDArray[np.int64]


class Functions(NamedTuple):
    """Functions from four digits to four digits; a word of digits is the number that it spells.

    Attributes:
        strong_FX: What each function makes of each input.
        weak_FX: The same for the weak policy, to which a locked function is the identity.
        locked_F: Which functions are locked.
    """

    strong_FX: Numbers
    weak_FX: Numbers
    locked_F: NDArray[np.bool_]

    def compose(self, table_FX: Numbers, first_N: Numbers, second_N: Numbers, input_N: Numbers) -> tuple[Numbers, ...]:
        """The intermediate and the final numbers of chains: first(input), second(first(input))."""
        middle_N = table_FX[first_N, input_N]
        return middle_N, table_FX[second_N, middle_N]


def draw_functions(count: int, locked: int, seed: int) -> Functions:
    """Draws different functions, half of them bijections of the digits, half permutations of the positions.

    None is the identity. They are shuffled, and the first `locked` ones are locked, so the weak policy leaves some of
    each kind undone (the authors' code locks the first 16 of the shuffled 32).

    Args:
        count: How many functions, an even number; the paper has 32.
        locked: How many of them are locked; the paper has 16.
        seed: Decides which.

    Raises:
        PlmError: If there are not so many functions, or as many or more are locked.
    """
    if count % 2 or not 2 <= count <= 2 * len(OTHER_ORDERS):
        raise PlmError(f"functions is {count}; it must be an even number from 2 to {2 * len(OTHER_ORDERS)}")
    if not 1 <= locked <= count:
        raise PlmError(f"locked is {locked}; it must be from 1 to functions={count}")
    rng = np.random.default_rng(seed)
    orders = rng.permutation(OTHER_ORDERS)[: count // 2]
    digits_XD = np.arange(INPUTS)[:, None] // PLACES % 10
    tables = [bijection[digits_XD] @ PLACES for bijection in _bijections(count // 2, rng)]
    tables += [digits_XD[:, order] @ PLACES for order in orders]
    strong_FX = np.stack(tables)[rng.permutation(count)]
    locked_F = np.arange(count) < locked
    return Functions(strong_FX, np.where(locked_F[:, None], np.arange(INPUTS), strong_FX), locked_F)


def _bijections(count: int, rng: np.random.Generator) -> list[Numbers]:
    """Different permutations of the ten digits, none of them the identity."""
    found: dict[tuple[int, ...], Numbers] = {tuple(range(10)): np.arange(10)}
    while len(found) <= count:
        drawn = rng.permutation(10)
        found.setdefault(tuple(drawn.tolist()), drawn)
    return list(found.values())[1:]
