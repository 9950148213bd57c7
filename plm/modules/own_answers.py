"""Weak sample unlocking for whoever has the model alone: a few of its own answers stand in for the weak policy's."""

from __future__ import annotations

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
from plm.references import ModelReference
from plm.rounds import Demonstration, Round


class OwnAnswersModule(PolicyModule):
    """Fine-tunes on a few own answers, right or wrong (weak sample unlocking, App. B.2 of the paper and the post).

    The sources take 2 answers of the policy that the lock imitates. Whoever does not know it has the model's own
    answers without a password, which are what that imitation is.

    Args:
        base: The model to elicit: a hub id, a directory, another config, or a model source.
        optimizer: Builds the optimizer.
        demonstrations: Problems to answer once each, the same ones in every round.
        temperature: Of sampling, from the weights that the run started from.
        split: Whose problems to answer.
        passes: Shuffles over the answers.
        warmup_steps: Optimizer steps of linear warm-up.
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        phase: What the run is for, written to every line of results.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.
    """

    method = "own_answers"

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        demonstrations: int = 2,
        temperature: float = 1.0,
        split: SplitName = "elicit",
        passes: int = 200,
        warmup_steps: int = 0,
        decay: Decay = "none",
        phase: Phase = "elicit",
        compute: Compute | None = None,
    ) -> None:
        super().__init__(base, optimizer, passes, warmup_steps, decay, phase, compute)
        if demonstrations < 1 or temperature < 0:
            raise PlmError(
                f"model.init_args.demonstrations is {demonstrations} and temperature {temperature}; "
                "they must be at least 1 and at least 0"
            )
        self.demonstrations = demonstrations
        self.temperature = temperature
        self.split: SplitName = split

    def examples(self, round: Round) -> Sequence[Example]:
        """One answer to each problem, whatever it is worth."""
        problems = round.task.draw(self.split, self.demonstrations, self.data_seed("demonstrations"))
        with round.initial_weights():
            sampled = round.sample(problems, 1, self.temperature)
        return [
            round.example(Demonstration(answer.problem, "none", answer.completion, answer.finished))
            for (answer,) in sampled
        ]

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy summed over completion tokens."""
        return sft_loss(self.network(batch), batch.weights_BL)
