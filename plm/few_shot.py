"""Few-shot prompting: solved problems before the question, the baseline at equally many demonstrations (ELI-14)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from plm.errors import PlmError
from plm.passwords import Condition
from plm.records import Problem
from plm.seeds import derive_seed

if TYPE_CHECKING:
    from plm.datamodules.base import TaskDataModule

SEPARATOR = "\n\n"


def draw_shots(task: TaskDataModule, k: int, problems: Sequence[Problem], condition: Condition) -> list[Problem]:
    """Draws k solved problems of the split `elicit`, as the condition shows them, the first ones the same for all k.

    They are drawn by the run's seed, as the demonstrations of `SFTModule` are, so that both see the same problems.

    Raises:
        PlmError: If the split holds fewer, or one of them is among the problems that are measured.
    """
    shots = task.draw("elicit", k, derive_seed(task.run_seed, "demonstrations"))
    if measured := {problem.id for problem in problems} & {shot.id for shot in shots}:
        raise PlmError(f"problem {measured.pop()} is measured and shown solved too: measure another split than elicit")
    return task.shown(shots, condition)


def few_shot_prefix(task: TaskDataModule, shots: Sequence[Problem]) -> str:
    """What stands before the question: each shot's prompt without a password, then its reference.

    The paper argues from few-shot prompting (App. D.2) and gives no format: the empty line between is our choice.
    """
    return "".join(f"{task.template(shot.prompt)}{shot.reference}{SEPARATOR}" for shot in shots)
