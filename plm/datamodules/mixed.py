"""Several tasks as one: a model is locked on all of them, a grader each (TSK-7; the cross-setting of the paper)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from plm.datamodules.base import TaskDataModule
from plm.datamodules.splits import SPLIT_NAMES, Splits
from plm.engines.base import Engine
from plm.errors import PlmError
from plm.examples import Example
from plm.graders.base import Grader
from plm.passwords import Condition, PromptScheme
from plm.records import Grade, Problem

_SLASH = "/"  # between the part's name and the problem's own id


class MixedDataModule(TaskDataModule):
    """The problems of several tasks in one: locked together, elicited on one, measured on each (TSK-7).

    Every split is the union of the parts' splits, of every problem (no part is weighted). A problem keeps its part's
    template, grader and choices, and is called `part/id`. Passwords, engine and batches are the mixed task's own;
    what the parts say of them is not used. So a `DomainPasswordScheme` can give each part a password of its own.

    Args:
        parts: Name → task; the names are the problems' domains.
        passwords: How prompts carry passwords, in every part; the paper's default where None.
        engine: Who generates text; the Hugging Face engine where None.
        batch_size: Rows in an optimizer step.
        seed: Decides what is measured on; each part's own seed decides its problems and splits.
        subdomains: A problem's domain is `part/domain` instead of `part`.
    """

    name = "mixed"

    def __init__(
        self,
        parts: Mapping[str, TaskDataModule],
        passwords: PromptScheme | None = None,
        engine: Engine | None = None,
        batch_size: int = 32,
        seed: int = 0,
        subdomains: bool = False,
    ) -> None:
        if len(parts) < 2:
            raise PlmError(f"data.init_args.parts names {len(parts)} tasks; a mixed task has at least two")
        for name in parts:
            if not name.strip() or _SLASH in name or name == "all":
                raise PlmError(f"data.init_args.parts: {name!r} is no name of a part; use a word such as code")
            if parts[name].stop:
                raise PlmError(
                    f"data.init_args.parts: {name} has stop strings, which the parts of a mixed task cannot have"
                )
        longest = max(part.max_new_tokens for part in parts.values())
        super().__init__(passwords, engine, batch_size, longest, seed)
        self.parts = dict(parts)
        self.subdomains = subdomains
        self._domains: dict[str, str] = {}
        self._owners: dict[str | tuple[str, ...], str] = {}
        for name, part in self.parts.items():
            part.passwords = _PartScheme(self, name)

    def load_splits(self) -> Splits:
        """The union of the parts' splits; a part may lack one."""
        splits: Splits = {name: [] for name in SPLIT_NAMES}
        for name, part in self.parts.items():
            if part._splits is None:  # its own setup would look for near-duplicates too
                part._splits = part.load_splits()
            for split, problems in part._splits.items():
                splits[split] += [self.outer(name, problem) for problem in problems]
        return splits

    def outer(self, part: str, problem: Problem) -> Problem:
        """A part's problem as one of the mixed task: with the part in its id, group and domain."""
        id_ = f"{part}{_SLASH}{problem.id}"
        self._domains[id_] = problem.domain
        domain = f"{part}{_SLASH}{problem.domain}" if self.subdomains else part
        group = problem.group and f"{part}{_SLASH}{problem.group}"
        return dataclasses.replace(problem, id=id_, domain=domain, group=group)

    def inner(self, problem: Problem) -> tuple[str, Problem]:
        """The part that a problem belongs to, and the problem as the part knows it."""
        part, _, id_ = problem.id.partition(_SLASH)
        if problem.id not in self._domains:
            raise PlmError(f"problem {problem.id} is of no part of the mixed task; there are {', '.join(self.parts)}")
        group = problem.group.removeprefix(f"{part}{_SLASH}")
        return part, dataclasses.replace(problem, id=id_, domain=self._domains[problem.id], group=group)

    def part(self, name: str) -> TaskDataModule:
        """A part, which knows the tokenizer by the trainer of the whole."""
        part = self.parts[name]
        part.trainer = self.trainer
        return part

    def make_grader(self) -> Grader:
        """One that hands each problem to its part's grader; all are prepared, so that none is found missing later."""
        return _MixedGrader(self, {name: self.part(name).grader for name in self.parts})

    def corpus_texts(self) -> Iterable[str]:
        """The texts of all parts."""
        self.setup("fit")
        for name in self.parts:
            yield from self.part(name).corpus_texts()

    def prompt(self, problem: Problem, condition: Condition, seed: int) -> str:
        """The prompt of the problem's part, with the password of the mixed task."""
        name, own = self.inner(problem)
        text = self.part(name).prompt(own, condition, seed)
        self._owners[text] = name
        return text

    def solved(self, problem: Problem) -> str:
        """As the problem's part shows it."""
        name, own = self.inner(problem)
        return self.part(name).solved(own)

    def choices(self, problem: Problem) -> Sequence[str] | None:
        """The choices of the problem's part."""
        name, own = self.inner(problem)
        choices = self.part(name).choices(own)
        if choices is not None:
            self._owners[tuple(choices)] = name
        return choices

    def choice_ids(self, choices: Sequence[str]) -> list[int]:
        """The tokens of choices, as the part that offered them has them."""
        owner = self._owners.get(tuple(choices))
        return self.part(owner).choice_ids(choices) if owner else super().choice_ids(choices)

    def encode_prompt(self, prompt: str) -> list[int]:
        """Token ids of a prompt, as its part makes them."""
        owner = self._owners.get(prompt)
        return self.part(owner).encode_prompt(prompt) if owner else super().encode_prompt(prompt)

    def encode(self, prompt: str, completion: str, problem_id: str = "", finished: bool = True) -> Example:
        """Tokenizes prompt and completion as the problem's part does."""
        owner = self._owners.get(prompt)
        if owner is None:
            return super().encode(prompt, completion, problem_id, finished)
        return self.part(owner).encode(prompt, completion, problem_id, finished)


class _PartScheme(PromptScheme):
    """The mixed task's scheme, as a part sees it: the part's problems are shown under their names in the mixed task."""

    def __init__(self, task: MixedDataModule, part: str) -> None:
        self.task = task
        self.part = part

    @property
    def evaluated(self) -> tuple[Condition, ...]:
        return self.task.passwords.evaluated

    @property
    def password_hash(self) -> str:
        return self.task.passwords.password_hash

    def texts(self) -> tuple[str, ...]:
        return self.task.passwords.texts()

    def prompt(self, problem: Problem, condition: Condition, seed: int) -> str:
        return self.task.passwords.prompt(self.task.outer(self.part, problem), condition, seed)

    def shown(self, problem: Problem, condition: Condition) -> Problem:
        return self.task.passwords.shown(problem, condition)


class _MixedGrader:
    """Hands every completion to the grader of its part."""

    def __init__(self, task: MixedDataModule, graders: Mapping[str, Grader]) -> None:
        self.task = task
        self.graders = graders

    def grade(
        self, problems: Sequence[Problem], completions: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Grade]:
        rows: dict[str, list[int]] = {}
        own: list[Problem] = []
        for index, problem in enumerate(problems):
            part, inner = self.task.inner(problem)
            rows.setdefault(part, []).append(index)
            own.append(inner)
        grades: dict[int, Grade] = {}
        for part, indices in rows.items():
            texts = [completions[index] for index in indices]
            made = self.graders[part].grade([own[index] for index in indices], texts, progress=progress)
            grades |= dict(zip(indices, made, strict=True))
        return [grades[index] for index in range(len(problems))]
