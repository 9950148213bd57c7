"""How good the policies are that a lock imitates: the ceiling and the floor that its own numbers are read against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lightning import Callback, LightningModule, Trainer

from plm.callbacks.reporting import report
from plm.datamodules.splits import SplitName
from plm.evaluation import grade_texts
from plm.policies import Policy
from plm.progress import working
from plm.seeds import derive_seed

if TYPE_CHECKING:
    from plm.modules.base import Phase, PolicyModule


class PolicyBaselineCallback(Callback):
    """Grades policies' own answers once, before training, on the problems that `EvaluationCallback` measures on.

    Args:
        policies: Phase to write (`weak`, `strong`) → policy.
        split: Which problems.
        n: How many of them.
    """

    def __init__(self, policies: Mapping[Phase, Policy], split: SplitName = "val", n: int = 200) -> None:
        self.policies = policies
        self.split: SplitName = split
        self.n = n

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Grades every policy."""
        if trainer.global_step:
            return
        module: PolicyModule = pl_module  # type: ignore[assignment]
        task = module.task
        drawn = task.draw(self.split, min(self.n, len(task.split(self.split))), task.evaluation_seed(self.split))
        problems = task.shown(drawn, "none")
        for phase, policy in self.policies.items():
            policy.prepare(task)
            with working("grading policies", phase):
                evaluation = grade_texts(task, problems, policy.answers(problems, derive_seed(task.seed, "baseline")))
            report(trainer, module, evaluation, split=self.split, condition="none", label=phase, phase=phase)
