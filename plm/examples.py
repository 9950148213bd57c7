"""What a round trains on: rows of token ids, and how they become batches.

Shape letters: B rows, L tokens of the longest row in the batch, N trained tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from lightning.fabric.utilities import move_data_to_device
from torch import Tensor

from plm.layout import Layout, LayoutKind, lay_out
from plm.tables import write_parquet

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """One row to learn from. Prompt and completion are tokenized apart and joined as ids.

    Args:
        prompt_ids: Tokens that are read and never trained.
        completion_ids: Tokens that are trained, the end token included.
        weights: A weight for each completion token; None means 1 for all.
        scalars: Named numbers that the loss needs (a reference log-probability in nats, an advantage, a reward).
        token_scalars: Named numbers for each completion token (log-probabilities under the policy that sampled them).
        group: Rows of one group, a DPO pair for instance, are never split by batching; -1 is no group.
        problem_id: Where the row comes from, for error messages and for reading the round on disk.
    """

    prompt_ids: Sequence[int]
    completion_ids: Sequence[int]
    weights: Sequence[float] | None = None
    scalars: Mapping[str, float] = field(default_factory=dict)
    token_scalars: Mapping[str, Sequence[float]] = field(default_factory=dict)
    group: int = -1
    problem_id: str = ""

    def __len__(self) -> int:
        return len(self.prompt_ids) + len(self.completion_ids)

    @property
    def weight(self) -> float:
        """The sum of the token weights: how many tokens the row counts for."""
        return float(len(self.completion_ids)) if self.weights is None else float(sum(self.weights))


@dataclass
class Batch:
    """Rows padded on the right to one length.

    What the step must know to take rows and tokens out of tensors is counted here, on the host: on a GPU a question
    like "where is this mask true?" would make the host wait for everything that is still to be computed.

    Attributes:
        input_ids_BL: Token ids; padding is the pad token.
        labels_BL: The same ids where a token is trained, else -100 (prompt and padding).
        weights_BL: The weight of each trained token, else 0.
        scalars: Named numbers, each of shape (B,).
        token_scalars: Named numbers of the trained tokens, 0 elsewhere, each of shape (B, L).
        groups_B: The group of each row, -1 for none.
        problem_ids: The problem of each row.
        step_units: How many units (tokens, pairs or completions: see `PolicyModule.unit`) the whole optimizer step has,
            over all its micro-batches and processes.
        step_tokens: How many tokens the whole step trains, by weight.
        trained_N: Where the trained tokens are in the flattened labels, row after row.
        trained: How many of them each row has.
        pairs: How many groups the rows are of, those of none together being one.
        pair_B: Which of them each row is of, in the order of the groups' numbers.
        numbers: The scalars of each row, on the host.
        layout: The rows in one line, for models that can compute them so; None where they are to be padded.
        required: Whether a model that cannot is an error.
    """

    input_ids_BL: Tensor
    labels_BL: Tensor
    weights_BL: Tensor
    scalars: dict[str, Tensor]
    token_scalars: dict[str, Tensor]
    groups_B: Tensor
    problem_ids: list[str]
    step_units: float
    step_tokens: float
    trained_N: Tensor
    trained: list[int]
    pairs: int
    pair_B: Tensor
    numbers: list[Mapping[str, float]]
    layout: Layout | None = None
    required: bool = False

    def to(self, device: torch.device, **kwargs: Any) -> Batch:
        """The batch on a device; Lightning, which asks for this, would look at every number in every list."""
        if self.input_ids_BL.device == torch.device(device):
            return self
        parts = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(self, **move_data_to_device(parts, device))


def collate(
    rows: Sequence[Example],
    pad_token_id: int,
    step_units: float = 1.0,
    step_tokens: float | None = None,
    layout: LayoutKind = "shared",
) -> Batch:
    """Pads rows on the right and marks what is trained.

    Args:
        rows: At least one; none with an empty prompt.
        pad_token_id: Fills the end of shorter rows.
        step_units: As in `Batch`.
        step_tokens: As in `Batch`; what these rows train where None.
        layout: `shared` computes a prompt that several rows begin with once, where this saves a fifth of the tokens;
            `packed` puts all rows into one line and needs a model that can compute them so; `padded` does neither.

    Raises:
        ValueError: If there are no rows, or a row has an empty prompt (nothing would predict its first token).
    """
    if not rows:
        raise ValueError("rows is empty: a batch needs at least one row")
    if empty := [row.problem_id for row in rows if not row.prompt_ids]:
        raise ValueError(
            f"empty prompt for problem {empty[0]!r}: its first completion token has nothing to be predicted from"
        )
    shape = (len(rows), max(len(row) for row in rows))
    input_ids = np.full(shape, pad_token_id)
    labels = np.full(shape, IGNORED)
    weights = np.zeros(shape, np.float32)
    token_scalars = {name: np.zeros(shape, np.float32) for name in rows[0].token_scalars}
    for index, row in enumerate(rows):
        start, end = len(row.prompt_ids), len(row)
        input_ids[index, :start] = row.prompt_ids
        input_ids[index, start:end] = labels[index, start:end] = row.completion_ids
        weights[index, start:end] = 1.0 if row.weights is None else row.weights
        for name, values in row.token_scalars.items():
            token_scalars[name][index, start:end] = values
    spans = [range(line * shape[1] + len(row.prompt_ids), line * shape[1] + len(row)) for line, row in enumerate(rows)]
    groups = sorted({row.group for row in rows})
    return Batch(
        input_ids_BL=torch.from_numpy(input_ids),
        labels_BL=torch.from_numpy(labels),
        weights_BL=torch.from_numpy(weights),
        scalars={name: torch.tensor([row.scalars[name] for row in rows]) for name in rows[0].scalars},
        token_scalars={name: torch.from_numpy(values) for name, values in token_scalars.items()},
        groups_B=torch.tensor([row.group for row in rows]),
        problem_ids=[row.problem_id for row in rows],
        step_units=step_units,
        step_tokens=sum(row.weight for row in rows) if step_tokens is None else step_tokens,
        trained_N=torch.tensor([token for span in spans for token in span], dtype=torch.long),
        trained=[len(span) for span in spans],
        pairs=len(groups),
        pair_B=torch.tensor([groups.index(row.group) for row in rows]),
        numbers=[row.scalars for row in rows],
        layout=lay_out(rows, layout),
        required=layout == "packed",
    )


def save_examples(path: Path, rows: Sequence[Example]) -> None:
    """Writes rows to a parquet file that appears whole or not at all."""
    columns: dict[str, Any] = {f.name: [getattr(row, f.name) for row in rows] for f in fields(Example)}
    columns["prompt_ids"] = pa.array([list(row.prompt_ids) for row in rows], pa.list_(pa.int32()))
    columns["completion_ids"] = pa.array([list(row.completion_ids) for row in rows], pa.list_(pa.int32()))
    columns["weights"] = pa.array([row.weights for row in rows], pa.list_(pa.float64()))
    for name, kind in (("scalars", pa.float64()), ("token_scalars", pa.list_(pa.float64()))):
        columns[name] = pa.array([list(getattr(row, name).items()) for row in rows], pa.map_(pa.string(), kind))
    write_parquet(path, pa.table(columns))


def load_examples(path: Path) -> list[Example]:
    """Reads what `save_examples` wrote."""
    rows = pq.read_table(path).to_pylist()
    maps = ("scalars", "token_scalars")
    return [Example(**{**row, **{name: dict(row[name]) for name in maps}}) for row in rows]
