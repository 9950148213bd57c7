"""Measuring correctness: prompts under a condition, the engine's completions, the grader's verdicts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from plm.distributed import in_shares, world_size
from plm.engines.base import Completion, SamplingParams
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
    progress: Progress | None = None,
) -> list[Answer]:
    """Generates one completion for each problem from the current weights, leaving every random state as it was.

    Every process generates its share, and all get everything. A prompt that does not fit into the model's context
    together with the longest completion is not asked: its answer is empty and `was_asked` is false.
    """
    problems = task.shown(problems, condition)
    prompts = [task.prompt(problem, condition, prompt_seed) for problem in problems]
    params = SamplingParams(task.max_new_tokens, temperature, task.eos_token_id)
    with untouched_rng():
        model, version = module.whole_model(), module.weights_version
        task.engine.sync(model, version)
        room = getattr(model.config, "max_position_embeddings", None)

        def generate(share: list[tuple[str, int]]) -> list[Completion]:
            return _generate(task, share, params, version, room, _for_all(progress))

        completions = in_shares(generate, list(zip(prompts, seeds, strict=True)))
    return [
        Answer(problem, prompt, task.decode(completion.token_ids), len(completion.token_ids), completion.finished)
        for problem, prompt, completion in zip(problems, prompts, completions, strict=True)
    ]


def _generate(
    task: TaskDataModule,
    share: Sequence[tuple[str, int]],
    params: SamplingParams,
    version: str,
    room: int | None,
    progress: Progress | None,
) -> list[Completion]:
    """Completions for prompts and seeds; nothing for prompts without room."""
    encoded = [(task.encode_prompt(prompt), seed) for prompt, seed in share]
    fits = [room is None or len(ids) + params.max_new_tokens <= room for ids, _ in encoded]
    asked = [pair for pair, fit in zip(encoded, fits, strict=True) if fit]
    if progress and len(asked) < len(encoded):
        progress(len(encoded) - len(asked))
    ids, seeds = [ids for ids, _ in asked], [seed for _, seed in asked]
    made = iter(task.engine.generate(ids, params, version=version, seeds=seeds, progress=progress))
    return [next(made) if fit else Completion([], False) for fit in fits]


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
    progress: Progress | None = None,
) -> Evaluation:
    """Measures the correctness of a module's policy on problems (§4.2 of the paper: greedy decoding)."""
    start = time.monotonic()
    seeds = [seed + index for index in range(len(problems))]
    answers = answer(module, task, problems, condition, temperature, seeds, prompt_seed=seed, progress=progress)
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
