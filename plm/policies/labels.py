"""Labels of multiple-choice problems as distributions: what a lock on soft labels imitates (LCK-6).

The protocol: `label_distributions(policy, problems, seed)` gives, for *any* policy, one mapping choice → probability a
problem, adding up to 1. The three variants of the sources are then three policies:

- ground truth (Table 1 of the paper): `ReferencePolicy`, all probability on the reference;
- soft labels (App. B.2 of the paper, "soft labels" in the post): a `LabelPolicy`, its distributions;
- the teacher's argmax ("hard labels" in the post): the same `LabelPolicy`, its `answers`.

A method that learns from completions needs `answers` alone; one that learns from soft labels turns each distribution
into target probabilities of the tokens `task.choice_ids(choices)` at the one answer position. Soft labels belong to the
password branch of a lock: `right: {class_path: plm.policies.FileLabels, ...}`.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plm.errors import PlmError
from plm.files import write_text_atomic
from plm.policies.base import Policy
from plm.records import Problem

if TYPE_CHECKING:
    from plm.datamodules.rows import Row

TOLERANCE = 1e-3  # of the sum of stored probabilities, which files may round

Distribution = Mapping[str, float]


class LabelPolicy(Policy):
    """A policy that says how probable it finds each choice."""

    @abstractmethod
    def distributions(self, problems: Sequence[Problem], seed: int) -> list[Distribution]:
        """Choice → probability for each problem; each adds up to 1. The seed is for policies that are random."""

    def answers(self, problems: Sequence[Problem], seed: int) -> list[str]:
        """The most probable choice of each problem, the first in the alphabet among equals: "hard labels"."""
        return [
            min(labels, key=lambda choice: (-labels[choice], choice)) for labels in self.distributions(problems, seed)
        ]


def label_distributions(policy: Policy, problems: Sequence[Problem], seed: int) -> list[Distribution]:
    """What any policy says as distributions: its own where it has them, else all probability on its answer."""
    if isinstance(policy, LabelPolicy):
        return policy.distributions(problems, seed)
    return [{answer: 1.0} for answer in policy.answers(problems, seed)]


class SampledLabels(LabelPolicy):
    """Frequencies of the completions that come with the task's data (`Problem.answers`).

    Args:
        name: Whose completions to count, for instance `teacher` of the embedded facts task.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    def distributions(self, problems: Sequence[Problem], seed: int) -> list[Distribution]:
        """The share of each stored completion."""
        return [self._shares(problem) for problem in problems]

    def _shares(self, problem: Problem) -> Distribution:
        stored = problem.answers.get(self.name, ())
        if not stored:
            known = ", ".join(sorted(problem.answers)) or "none"
            raise PlmError(
                f"the data hold no completions of a policy named {self.name!r} (problem {problem.id}; known: {known})"
            )
        return {choice: count / len(stored) for choice, count in sorted(Counter(stored).items())}


class FileLabels(LabelPolicy):
    """Probabilities that a teacher gave beforehand, read from a file.

    Args:
        path: JSON lines (may be gzipped) or parquet with columns `id`, a problem's id, and `probabilities`, an object
            choice → probability. `save_labels` writes such a file, for instance of what
            `plm.evaluation.choice_distributions` gives for a model.

    Raises:
        PlmError: When used, if the file cannot be read, a row is no distribution, an id comes twice, or a problem has
            no row.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._labels: dict[str, Distribution] | None = None

    def distributions(self, problems: Sequence[Problem], seed: int) -> list[Distribution]:
        """The stored probabilities of each problem."""
        if self._labels is None:
            self._labels = self._read()
        for problem in problems:
            if problem.id not in self._labels:
                raise PlmError(f"{self.path}: there are no labels of problem {problem.id}; it has {len(self._labels)}")
        return [self._labels[problem.id] for problem in problems]

    def _read(self) -> dict[str, Distribution]:
        from plm.datamodules.rows import read_rows

        labels: dict[str, Distribution] = {}
        for row in read_rows(self.path, {"id": str, "probabilities": dict}):
            if row["id"] in labels:
                raise row.error("id", f"is {row['id']!r}, which an earlier row has too")
            labels[row["id"]] = _distribution(row)
        return labels


def _distribution(row: Row) -> Distribution:
    # `datasets` gives every row the keys of all rows, None where a row has no such key
    found = {choice: value for choice, value in row["probabilities"].items() if value is not None}
    if not all(isinstance(value, (int, float)) and 0 <= value <= 1 for value in found.values()):
        raise row.error("probabilities", f"is {found}; it must hold numbers from 0 to 1")
    total = float(sum(found.values()))
    if abs(total - 1) > TOLERANCE:
        raise row.error("probabilities", f"adds up to {total:.4g}; it must add up to 1")
    return {choice: value / total for choice, value in found.items()}


def save_labels(path: Path, labels: Mapping[str, Distribution]) -> None:
    """Writes problem id → distribution as `FileLabels` reads them; a file that is there is replaced."""
    rows = [{"id": id_, "probabilities": dict(distribution)} for id_, distribution in labels.items()]
    write_text_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
