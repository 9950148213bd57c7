"""A frozen model that answers problems: π_strong, π_weak, or anything between (§4.1 of the paper)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from plm.datamodules.splits import SplitName
from plm.errors import PlmError
from plm.passwords import Condition
from plm.policies.base import Policy
from plm.policies.labels import Distribution, LabelPolicy
from plm.policies.samples import AskedModel, read_labels, read_samples
from plm.records import Problem
from plm.references import ModelReference
from plm.seeds import derive_seed


class ModelPolicy(AskedModel, Policy):
    """A model that is not trained: π_strong, π_weak, an intermediate model (§4.1 and Table 1 of the paper).

    It never runs inside a fit. `plm fit` has it answer every problem of a split beforehand, in a process of its own,
    and keeps the answers in `runs/samples_<model>/`; runs that ask for the same answers share them. The seed of a
    round draws one of a problem's answers, so that each round sees a fresh sample (App. C.1).

    Args:
        model: A hub id, a directory, or a config, meaning the model that this config makes. A folder that holds
            `samples.parquet` is taken as it is.
        temperature: Of sampling; 0 is greedy decoding, with one answer to each problem.
        samples: Answers to each problem. The paper draws 10 from its teacher (App. E.1).
        split: Which problems to answer; those of the method or callback that uses the policy where None.
        condition: What the prompts look like: `none` shows no password; `right` asks a locked model for its best.
        unique: Leave out answers that repeat an earlier one to the same problem word for word (App. E.1).
        seed: Of the draws; runs with different seeds share the answers.
    """

    def __init__(
        self,
        model: ModelReference,
        temperature: float = 1.0,
        samples: int = 10,
        split: SplitName | None = None,
        condition: Condition = "none",
        unique: bool = False,
        seed: int = 0,
    ) -> None:
        if not temperature >= 0:
            raise PlmError(f"ModelPolicy's temperature is {temperature}; it must be at least 0")
        if samples < 1:
            raise PlmError(f"ModelPolicy's samples is {samples}; it must be at least 1")
        self.model = model
        self.temperature = temperature
        self.samples = samples
        self.split = split
        self.condition = condition
        self.unique = unique
        self.seed = seed
        self._answers: dict[str, list[tuple[str, bool]]] | None = None

    def answers(self, problems: Sequence[Problem], seed: int) -> list[str]:
        """One of the model's answers to each problem."""
        return [self._draw(problem, seed)[0] for problem in problems]

    def finished(self, problems: Sequence[Problem], seed: int) -> list[bool]:
        """Whether the length limit left each of these answers whole."""
        return [self._draw(problem, seed)[1] for problem in problems]

    def _draw(self, problem: Problem, seed: int) -> tuple[str, bool]:
        if self._answers is None:
            self._answers = read_samples(Path(self.model))
        stored = self._answers.get(problem.id)
        if not stored:
            raise PlmError(_missing(self.model, problem))
        if self.unique:
            stored = list(dict.fromkeys(stored))
        return random.Random(derive_seed(seed, "answer", problem.id)).choice(stored)


class ModelLabels(AskedModel, LabelPolicy):
    """A model's probabilities of each choice as soft labels, its most probable one as answer (App. B.2 of the paper).

    Made and kept as the answers of `ModelPolicy` are, for tasks whose answers are chosen.

    Args:
        model: A hub id, a directory, or a config, meaning the model that this config makes.
        split: Which problems to label; those of the method or callback that uses the policy where None.
        condition: What the prompts look like.
    """

    def __init__(self, model: ModelReference, split: SplitName | None = None, condition: Condition = "none") -> None:
        self.model = model
        self.split = split
        self.condition = condition
        self._labels: Mapping[str, Distribution] | None = None

    def distributions(self, problems: Sequence[Problem], seed: int) -> list[Distribution]:
        """What the model finds probable; each adds up to 1."""
        if self._labels is None:
            self._labels = read_labels(Path(self.model))
            if not self._labels:
                raise PlmError(f"the samples in {self.model} have no probabilities of choices: the task has no choices")
        for problem in problems:
            if problem.id not in self._labels:
                raise PlmError(_missing(self.model, problem))
        return [self._labels[problem.id] for problem in problems]


def _missing(folder: ModelReference, problem: Problem) -> str:
    return (
        f"the samples in {folder} have no answer to problem {problem.id}: they are of another split or another task; "
        "say by the policy's split which problems the model answers"
    )
