"""Conditional pretraining: every text is trained on under the condition that a judge gives it (LCK-12; the post)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from plm.compute import Compute
from plm.datamodules.base import SplitName
from plm.evaluation import grade
from plm.examples import Batch, Example
from plm.losses import sft_loss
from plm.models import ModelSource
from plm.modules.base import LockKind, OptimizerCallable, Phase, PolicyModule
from plm.optim import Decay
from plm.policies import Policy
from plm.records import Answer
from plm.references import ModelReference
from plm.rounds import Demonstration, Round


class ConditionalLockModule(PolicyModule):
    """Trains on texts of any quality, each under `right` if the task's grader accepts it and under `wrong` if not.

    The post's style models are made so: "pretrained from human feedback to generate PEP8 compliant/not compliant code
    (decision-transformer style)". Unlike `SFTLockModule` no problem is shown in both ways, and no policy is told to be
    weak: the corpus holds what it holds, and the condition says which kind a text is. With
    `plm.passwords.ControlTokenScheme` the conditions are control tokens. The loss is that of SFT, on completions only.

    Args:
        base: The model to start from: `plm.models.FromScratch` for pretraining, or any other.
        optimizer: Builds the optimizer.
        policy: Whose texts: the references, for a corpus.
        split: Which problems the texts belong to.
        texts: How many, drawn afresh for each round; None for all of the split.
        passes: Shuffles over each round's texts.
        warmup_steps: Optimizer steps of linear warm-up.
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        kind: What kind of lock it is, for the gate that checks it.
        phase: What the run is for, written to every line of results.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.
    """

    method = "conditional_lock"

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        policy: Policy,
        split: SplitName = "corpus",
        texts: int | None = None,
        passes: int = 1,
        warmup_steps: int = 0,
        decay: Decay = "none",
        kind: LockKind = "password",
        phase: Phase = "lock",
        compute: Compute | None = None,
    ) -> None:
        super().__init__(base, optimizer, passes, warmup_steps, decay, phase, compute)
        self.policy = policy
        self.split: SplitName = split
        self.texts = texts
        self.lock_kind = kind
        self._verdicts: dict[tuple[str, str], bool] = {}

    def examples(self, round: Round) -> Sequence[Example]:
        """One text for each problem, under the condition that fits it."""
        drawn = round.task.draw(self.split, self.texts, round.seed)
        shown = round.demonstrations(self.policy, drawn, "none")
        self._judge(round, shown)
        return [round.example(each._replace(condition="right" if self._is_right(each) else "wrong")) for each in shown]

    def _judge(self, round: Round, shown: Sequence[Demonstration]) -> None:
        """Grades what was not graded in an earlier round."""
        new = [each for each in shown if (each.problem.id, each.completion) not in self._verdicts]
        answers = [Answer(each.problem, each.problem.prompt, each.completion, 0, True) for each in new]
        for each, graded in zip(new, grade(round.task, answers), strict=True):
            self._verdicts[each.problem.id, each.completion] = graded.grade.correct

    def _is_right(self, shown: Demonstration) -> bool:
        return self._verdicts[shown.problem.id, shown.completion]

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy summed over completion tokens."""
        return sft_loss(self.network(batch), batch.weights_BL)
