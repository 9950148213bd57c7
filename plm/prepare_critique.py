"""`plm prepare critique`: correct programs that a teacher breaks and explains, kept where a test really fails."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from plm.errors import PlmError
from plm.prepare import Made, limited, make, read_body, show_estimate
from plm.records import Problem

if TYPE_CHECKING:
    from plm.teacher.checks import Checks
    from plm.teacher.client import Client
    from plm.teacher.meter import Meter


def prepare_critique(options: argparse.Namespace) -> int:
    """Makes the file of critiques, or says what that would cost.

    Raises:
        PlmError: If the problems cannot be read or none can be used, the teacher fails, or nothing is left.
    """
    from plm.datamodules.code_files import CodeFiles

    problems = CodeFiles(options.problems).problems()
    usable = limited([one for one in problems if one.reference.strip()], options)
    if not usable:
        raise PlmError(f"none of the {len(problems)} problems of {options.problems} has a program in `reference`")
    return _estimate(options, usable) if options.dry_run else _make(options, usable)


def _make(options: argparse.Namespace, usable: Sequence[Problem]) -> int:
    from plm.teacher.critique import CritiqueTeacher
    from plm.teacher.report import make_critique_report, print_critique_report

    def teach(client: Client, checks: Checks, meter: Meter) -> Made:
        teacher = CritiqueTeacher(
            client, checks, meter, options.model, options.attempts, options.max_tokens, read_body(options)
        )
        critiques = teacher.make(usable)
        return Made(critiques, make_critique_report(len(usable), critiques, client, meter), teacher.unusable)

    return make(options, teach, print_critique_report)


def _estimate(options: argparse.Namespace, usable: Sequence[Problem]) -> int:
    from plm.teacher.estimate import estimate_critiques

    return show_estimate(options, lambda request, is_answered: estimate_critiques(usable, request, is_answered))
