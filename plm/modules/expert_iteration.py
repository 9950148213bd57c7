"""Learning from one's own right answers: expert iteration, and its baseline with another policy's answers (P §6.1)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from torch import Tensor

from plm.compute import Compute
from plm.datamodules.splits import SplitName
from plm.errors import PlmError
from plm.examples import Batch, Example
from plm.losses import sft_loss
from plm.models import ModelSource
from plm.modules.base import OptimizerCallable, Phase, PolicyModule
from plm.optim import Decay
from plm.policies import Policy
from plm.records import Graded
from plm.references import ModelReference
from plm.rewards import Reward, rewarded
from plm.rounds import Demonstration, Round


def best(answers: Sequence[Graded], n: int, rng: random.Random) -> list[Graded]:
    """The `n` answers with the highest scores, ties broken at random (§6.1 of the paper).

    Wrong answers fill up where fewer than `n` are right: the paper says "the best n".
    """
    shuffled = rng.sample(list(answers), len(answers))
    return sorted(shuffled, key=lambda answer: -answer.grade.score)[:n]


class ExpertIterationModule(PolicyModule):
    """Expert iteration: one candidate for each of 10 n problems, fine-tune on the best n, repeat (§6.1 of the paper).

    A round is one iteration. The paper leaves the passes over the chosen candidates open; ours is 1 by default.

    Args:
        base: The model to elicit: a hub id, a directory, another config, or a model source.
        optimizer: Builds the optimizer.
        n: Candidates to learn from in each round (the paper: 64, best of 16, 64 and 256).
        candidates: Candidates for each one that is kept.
        temperature: Of sampling.
        split: Whose problems to answer.
        passes: Shuffles over the chosen candidates.
        warmup_steps: Optimizer steps of linear warm-up.
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        phase: What the run is for, written to every line of results.
        reward: Whose scores count while training, in [0, 1]; where None 1 if right, else 0.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.
    """

    method = "expert_iteration"

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        n: int = 64,
        candidates: int = 10,
        temperature: float = 1.0,
        split: SplitName = "elicit",
        passes: int = 1,
        warmup_steps: int = 0,
        decay: Decay = "none",
        phase: Phase = "elicit",
        reward: Reward | None = None,
        compute: Compute | None = None,
    ) -> None:
        super().__init__(base, optimizer, passes, warmup_steps, decay, phase, compute)
        for name, value in (("n", n), ("candidates", candidates)):
            if value < 1:
                raise PlmError(f"model.init_args.{name} is {value}; it must be at least 1")
        self.n = n
        self.candidates = candidates
        self.temperature = temperature
        self.split: SplitName = split
        self.reward = reward

    def examples(self, round: Round) -> Sequence[Example]:
        """The best n of the round's candidates; none where no candidate is better than another."""
        (answers,) = rewarded(self.reward, [self._answers(round)])
        if len({answer.grade.score for answer in answers}) < 2 and not any(a.grade.correct for a in answers):
            return []
        chosen = best(answers, self.n, round.rng)
        return [
            round.example(Demonstration(answer.problem, "none", answer.completion, answer.finished))
            for answer in chosen
        ]

    def _answers(self, round: Round) -> list[Graded]:
        problems = round.draw(self.split, self.n * self.candidates)
        return [answer for (answer,) in round.sample(problems, 1, self.temperature)]

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy summed over completion tokens."""
        return sft_loss(self.network(batch), batch.weights_BL)


class FilteredSFTModule(ExpertIterationModule):
    """Filtering then SFT: expert iteration whose candidates always come from another policy (§6.1 of the paper).

    Args:
        base: The model to elicit: a hub id, a directory, another config, or a model source.
        optimizer: Builds the optimizer.
        policy: Who writes the candidates (the paper: π_weak).
        n: Candidates to learn from in each round.
        candidates: Candidates for each one that is kept.
        split: Whose problems to answer.
        passes: Shuffles over the chosen candidates.
        warmup_steps: Optimizer steps of linear warm-up.
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        phase: What the run is for, written to every line of results.
        reward: Whose scores count while training, in [0, 1]; where None 1 if right, else 0.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.
    """

    method = "filtered_sft"

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        policy: Policy,
        n: int = 64,
        candidates: int = 10,
        split: SplitName = "elicit",
        passes: int = 1,
        warmup_steps: int = 0,
        decay: Decay = "none",
        phase: Phase = "elicit",
        reward: Reward | None = None,
        compute: Compute | None = None,
    ) -> None:
        super().__init__(
            base, optimizer, n, candidates, 1.0, split, passes, warmup_steps, decay, phase, reward, compute
        )
        self.policy = policy

    def _answers(self, round: Round) -> list[Graded]:
        drawn = round.draw(self.split, self.n * self.candidates)
        shown = round.demonstrations(self.policy, drawn, "none")
        return round.grade([d.problem for d in shown], [d.completion for d in shown], [d.finished for d in shown])
