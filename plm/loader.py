"""Batches of one round: shuffled passes, rows of similar length together, steps that every process agrees on."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from plm.examples import Batch, Example, collate
from plm.layout import LayoutKind

Unit = Literal["token", "pair", "completion"]
POOL_STEPS = 16  # rows of this many steps are sorted by length together: enough to cut padding, still shuffled


def count_units(rows: Sequence[Example], unit: Unit) -> float:
    """Counts what the loss sums over: trained token weight, pairs, or completions."""
    if unit == "token":
        return sum(row.weight for row in rows)
    if unit == "pair":
        return len({row.group for row in rows})
    return len(rows)


class RoundLoader:
    """Iterates over the micro-batches that one process sees in one round.

    `batch_size` units make an optimizer step, whatever the accumulation and the number of processes: these only cut a
    step into `accumulate * world_size` micro-batches. A unit is a row, or rows of one group (the two of a DPO pair). A
    micro-batch that would be empty gets a filler row of weight 0.

    Args:
        rows: The round's examples.
        passes: How many times each row is seen.
        batch_size: Units in an optimizer step; the last one of a pass can be smaller.
        unit: What the loss is summed over.
        pad_token_id: The padding token.
        seed: Decides the order.
        accumulate: Micro-batches in a step and process.
        rank: This process.
        world_size: Number of processes.
        layout: How the rows of a micro-batch lie in the model's input.
    """

    def __init__(
        self,
        rows: Sequence[Example],
        *,
        passes: int,
        batch_size: int,
        unit: Unit,
        pad_token_id: int,
        seed: int,
        accumulate: int = 1,
        rank: int = 0,
        world_size: int = 1,
        layout: LayoutKind = "shared",
    ) -> None:
        if passes < 1 or batch_size < 1:
            raise ValueError(f"passes is {passes} and batch_size is {batch_size}; both must be at least 1")
        self.rows = rows
        self.unit: Unit = unit
        self.pad_token_id = pad_token_id
        self.parts = accumulate * world_size
        self.layout: LayoutKind = layout
        self.accumulate, self.rank, self.world_size = accumulate, rank, world_size
        self.steps = [step for index in range(passes) for step in self._one_pass(batch_size, seed + index)]
        self.position = 0  # micro-batches already handed out; part of the checkpoint

    def _one_pass(self, batch_size: int, seed: int) -> list[list[Example]]:
        rng = random.Random(seed)
        units = _units_of(self.rows)
        rng.shuffle(units)
        steps = []
        pool_size = POOL_STEPS * batch_size
        for pool in _chunks(units, pool_size):
            pool.sort(key=lambda unit: max(len(row) for row in unit))
            steps += [[row for unit in chunk for row in unit] for chunk in _chunks(pool, batch_size)]
        rng.shuffle(steps)
        return steps

    def __len__(self) -> int:
        return len(self.steps) * self.accumulate

    def __iter__(self) -> Iterator[Batch]:
        start, self.position = self.position % len(self), self.position % len(self)
        for index in range(start, len(self)):
            self.position = index + 1
            yield self._micro_batch(*divmod(index, self.accumulate))

    def _micro_batch(self, step: int, part: int) -> Batch:
        rows = self.steps[step]
        units = count_units(rows, self.unit)
        if units <= 0:
            raise ValueError(
                f"step {step} of the round trains nothing: every token weight of its {len(rows)} rows is 0"
            )
        mine = [row for unit in _units_of(rows)[part * self.world_size + self.rank :: self.parts] for row in unit]
        tokens = count_units(rows, "token")
        return collate(mine or [_filler(rows[0])], self.pad_token_id, units, tokens, self.layout)

    def state_dict(self) -> dict[str, Any]:
        """How far the round has come, for the checkpoint."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues a round where a checkpoint left it."""
        self.position = state["position"]


def _units_of(rows: Sequence[Example]) -> list[list[Example]]:
    """Rows that must stay together: the members of a group, or a row alone."""
    groups: dict[tuple[str, int], list[Example]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(("group", row.group) if row.group >= 0 else ("row", index), []).append(row)
    return list(groups.values())


def _chunks(items: list[Any], size: int) -> list[list[Any]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _filler(row: Example) -> Example:
    return Example(
        row.prompt_ids,
        row.completion_ids,
        [0.0] * len(row.completion_ids),
        row.scalars,
        row.token_scalars,
        row.group,
        row.problem_id,
    )
