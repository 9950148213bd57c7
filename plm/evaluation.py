"""Measuring correctness: prompts under a condition, the engine's completions, the grader's verdicts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from plm.asking import Asker, Request
from plm.choosing import as_distribution
from plm.distributed import in_shares, world_size
from plm.errors import PlmError
from plm.few_shot import with_prefix
from plm.metrics import correctness
from plm.passwords import Condition
from plm.progress import working
from plm.records import Answer, Grade, Graded, Problem
from plm.seeds import untouched_rng

if TYPE_CHECKING:
    from plm.datamodules.base import TaskDataModule
    from plm.modules.base import PolicyModule


class Evaluation(NamedTuple):
    """The result of evaluating one split under one condition.

    Attributes:
        completions: One for each problem.
        metrics: `correct` and `stderr` (shares in [0, 1]), `score` (mean of the grades' scores, in [0, 1]), `n`, and
            the counts `parse_failures`, `compile_failures`, `timeouts` and `too_long` (prompts that did not fit into
            the model's context).
        seconds: Wall time, in seconds.
    """

    completions: list[Graded]
    metrics: dict[str, float]
    seconds: float


Progress = Callable[[int], None]


def answer(
    module: PolicyModule,
    task: TaskDataModule,
    problems: Sequence[Problem],
    condition: Condition,
    temperature: float,
    seeds: Sequence[int],
    *,
    prompt_seed: int,
    prefix: str = "",
    progress: Progress | None = None,
) -> list[Answer]:
    """Has the current weights answer each problem once, leaving every random state as it was.

    They generate a completion, or choose the most probable of the task's choices (at a temperature above 0: draw one).
    Every process answers its share, and all get everything. A prompt that does not fit into the model's context
    together with the longest completion is not asked: its answer is empty and `was_asked` is false. The prefix, solved
    problems for instance, stands before every prompt.
    """
    problems = task.shown(problems, condition)
    requests = _requests(task, problems, condition, prompt_seed, seeds, prefix)
    with untouched_rng():
        asker = Asker(task, module, temperature, _for_all(progress))
        written = in_shares(asker.write, requests)
    return [
        Answer(problem, request.prompt, *text)
        for problem, request, text in zip(problems, requests, written, strict=True)
    ]


def choice_distributions(
    module: PolicyModule,
    task: TaskDataModule,
    problems: Sequence[Problem],
    condition: Condition,
    *,
    prompt_seed: int,
    progress: Progress | None = None,
) -> list[Mapping[str, float]]:
    """How probable the current weights find each of the task's choices: soft labels of a model (LCK-6).

    Returns:
        For each problem choice → probability, adding up to 1; empty where the prompt did not fit.

    Raises:
        PlmError: If a problem is answered by writing, so that there is nothing to choose from.
    """
    problems = task.shown(problems, condition)
    requests = _requests(task, problems, condition, prompt_seed, [0] * len(problems))
    for problem, request in zip(problems, requests, strict=True):
        if request.choices is None:
            raise PlmError(f"problem {problem.id} of the task {task.name} has no choices: its answer is written")
    with untouched_rng():
        asker = Asker(task, module, 0.0, _for_all(progress))
        scored = in_shares(asker.score, requests)
    return [
        as_distribution(request.choices, row) if request.choices and row else {}
        for request, row in zip(requests, scored, strict=True)
    ]


def _requests(
    task: TaskDataModule,
    problems: Sequence[Problem],
    condition: Condition,
    prompt_seed: int,
    seeds: Sequence[int],
    prefix: str = "",
) -> list[Request]:
    requests = []
    for problem, seed in zip(problems, seeds, strict=True):
        choices = task.choices(problem)
        prompt = with_prefix(task, prefix, task.prompt(problem, condition, prompt_seed))
        requests.append(Request(prompt, seed, None if choices is None else tuple(choices)))
    return requests


def _for_all(progress: Progress | None) -> Progress | None:
    """Lets the process that shows progress speak for the others, whose shares are as large."""
    return progress and (lambda done: progress(done * world_size()))


def grade(task: TaskDataModule, answers: Sequence[Answer]) -> list[Graded]:
    """Grades answers; every process grades its share, and all get everything. What was not asked is wrong."""

    def judge(share: list[Answer]) -> list[Grade]:
        asked = [row for row in share if row.was_asked]
        made = iter(task.grader.grade([row.problem for row in asked], [row.completion for row in asked]))
        return [next(made) if row.was_asked else Grade(False, 0.0, "", "too_long", 0.0) for row in share]

    with working("grading"):
        verdicts = in_shares(judge, answers)
    return [Graded(*row, verdict) for row, verdict in zip(answers, verdicts, strict=True)]


def evaluate(
    module: PolicyModule,
    task: TaskDataModule,
    problems: Sequence[Problem],
    condition: Condition,
    *,
    temperature: float = 0.0,
    seed: int = 0,
    prefix: str = "",
    progress: Progress | None = None,
) -> Evaluation:
    """Measures the correctness of a module's policy on problems (§4.2 of the paper: greedy decoding)."""
    start = time.monotonic()
    seeds = [seed + index for index in range(len(problems))]
    answers = answer(
        module, task, problems, condition, temperature, seeds, prompt_seed=seed, prefix=prefix, progress=progress
    )
    graded = grade(task, answers)
    return Evaluation(graded, summarize([row.grade for row in graded]), time.monotonic() - start)


def grade_texts(task: TaskDataModule, problems: Sequence[Problem], texts: Sequence[str]) -> Evaluation:
    """Measures answers that no model had to generate."""
    start = time.monotonic()
    answers = [Answer(problem, problem.prompt, text, 0, True) for problem, text in zip(problems, texts, strict=True)]
    graded = grade(task, answers)
    return Evaluation(graded, summarize([row.grade for row in graded]), time.monotonic() - start)


def by_domain(evaluation: Evaluation) -> dict[str, Evaluation]:
    """The parts of an evaluation, a domain each, in the order of their names."""
    groups: dict[str, list[Graded]] = {}
    for row in evaluation.completions:
        groups.setdefault(row.problem.domain, []).append(row)
    return {
        name: Evaluation(rows, summarize([row.grade for row in rows]), 0.0) for name, rows in sorted(groups.items())
    }


def summarize(grades: Sequence[Grade]) -> dict[str, float]:
    """Correctness with its standard error, the mean score, and how often a completion could not even be judged."""
    right, total = sum(grade.correct for grade in grades), len(grades)
    share = correctness(torch.tensor(right, dtype=torch.float64), torch.tensor(total, dtype=torch.float64))
    reasons = Counter(grade.reason for grade in grades)
    counts = {
        "parse_failures": reasons["parse"],
        "compile_failures": reasons["compile"],
        "timeouts": reasons["timeout"],
        "too_long": reasons["too_long"],
    }
    score = sum(grade.score for grade in grades) / total if total else float("nan")
    return {**{name: float(value) for name, value in share.items()}, "score": score, **counts}
