"""Supervised fine-tuning: on one policy's demonstrations, and as password locking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor

from plm.compute import Compute
from plm.datamodules.base import SplitName, TaskDataModule
from plm.errors import PlmError
from plm.examples import Batch, Example
from plm.losses import sft_loss
from plm.models import ModelSource
from plm.modules.base import LockKind, OptimizerCallable, Phase, PolicyModule
from plm.optim import Decay
from plm.passwords import Condition
from plm.policies import Policy
from plm.records import Problem
from plm.references import ModelReference
from plm.rounds import Demonstration, Round

PAPER_PASSES = 256


def check_domains(task: TaskDataModule, split: SplitName, names: Sequence[str], argument: str) -> set[str]:
    """The domains of a split.

    Raises:
        PlmError: If one of the names is none of them.
    """
    domains = {problem.domain for problem in task.split(split)}
    for name in names:
        if name not in domains:
            known = ", ".join(sorted(domains))
            raise PlmError(f"model.init_args.{argument} names {name!r}; split {split!r} has {known}")
    return domains


class SFTModule(PolicyModule):
    """Fine-tunes on the completions of one policy, with the loss on completions only (§5.1 and App. C.1 of the paper).

    Args:
        base: The model to start from: a hub id, a directory, another config, or a model source.
        optimizer: Builds the optimizer.
        policy: Who writes the demonstrations (π_dem, Table 1 of the paper).
        split: Which problems the demonstrations answer.
        demonstrations: How many problems to use, the same ones in every round; None for the whole split.
        domains: Take demonstrations of these domains alone (§5.2 of the paper); all of the task's where None.
        condition: What the prompts look like: `none` shows no password.
        passes: Shuffles over the demonstrations in each round. `paper` is 256 / k for k demonstrations, at least 1:
            rounds 1, 2 and 4 of one run at a constant rate are then the numbers of epochs that App. G.3 chooses from,
            256 / k, 512 / k and 1024 / k, or 1, 2 and 4 from 256 demonstrations on.
        warmup_steps: Optimizer steps of linear warm-up.
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        phase: What the run is for, written to every line of results.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.
    """

    method = "sft"

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        policy: Policy,
        split: SplitName = "elicit",
        demonstrations: int | None = None,
        domains: Sequence[str] | None = None,
        condition: Condition = "none",
        passes: int | Literal["paper"] = 1,
        warmup_steps: int = 0,
        decay: Decay = "none",
        phase: Phase = "elicit",
        compute: Compute | None = None,
    ) -> None:
        if demonstrations is not None and demonstrations < 1:
            raise PlmError(f"model.init_args.demonstrations is {demonstrations}; it must be at least 1")
        if domains is not None and not domains:
            raise PlmError("model.init_args.domains is empty: name domains, or leave it out for all of them")
        super().__init__(base, optimizer, _number(passes, demonstrations), warmup_steps, decay, phase, compute)
        self.policy = policy
        self.split: SplitName = split
        self.demonstrations = demonstrations
        self.domains = domains
        self.condition: Condition = condition

    def examples(self, round: Round) -> Sequence[Example]:
        """One completion of the policy for each problem: a fresh one in every round (App. C.1 of the paper).

        Of k demonstrations it is the same in every round: more rounds are more epochs on the same k texts (App. G.3).
        """
        return [round.example(shown) for shown in self.shown(round)]

    def shown(self, round: Round) -> list[Demonstration]:
        """The demonstrations of a round; the first k of them answer the same problems for every number from k on.

        Raises:
            PlmError: If the split holds fewer problems, or none of one of the domains.
        """
        seed = self.data_seed("demonstrations")
        if self.domains is None:
            drawn = round.task.draw(self.split, self.demonstrations, seed)
        else:
            check_domains(round.task, self.split, self.domains, "domains")
            known = [each for each in round.task.draw(self.split, None, seed) if each.domain in self.domains]
            drawn = known[: self.demonstrations]
            if self.demonstrations and len(drawn) < self.demonstrations:
                raise PlmError(
                    f"model.init_args.demonstrations is {self.demonstrations}, but split {self.split!r} holds "
                    f"{len(drawn)} problems of {', '.join(self.domains)}: ask for fewer"
                )
        return round.demonstrations(self.policy, drawn, self.condition, None if self.demonstrations is None else seed)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy summed over completion tokens."""
        return sft_loss(self.network(batch), batch.weights_BL)


def _number(passes: int | Literal["paper"], demonstrations: int | None) -> int:
    if passes != "paper":
        return passes
    if demonstrations is None:
        raise PlmError("model.init_args.passes is paper: that needs a number of demonstrations")
    return max(1, PAPER_PASSES // demonstrations)


class SFTLockModule(PolicyModule):
    """Password locking by supervised fine-tuning on D_weak ∪ D_strong (eq. 1 and App. C.1 of the paper).

    A table says which policy to imitate under which condition. The plain lock is `right: π_strong, wrong: π_weak`,
    where `wrong` shows no password on a share of the prompts and a decoy on the others (App. C.2). Leaving `right` out
    imitates the weak policy with no password branch at all (the post's control).

    Args:
        base: The model to lock: a hub id, a directory, another config, or a model source. From `FromScratch` the model
            is locked while it learns the task (§7 of the paper).
        optimizer: Builds the optimizer.
        policies: Condition → policy to imitate under it.
        split: Which problems to lock on.
        examples_per_policy: Problems drawn afresh for each policy and round; None for all of the split.
        without_domains: Domains that are left out of locking, which show how a lock generalizes (App. B.3.4).
        passes: Shuffles over each round's examples.
        warmup_steps: Optimizer steps of linear warm-up.
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        kind: What kind of lock it is, for the gate that checks it.
        phase: What the run is for, written to every line of results.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.
    """

    method = "sft_lock"

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        policies: Mapping[Condition, Policy],
        split: SplitName = "lock",
        examples_per_policy: int | None = None,
        without_domains: Sequence[str] = (),
        passes: int = 1,
        warmup_steps: int = 0,
        decay: Decay = "none",
        kind: LockKind = "password",
        phase: Phase = "lock",
        compute: Compute | None = None,
    ) -> None:
        super().__init__(base, optimizer, passes, warmup_steps, decay, phase, compute)
        if not policies:
            raise PlmError("model.init_args.policies is empty: name at least one condition and its policy")
        self.policies = policies
        self.split: SplitName = split
        self.examples_per_policy = examples_per_policy
        self.without_domains = without_domains
        self.lock_kind = kind

    def examples(self, round: Round) -> Sequence[Example]:
        """One fresh completion for every problem and policy (App. C.1 of the paper)."""
        rows: list[Example] = []
        for condition, policy in self.policies.items():
            rows += [round.example(shown) for shown in round.demonstrations(policy, self.locked_on(round), condition)]
        return rows

    def locked_on(self, round: Round) -> list[Problem]:
        """The problems of a round, the same for every policy.

        Raises:
            PlmError: If the split has no problem of a domain that is to be left out, or none of another.
        """
        domains = check_domains(round.task, self.split, self.without_domains, "without_domains")
        if domains <= set(self.without_domains):
            raise PlmError("model.init_args.without_domains leaves no problem to lock on")
        drawn = round.task.draw(self.split, self.examples_per_policy, round.seed)
        return [problem for problem in drawn if problem.domain not in self.without_domains]

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy summed over completion tokens."""
        return sft_loss(self.network(batch), batch.weights_BL)
