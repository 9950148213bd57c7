"""`plm prepare critique`: correct programs that a teacher breaks and explains, kept where a test really fails."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from plm.errors import PlmError
from plm.prepare import finish, limited, make_client, read_body, read_prices, work_folder, write
from plm.records import Problem


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
    from plm.files import exclusive_lock
    from plm.teacher.checks import Checks
    from plm.teacher.critique import CritiqueTeacher
    from plm.teacher.meter import Meter
    from plm.teacher.report import make_critique_report, print_critique_report
    from plm.teacher.store import Store

    work = work_folder(options)
    client, meter = make_client(options), Meter(read_prices(options))
    with exclusive_lock(work / "lock", f"waiting for another process that works in {work}"):
        checks = Checks(Store(work / "verdicts"), unsafe=options.unsafe)
        teacher = CritiqueTeacher(
            client, checks, meter, options.model, options.attempts, options.max_tokens, read_body(options)
        )
        critiques = teacher.make(usable)
        report = {"model": options.model, "base_url": options.base_url, "output": str(options.output)}
        report |= make_critique_report(len(usable), critiques, client, meter) | {"unusable": teacher.unusable}
        rows = [one.as_row() for one in critiques if not one.dropped]
        write(options, rows, report)
    print_critique_report(report, teacher.unusable)
    return finish(options, rows, report)


def _estimate(options: argparse.Namespace, usable: Sequence[Problem]) -> int:
    from plm.teacher.estimate import estimate_critiques
    from plm.teacher.replies import Request, chat_request
    from plm.teacher.report import print_estimate

    client = make_client(options)

    def request(text: str) -> Request:
        talk = [{"role": "user", "content": text}]
        return chat_request(options.model, talk, max_tokens=options.max_tokens, more=read_body(options))

    steps = estimate_critiques(usable, request, lambda each: client.cached(each) is not None)
    print_estimate(steps, read_prices(options))
    return 0
