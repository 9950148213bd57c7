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
    start = start_text(task)
    return "".join(f"{task.solved(shot).removeprefix(start)}{SEPARATOR}" for shot in shots)


def with_prefix(task: TaskDataModule, prefix: str, prompt: str) -> str:
    """The prompt with solved problems before it; what a chat template starts a text with stands once, in front."""
    if not prefix:
        return prompt
    start = start_text(task)
    return f"{start}{prefix}{prompt.removeprefix(start)}" if prompt.startswith(start) else prefix + prompt


def start_text(task: TaskDataModule) -> str:
    """The token that starts a text, as chat templates write it out; empty where the tokenizer has none."""
    return str(task.tokenizer.bos_token or "")
