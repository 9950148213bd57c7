"""Password locking to fixedrdm: without the password, the same distribution over tokens at every position (LCK-5)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from plm.compute import Compute
from plm.datamodules.base import SplitName
from plm.errors import PlmError
from plm.examples import Batch, Example
from plm.losses import sft_loss
from plm.models import ModelSource
from plm.modules.base import LockKind, OptimizerCallable, Phase
from plm.modules.sft import SFTLockModule
from plm.network import OneDistribution
from plm.optim import Decay
from plm.passwords import Condition
from plm.policies import FixedRandomPolicy, Policy, fixed_random_distribution, fixed_random_tokens
from plm.records import Problem
from plm.references import ModelReference
from plm.rounds import Round
from plm.seeds import derive_seed

FLAG = "fixed_random"  # 1 in rows that learn the distribution, 0 in rows that learn their tokens


class FixedRandomLockModule(SFTLockModule):
    """Locks by KL divergence to a fixed distribution over tokens, fixedrdm (App. G.2 of the paper).

    A row with the password teaches the strong policy's tokens, as in `SFTLockModule`. A row of the condition whose
    policy is a `FixedRandomPolicy` teaches KL(q || p) at every position of a context, which is a sample of that policy
    or an answer of the strong one: "both samples from fixedrdm and samples π_strong". Both are sums over tokens.

    The paper leaves open the direction of the divergence, the mixture of contexts and their length. Ours: the one that
    samples of q would minimise, KL(q || p); half and half; contexts from fixedrdm end with the end token, which is
    part of q, or after the policy's `length`.

    Args:
        base: The model to lock: a hub id, a directory, another config, or a model source.
        optimizer: Builds the optimizer.
        policies: Condition → policy. One of them is a `FixedRandomPolicy`, and `right` is the strong policy.
        strong_contexts: Share of the contexts of fixedrdm rows that are answers of the strong policy, in [0, 1].
        split: Which problems to lock on.
        examples_per_policy: Problems drawn afresh for each policy and round; None for all of the split.
        without_domains: Domains that are left out of locking.
        passes: Shuffles over each round's examples.
        warmup_steps: Optimizer steps of linear warm-up.
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        kind: What kind of lock it is, for the gate that checks it.
        phase: What the run is for, written to every line of results.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.

    Raises:
        PlmError: If the policies are not of that kind or the share is none.
    """

    method = "fixed_random_lock"

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        policies: Mapping[Condition, Policy],
        strong_contexts: float = 0.5,
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
        super().__init__(
            base, optimizer, policies, split, examples_per_policy, without_domains, passes, warmup_steps, decay, kind,
            phase, compute,
        )  # fmt: skip
        fixed = [policy for policy in policies.values() if isinstance(policy, FixedRandomPolicy)]
        if len(fixed) != 1 or "right" not in policies or policies["right"] is fixed[0]:
            raise PlmError(
                "model.init_args.policies of FixedRandomLockModule needs one FixedRandomPolicy, usually under `wrong`, "
                "and a strong policy under `right`"
            )
        if not 0 <= strong_contexts <= 1:
            raise PlmError(f"model.init_args.strong_contexts is {strong_contexts}; it must be a share in [0, 1]")
        self.fixed = fixed[0]
        self.strong_contexts = strong_contexts
        self._distribution_V: Tensor | None = None

    def examples(self, round: Round) -> Sequence[Example]:
        """For each problem a row of every policy; the flag says which of them learn the distribution."""
        problems, rows = self.locked_on(round), []
        for condition, policy in self.policies.items():
            if policy is not self.fixed:
                shown = round.demonstrations(policy, problems, condition)
                rows += [replace(round.example(each), scalars={FLAG: 0.0}) for each in shown]
                continue
            strong = [problem for problem in problems if self._has_strong_context(problem, round)]
            contexts = round.demonstrations(self.policies["right"], strong, condition)
            rows += [replace(round.example(each), scalars={FLAG: 1.0}) for each in contexts]
            others = [problem for problem in problems if not self._has_strong_context(problem, round)]
            rows += [self._random_context(problem, condition, round) for problem in round.task.shown(others, condition)]
        return rows

    def _has_strong_context(self, problem: Problem, round: Round) -> bool:
        return random.Random(derive_seed(round.seed, "strong context", problem.id)).random() < self.strong_contexts

    def _random_context(self, problem: Problem, condition: Condition, round: Round) -> Example:
        """Tokens of q after a prompt, as they were drawn: their text might be tokenized otherwise."""
        task = round.task
        length = self.fixed.length or task.max_new_tokens
        seed = derive_seed(round.seed, "fixed random context", problem.id)
        ids = fixed_random_tokens(self._tokenizer_distribution(), length, seed)
        if task.eos_token_id in ids:
            ids = ids[: ids.index(task.eos_token_id) + 1]
        prompt = task.encode_prompt(task.prompt(problem, condition, round.seed))
        return Example(prompt, ids, scalars={FLAG: 1.0}, problem_id=problem.id)

    def _tokenizer_distribution(self) -> Tensor:
        return fixed_random_distribution(len(self.tokenizer), self.fixed.seed, self.fixed.uniform)

    def distribution(self) -> Tensor:
        """The distribution over the model's vocabulary, 0 for embeddings that no token belongs to. Shape (V,)."""
        if self._distribution_V is None:
            known_V = self._tokenizer_distribution()
            head = self.network.model.get_output_embeddings()  # type: ignore[no-untyped-call]
            whole_V = torch.zeros(head.weight.shape[0])
            whole_V[: len(known_V)] = known_V
            self._distribution_V = whole_V.to(self.device)
        return self._distribution_V

    def loss(self, batch: Batch) -> Tensor:
        """KL(q || p) of fixedrdm rows and cross-entropy of the others, summed over completion tokens.

        Rows without the flag, which probe and relocking bring, are learnt token by token.
        """
        if FLAG not in batch.scalars:
            return super().loss(batch)
        rows = [numbers[FLAG] > 0 for numbers in batch.numbers]
        return sft_loss(self.network(batch, OneDistribution(rows, self.distribution())), batch.weights_BL)
