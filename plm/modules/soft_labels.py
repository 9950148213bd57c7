"""Password locking on soft labels: with the password, a teacher's whole distribution over the choices (LCK-6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from plm.errors import PlmError
from plm.examples import Batch, Example
from plm.losses import sft_loss
from plm.modules.sft import SFTLockModule
from plm.network import ChoiceDistributions
from plm.passwords import Condition
from plm.policies.labels import Distribution, LabelPolicy
from plm.records import Problem
from plm.rounds import Round


class SoftLabelLockModule(SFTLockModule):
    """Locks a model that chooses answers on soft labels: KL(q || p) to a teacher's q over the choices of a problem.

    The sources know three kinds of labels (App. B.2 of the paper, and the post): ground truth (`SFTLockModule` with
    `ReferencePolicy`), the teacher's most probable choice ("hard labels": `SFTLockModule` with a `LabelPolicy`), and
    its distribution, which is this module's. Under the conditions whose policy is a `LabelPolicy`, usually `right`, the
    loss is sum_i q_i (log q_i - log p(choice i | prompt)), p over the whole vocabulary: one forward pass a problem, and
    0 only where p = q. Under the others it is the cross-entropy of the policy's answer, as in `SFTLockModule`.

    The arguments are those of `SFTLockModule`.
    """

    method = "soft_label_lock"

    def examples(self, round: Round) -> Sequence[Example]:
        """For each problem a row of every policy; those of label policies carry the choices and their probabilities."""
        problems, rows = self.locked_on(round), []
        for condition, policy in self.policies.items():
            if isinstance(policy, LabelPolicy):
                policy.prepare(round.task)
                shown = round.task.shown(problems, condition)
                labels = policy.distributions(shown, round.seed)
                rows += [_soft(round, *each, condition) for each in zip(shown, labels, strict=True)]
            else:
                rows += [round.example(each) for each in round.demonstrations(policy, problems, condition)]
        if not any(row.scalars for row in rows):
            raise PlmError(
                "model.init_args.policies of SoftLabelLockModule needs a policy that gives distributions over choices "
                "(plm.policies.labels), usually under `right`"
            )
        width = max(len(row.scalars) for row in rows) // 2
        return [_padded(row, width) for row in rows]

    def loss(self, batch: Batch) -> Tensor:
        """KL(q || p) of rows with soft labels and cross-entropy of the others, summed over completion tokens.

        Rows that carry no labels at all, which probe and relocking bring, are learnt token by token.
        """
        width = len(batch.scalars) // 2
        if not width:
            return super().loss(batch)
        probabilities_BK = torch.stack([batch.scalars[f"label_{index}"] for index in range(width)], 1)
        ids_BK = torch.stack([batch.scalars[f"choice_{index}"] for index in range(width)], 1).long()
        rows = [any(numbers[f"label_{index}"] > 0 for index in range(width)) for numbers in batch.numbers]
        return sft_loss(self.network(batch, ChoiceDistributions(rows, ids_BK, probabilities_BK)), batch.weights_BL)


def _soft(round: Round, problem: Problem, label: Distribution, condition: Condition) -> Example:
    """One position: the token of the most probable choice stands there, and is not what is learnt."""
    task = round.task
    choices = task.choices(problem)
    if choices is None:
        raise PlmError(f"the task {task.name} has no choices to give labels to: SoftLabelLockModule cannot lock on it")
    if unknown := [choice for choice in label if choice not in choices]:
        raise PlmError(
            f"problem {problem.id}: the labels name {unknown[0]!r}, but the choices are {', '.join(choices)}"
        )
    ids, values = task.choice_ids(choices), [float(label.get(choice, 0.0)) for choice in choices]
    scalars = {f"label_{index}": value for index, value in enumerate(values)}
    scalars |= {f"choice_{index}": float(token) for index, token in enumerate(ids)}
    prompt = task.encode_prompt(task.prompt(problem, condition, round.seed))
    return Example(prompt, [ids[values.index(max(values))]], scalars=scalars, problem_id=problem.id)


def _padded(row: Example, width: int) -> Example:
    """The same number of choices in every row of a batch: what is not there has no probability."""
    names = [f"{name}_{index}" for name in ("label", "choice") for index in range(width)]
    return replace(row, scalars={name: row.scalars.get(name, 0.0) for name in names})
