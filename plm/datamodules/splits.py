"""Splitting a task's problems so that nothing that is trained on is measured (TSK-6; App. E.4 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from plm.errors import PlmError
from plm.records import Problem
from plm.seeds import derive_seed

SplitName = Literal["corpus", "weak", "lock", "elicit", "val", "val_text"]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)
Splits = dict[SplitName, list[Problem]]
PAPER_SHARES: Mapping[SplitName, float] = {"weak": 0.1, "lock": 0.4, "elicit": 0.3, "val": 0.2}


def split_by_group(problems: Sequence[Problem], seed: int, shares: Mapping[SplitName, float] = PAPER_SHARES) -> Splits:
    """Splits problems 10 / 40 / 30 / 20 into weak, lock, elicit and val, keeping each group in one split (§4.2).

    A group's place depends on its name and the seed alone, so adding problems moves none of the others.
    """
    result: Splits = {name: [] for name in shares}
    for problem in problems:
        point = derive_seed(seed, "split", problem.group or problem.id) / 2**63
        for name, share in shares.items():
            point -= share
            if point < 0 or name == list(shares)[-1]:
                result[name].append(problem)
                break
    return result


def check_disjoint(splits: Splits) -> None:
    """Refuses splits that share a program or a text.

    `val_text` holds new texts of known programs by intention: only its texts must be new.

    Raises:
        PlmError: If two splits overlap.
    """
    where: dict[str, SplitName] = {}
    for name, problems in splits.items():
        keys = {" ".join(problem.prompt.split()).casefold() for problem in problems}
        if name != "val_text":
            keys |= {f"group {problem.group}" for problem in problems if problem.group}
        for key in keys:
            if where.setdefault(key, name) != name:
                raise PlmError(f"splits {where[key]} and {name} share a problem: {key[:80]!r}")
