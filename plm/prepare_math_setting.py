"""`plm prepare math-setting`: MATH in Spanish with ASCII-Math beside MATH as it is, for locks by setting."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plm.errors import PlmError
from plm.prepare import Made, limited, make, read_body, show_estimate

if TYPE_CHECKING:
    from plm.teacher.checks import Checks
    from plm.teacher.client import Client
    from plm.teacher.math_setting import ToldProblem
    from plm.teacher.meter import Meter


def prepare_math_setting(options: argparse.Namespace) -> int:
    """Makes the file of MATH in two settings, or says what that would cost.

    Raises:
        PlmError: If MATH or the answers cannot be read, the teacher fails, or nothing is left.
    """
    drafts = read_drafts(options)
    return _estimate(options, drafts) if options.dry_run else _make(options, drafts)


def read_drafts(options: argparse.Namespace) -> list[ToldProblem]:
    """What is to be translated: the problems of every split, each with the answers that were given to it."""
    from plm.datamodules.math_files import CONFIGS, MathFiles
    from plm.teacher.math_setting import ToldAnswer, ToldProblem
    from plm.teacher.math_setting_prompts import Shown

    source = MathFiles(options.math, options.test, CONFIGS if options.configs is None else options.configs or None)
    splits, rows = source.load(options.seed, "subject"), source.rows()
    placed = [(name, problem) for name, problems in splits.items() for problem in problems]
    given = {policy: _read_answers(policy, folders) for policy, folders in _policies(options.answers).items()}
    for policy, answers in given.items():
        if not any(problem.id in answers for _, problem in placed):
            raise PlmError(f"--answers {policy}=…: no answer is to one of these problems; are they of other data?")
    drafts = []
    for split, problem in limited(placed, options):
        answers = {policy: found.get(problem.id, [])[: options.samples] for policy, found in given.items()}
        shown = Shown({"problem": problem.prompt, "solution": problem.reference})
        told = [
            ToldAnswer(problem, Shown({"answer": text}), policy=policy)
            for policy, texts in answers.items()
            for text in texts
        ]
        drafts.append(ToldProblem(problem, shown, split=split, columns=rows[problem.id], given=answers, answers=told))
    return drafts


def _policies(given: Sequence[str]) -> dict[str, list[str]]:
    from plm.datamodules.math_files import COLUMNS

    found: dict[str, list[str]] = {}
    for each in given:
        policy, _, folder = each.partition("=")
        if not folder or not policy.isidentifier() or policy in (*COLUMNS, "id", "split"):
            raise PlmError(
                f"--answers {each}: it must be NAME=FOLDER, a name for the policy and the folder of its samples"
            )
        found.setdefault(policy, []).append(folder)
    return found


def _read_answers(policy: str, folders: Sequence[str]) -> dict[str, list[str]]:
    """Problem → the different answers to it that came to their end."""
    from plm.policies.samples import read_samples
    from plm.progress import say

    found: dict[str, list[str]] = {}
    left_out = 0
    for folder in folders:
        for problem_id, answers in read_samples(Path(folder)).items():
            ended = [text for text, finished in answers if finished and text.strip()]
            left_out += len(answers) - len(ended)
            found[problem_id] = list(dict.fromkeys([*found.get(problem_id, []), *ended]))
    if left_out:
        say(f"{left_out} answers of {policy} are left out: cut off by the length limit, or blank")
    return found


def _make(options: argparse.Namespace, drafts: Sequence[ToldProblem]) -> int:
    from plm.teacher.math_setting import MathSettingTeacher
    from plm.teacher.report import make_math_setting_report, print_math_setting_report

    def teach(client: Client, checks: Checks, meter: Meter) -> Made:
        teacher = MathSettingTeacher(
            client, checks, meter, options.model, options.attempts, options.max_tokens, read_body(options)
        )
        teacher.make(drafts)
        return Made(drafts, make_math_setting_report(drafts, client, meter), teacher.unusable)

    return make(options, teach, print_math_setting_report, runs_programs=False)


def _estimate(options: argparse.Namespace, drafts: Sequence[ToldProblem]) -> int:
    from plm.teacher.estimate import estimate_math_setting

    return show_estimate(options, lambda request, is_answered: estimate_math_setting(drafts, request, is_answered))
