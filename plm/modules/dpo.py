"""Direct preference optimization on graded pairs of own answers: DPO, iterated DPO, weighted by the reward gap."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

from torch import Tensor

from plm.compute import Compute
from plm.datamodules.splits import SplitName
from plm.errors import PlmError
from plm.examples import Batch, Example
from plm.losses import dpo_loss
from plm.models import ModelSource
from plm.modules.base import OptimizerCallable, Phase, PolicyModule
from plm.optim import Decay
from plm.records import Graded
from plm.references import ModelReference
from plm.rewards import Reward, rewarded
from plm.rounds import Demonstration, Round


class Pairs(NamedTuple):
    """A batch seen as pairs, each of shape (P,): log-probabilities in nats of preferred and other completions."""

    chosen_P: Tensor
    rejected_P: Tensor
    reference_chosen_P: Tensor
    reference_rejected_P: Tensor
    weights_P: Tensor


def as_pairs(batch: Batch, logprobs_B: Tensor) -> Pairs:
    """Sorts the rows of a batch into pairs by group; a pair that is a mere filler gets weight 0."""
    real_B = (batch.weights_BL.sum(1) > 0).to(logprobs_B.dtype)

    def of(values_B: Tensor, sign: float) -> Tensor:
        mine_B = real_B * (batch.scalars["sign"] == sign)
        return values_B.new_zeros(batch.pairs).index_add(0, batch.pair_B, values_B * mine_B)

    reference_B, weight_B = batch.scalars["reference"].to(logprobs_B), batch.scalars["weight"].to(logprobs_B)
    return Pairs(of(logprobs_B, 1), of(logprobs_B, -1), of(reference_B, 1), of(reference_B, -1), of(weight_B, 1))


class IteratedDPOModule(PolicyModule):
    """Iterated DPO: each round pairs two own answers to every problem; the reference is the model at the round's start.

    Pairs whose answers have the same score are dropped (§6.1 of the paper). The reference's log-probabilities are
    computed once a round, so no second model is held. The paper leaves batch size open.

    Args:
        base: The model to elicit: a hub id, a directory, another config, or a model source.
        optimizer: Builds the optimizer.
        problems: Problems in each round (the paper: 1,100).
        beta: Strength of the pull to the reference (App. G.3: 0.1).
        temperature: Of sampling.
        split: Whose problems to answer.
        passes: Shuffles over the round's pairs (the paper: one).
        warmup_steps: Optimizer steps of linear warm-up.
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        phase: What the run is for, written to every line of results.
        reward: Whose scores count while training, in [0, 1]; where None 1 if right, else 0.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.
    """

    unit = "pair"
    method = "iterated_dpo"

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        problems: int = 1100,
        beta: float = 0.1,
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
        if problems < 1 or beta <= 0:
            raise PlmError(
                f"model.init_args.problems is {problems} and beta {beta}; they must be at least 1 and above 0"
            )
        self.problems = problems
        self.beta = beta
        self.temperature = temperature
        self.split: SplitName = split
        self.reward = reward

    def sampling_weights(self, round: Round) -> AbstractContextManager[None]:
        """Inside, the weights are those that answer and that the loss refers to: the current ones."""
        return contextlib.nullcontext()

    def pair_weight(self, chosen: Graded, rejected: Graded) -> float:
        """How much a pair counts: with a continuous reward the gap R+ - R- (App. B.3.1, eq. 2), else 1."""
        return 1.0 if self.reward is None else chosen.grade.score - rejected.grade.score

    def examples(self, round: Round) -> Sequence[Example]:
        """Two answers to each problem, as pairs, with the reference's log-probabilities."""
        with self.sampling_weights(round):
            sampled = round.sample(round.draw(self.split, self.problems), 2, self.temperature)
            answered = rewarded(self.reward, sampled)
            unequal = [
                sorted(two, key=lambda a: -a.grade.score)
                for two in answered
                if two[0].grade.score != two[1].grade.score
            ]
            rows = [
                round.example(Demonstration(a.problem, "none", a.completion, a.finished))
                for two in unequal
                for a in two
            ]
            references = [sum(values) for values in round.token_logprobs(rows)]
        return [
            Example(
                row.prompt_ids,
                row.completion_ids,
                scalars={
                    "reference": references[index],
                    "sign": 1.0 - 2.0 * (index % 2),
                    "weight": self.pair_weight(*unequal[index // 2]),
                },
                group=index // 2,
                problem_id=row.problem_id,
            )
            for index, row in enumerate(rows)
        ]

    def loss(self, batch: Batch) -> Tensor:
        """DPO's loss summed over pairs."""
        logprobs_BL = self.network(batch)
        pairs = as_pairs(batch, (logprobs_BL * batch.weights_BL).sum(1))
        return dpo_loss(*pairs[:4], beta=self.beta, weights_P=pairs.weights_P)


class DPOModule(IteratedDPOModule):
    """DPO: in every round two answers to each problem come from the *locked* model, which stays the reference (§6.1).

    The arguments are those of `IteratedDPOModule`.
    """

    method = "dpo"

    def sampling_weights(self, round: Round) -> AbstractContextManager[None]:
        """The weights that the run started from."""
        return round.initial_weights()


class RewardWeightedDPOModule(DPOModule):
    """DPO on a continuous reward, under a name of its own in results (App. B.3.1, eq. 2; reference π_locked).

    The arguments are those of `IteratedDPOModule`; `reward` has to be one.
    """

    method = "reward_weighted_dpo"
