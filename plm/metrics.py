"""torchmetrics classes for what plm reports."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


def correctness(right: Tensor, total: Tensor) -> dict[str, Tensor]:
    """Share of right answers and its standard error over problems, sqrt(p (1 - p) / (n - 1)).

    Args:
        right: Number of right answers, a scalar.
        total: Number of answers, a scalar.

    Returns:
        `correct` and `stderr` in [0, 1], and `n`. With no answers `correct` is nan, with fewer than two `stderr`.
    """
    share = right / total
    stderr = torch.sqrt(share * (1 - share) / (total - 1)) if total > 1 else torch.full_like(share, torch.nan)
    return {"n": total, "correct": share, "stderr": stderr}


class Correctness(Metric):
    """Correctness (§4.2 of Greenblatt et al. 2024): the share of problems whose completion is right.

    Sums over updates and processes. `compute()` gives `correct`, `stderr` and `n`, see `correctness`.
    """

    full_state_update = False
    higher_is_better = True
    right: Tensor
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("right", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("total", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, verdicts: Sequence[bool]) -> None:
        """Adds verdicts: True for a right answer."""
        self.right += sum(verdicts)
        self.total += len(verdicts)

    def compute(self) -> dict[str, Tensor]:
        """Correctness over everything seen."""
        return correctness(self.right, self.total)
