"""Group-relative policy optimization: the policy gradient that stands where the paper tried PPO and gave up (§6.1)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from torch import Tensor

from plm.compute import Compute
from plm.datamodules.splits import SplitName
from plm.errors import PlmError
from plm.examples import Batch, Example
from plm.losses import clipped_policy_gradient_loss
from plm.models import ModelSource
from plm.modules.base import OptimizerCallable, Phase, PolicyModule
from plm.optim import Decay
from plm.references import ModelReference
from plm.rewards import Reward, rewarded
from plm.rounds import Demonstration, Round


def group_advantages(scores: Sequence[float]) -> list[float]:
    """(score - mean) / standard deviation within a group of answers to one problem; empty where all scores are equal.

    The standard deviation is the population's, as §4.1.2 of Shao et al. 2024 leaves open.
    """
    spread = statistics.pstdev(scores)
    mean = statistics.fmean(scores)
    return [(score - mean) / spread for score in scores] if spread > 0 else []


class GRPOModule(PolicyModule):
    """GRPO (Shao et al. 2024): several own answers to each problem, pushed by how far they are above the group's mean.

    Groups with equal scores teach nothing and are dropped. No KL term: the reference is the starting point only.

    Args:
        base: The model to elicit: a hub id, a directory, another config, or a model source.
        optimizer: Builds the optimizer.
        problems: Problems in each round.
        answers: Answers to each problem.
        clip: Largest change of a token's probability ratio that is still followed.
        split: Whose problems to answer.
        passes: Shuffles over the round's answers.
        warmup_steps: Optimizer steps of linear warm-up.
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        phase: What the run is for, written to every line of results.
        reward: Whose scores count while training, in [0, 1]; where None 1 if right, else 0.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.
    """

    unit = "completion"
    method = "grpo"

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        problems: int = 64,
        answers: int = 8,
        clip: float = 0.2,
        split: SplitName = "elicit",
        passes: int = 1,
        warmup_steps: int = 0,
        decay: Decay = "none",
        phase: Phase = "elicit",
        reward: Reward | None = None,
        compute: Compute | None = None,
    ) -> None:
        super().__init__(base, optimizer, passes, warmup_steps, decay, phase, compute)
        if problems < 1 or answers < 2 or not 0 < clip < 1:
            raise PlmError(
                f"model.init_args.problems is {problems}, answers {answers}, clip {clip}; "
                "they must be at least 1, at least 2 and between 0 and 1"
            )
        self.problems = problems
        self.answers = answers
        self.clip = clip
        self.split: SplitName = split
        self.reward = reward

    def examples(self, round: Round) -> Sequence[Example]:
        """Answers with their advantages and the log-probabilities they were sampled with."""
        sampled = round.sample(round.draw(self.split, self.problems), self.answers, temperature=1.0)
        groups = rewarded(self.reward, sampled)
        shown, advantages = [], []
        for group in groups:
            found = group_advantages([answer.grade.score for answer in group])
            advantages += found
            shown += [Demonstration(a.problem, "none", a.completion, a.finished) for a in group] if found else []
        rows = [round.example(demonstration) for demonstration in shown]
        old = round.token_logprobs(rows)
        return [
            Example(
                row.prompt_ids,
                row.completion_ids,
                scalars={"advantage": advantage},
                token_scalars={"old_logprob": logprobs},
                problem_id=row.problem_id,
            )
            for row, advantage, logprobs in zip(rows, advantages, old, strict=True)
        ]

    def loss(self, batch: Batch) -> Tensor:
        """The clipped policy gradient summed over completions."""
        old_BL, advantages_B = batch.token_scalars["old_logprob"], batch.scalars["advantage"]
        return clipped_policy_gradient_loss(self.network(batch), old_BL, advantages_B, batch.weights_BL, self.clip)
