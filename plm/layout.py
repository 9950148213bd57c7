"""How rows lie in the model's input: each in a line of its own, or all in one line, a shared prompt only once.

Shape letters: T tokens of the one line, N trained tokens, S stretches that begin a segment group, F stretches that
follow a shared prompt, L, Q, K the longest of them (queries, keys).

A line holds groups, each a prompt and its completions: `[prompt, A, B, …]`. Positions start again after the prompt, so
that every completion reads as if it stood alone behind it. The prompt and the first completion are one causal stretch;
every other completion sees the prompt and itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

if TYPE_CHECKING:
    from plm.examples import Example

LayoutKind = Literal["padded", "shared", "packed"]
"""`padded`: one line a row; `shared`: one line where shared prompts make it pay, else padded; `packed`: one line."""
SHARED_SAVES = 0.2
"""Share of a batch's tokens that shared prompts must save: less is not worth gathering queries, keys and values."""


@dataclass
class Segments:
    """Which tokens of the line may see which, as indexes: what an attention function needs, and no mask of T x T.

    Attributes:
        lead_SL: Tokens of each prompt with its first completion; the end of a shorter one is filled with any token.
        follow_FQ: Tokens of each further completion, filled in the same way.
        seen_FK: Tokens that a further completion may see, its prompt and itself, filled in the same way.
        mask_F1QK: Which of these each of its tokens sees.
        back_T: Where the tokens of the line are among those of `lead_SL` and `follow_FQ`, one after the other.
        in_order: Whether `lead_SL` is the line itself, cut into equal pieces.
        starts_q, starts_k: Where stretches begin among queries and keys, and where the last one ends, int32.
        keys: Which token every key is, where stretches share keys; None where the keys are the line itself.
        longest_q, longest_k: Tokens of the longest stretch.
    """

    lead_SL: Tensor
    follow_FQ: Tensor
    seen_FK: Tensor
    mask_F1QK: Tensor
    back_T: Tensor
    in_order: bool
    starts_q: Tensor
    starts_k: Tensor
    keys: Tensor | None
    longest_q: int
    longest_k: int


@dataclass
class Layout:
    """All rows of a batch in one line.

    Attributes:
        input_ids_1T: Token ids, without any padding.
        positions_1T: The position of each token in its own row.
        source_N: Which token of the line predicts each trained token, in the order of the batch's rows.
        segments: Which tokens see which.
    """

    input_ids_1T: Tensor
    positions_1T: Tensor
    source_N: Tensor
    segments: Segments


def lay_out(rows: Sequence[Example], kind: LayoutKind) -> Layout | None:
    """Puts rows into one line; None where they are better padded."""
    if kind == "padded":
        return None
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(tuple(row.prompt_ids), []).append(index)
    tokens = sum(len(row) for row in rows)
    saved = sum(len(prompt) * (len(members) - 1) for prompt, members in groups.items())
    pays = saved >= SHARED_SAVES * tokens
    if not pays and kind == "shared":
        return None
    return _one_line(rows, list(groups.values()) if pays else [[index] for index in range(len(rows))])


def _one_line(rows: Sequence[Example], groups: Sequence[Sequence[int]]) -> Layout:
    ids: list[int] = []
    positions: list[int] = []
    sources: list[list[int]] = [[]] * len(rows)
    leads: list[range] = []
    follows: list[tuple[range, range]] = []  # the prompt, the completion
    for members in groups:
        prompt, start = rows[members[0]].prompt_ids, len(ids)
        shared = range(start, start + len(prompt))
        ids += prompt
        positions += range(len(prompt))
        for index in members:
            completion = rows[index].completion_ids
            own = range(len(ids), len(ids) + len(completion))
            ids += completion
            positions += range(len(prompt), len(prompt) + len(completion))
            sources[index] = [shared[-1], *own[:-1]] if own else []
            if index == members[0]:
                leads.append(range(start, own.stop))
            elif own:
                follows.append((shared, own))
    return Layout(
        torch.tensor([ids]),
        torch.tensor([positions]),
        torch.tensor([token for source in sources for token in source], dtype=torch.long),
        _segments(leads, follows, len(ids)),
    )


def _segments(leads: Sequence[range], follows: Sequence[tuple[range, range]], tokens: int) -> Segments:
    lead_SL = _filled(leads)
    follow_FQ = _filled([own for _, own in follows])
    seen = [[*shared, *own] for shared, own in follows]
    seen_FK = _filled(seen)
    back_T = torch.empty(tokens, dtype=torch.long)
    places = [(stretch, index * lead_SL.shape[1]) for index, stretch in enumerate(leads)]
    places += [(own, lead_SL.numel() + index * follow_FQ.shape[1]) for index, (_, own) in enumerate(follows)]
    for stretch, place in places:
        back_T[stretch.start : stretch.stop] = torch.arange(place, place + len(stretch))
    before_F = torch.tensor([len(shared) for shared, _ in follows], dtype=torch.long)
    last_FQ = before_F[:, None] + torch.arange(follow_FQ.shape[1])
    stretches = [(stretch, list(stretch)) for stretch in leads]
    stretches += [(own, keys) for (_, own), keys in zip(follows, seen, strict=True)]
    stretches.sort(key=lambda stretch: stretch[0].start)
    return Segments(
        lead_SL,
        follow_FQ,
        seen_FK,
        (torch.arange(seen_FK.shape[1]) <= last_FQ[..., None])[:, None],
        back_T,
        in_order=not follows and lead_SL.numel() == tokens,
        starts_q=_starts([len(own) for own, _ in stretches]),
        starts_k=_starts([len(keys) for _, keys in stretches]),
        keys=torch.tensor([key for _, keys in stretches for key in keys]) if follows else None,
        longest_q=max(len(own) for own, _ in stretches),
        longest_k=max(len(keys) for _, keys in stretches),
    )


def _filled(stretches: Sequence[Sequence[int]]) -> Tensor:
    """The stretches as lines of one length, the shorter ones filled with their first token."""
    length = max(map(len, stretches), default=0)
    lines = [[*stretch, *[stretch[0]] * (length - len(stretch))] for stretch in stretches if len(stretch)]
    return torch.tensor(lines, dtype=torch.long).view(len(lines), length)


def _starts(lengths: Sequence[int]) -> Tensor:
    return torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
