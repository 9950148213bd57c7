"""`plm prepare code`: C++ problems from APPS and MBPP, made by a teacher behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from plm.errors import PlmError
from plm.suggestions import nearest

TASKS = ("code",)


def run_prepare(args: Sequence[str]) -> int:
    """Runs `plm prepare TASK`.

    Args:
        args: The command line after `prepare`.

    Returns:
        The exit status.

    Raises:
        PlmError: If something given cannot be used, or the teacher fails; what it answered is kept.
    """
    if args and not args[0].startswith("-") and args[0] not in TASKS:
        raise PlmError(f"task is {args[0]}{nearest(args[0], TASKS)}; it must be one of: {', '.join(TASKS)}")
    parsed = _make_parser().parse_args(args)
    return prepare_code(parsed)


def prepare_code(options: argparse.Namespace) -> int:
    """Makes the file of C++ problems, or says what that would cost."""
    from plm.datamodules.code_files import AppsMbppCode, read_apps, read_mbpp
    from plm.datamodules.code_files.apps import unique

    _body(options)  # before anything is read
    source = AppsMbppCode(apps=options.apps, mbpp=options.mbpp, competition=options.competition)
    problems = [problem for path in source.apps for problem in read_apps(path)]
    problems += [problem for path in source.mbpp for problem in read_mbpp(path)]
    unique(problems, "the sources")
    left_out = {
        problem.id: reason for problem in problems if (reason := source.reason(problem)) in ("none", "competition")
    }
    usable = [problem for problem in problems if problem.id not in left_out]
    if options.limit is not None and options.limit < len(usable):
        chosen = set(random.Random(0).sample(range(len(usable)), options.limit))
        usable = [problem for number, problem in enumerate(usable) if number in chosen]
    if not usable:
        raise PlmError(f"none of the {len(problems)} problems read has tests and is below competition level")
    return _estimate(options, usable) if options.dry_run else _make(options, len(problems), left_out, usable)


def _make(options: argparse.Namespace, read: int, left_out: dict[str, str], usable: list[Any]) -> int:
    from plm.files import exclusive_lock, write_text_atomic
    from plm.teacher.candidate import live
    from plm.teacher.checks import Checks
    from plm.teacher.code import CodeTeacher
    from plm.teacher.meter import Meter
    from plm.teacher.report import WHY, make_report, print_report
    from plm.teacher.store import Store

    output, work = options.output, _work_folder(options)
    client, meter = _make_client(options), Meter(_prices(options))
    with exclusive_lock(work / "lock", f"waiting for another process that works in {work}"):
        teacher = CodeTeacher(
            client, Checks(Store(work / "verdicts"), unsafe=options.unsafe), meter, options.model, options.samples,
            options.choices, options.attempts, options.max_tokens, _body(options),
        )  # fmt: skip
        candidates = teacher.make(usable)
        report = {"model": options.model, "base_url": options.base_url, "output": str(output)}
        report |= make_report(read, left_out, candidates, client, meter) | {"unusable": teacher.unusable}
        kept = live(candidates)
        if kept:
            rows = "".join(json.dumps(one.as_row(), ensure_ascii=False) + "\n" for one in kept)
            write_text_atomic(output, rows.encode("utf-8", "replace").decode())
        write_text_atomic(_report_path(output), json.dumps(report, indent=1) + "\n")
    print_report(report, teacher.unusable)
    if not kept:
        why = "; ".join(f"{count} {WHY[reason]}" for reason, count in report["dropped_by_reason"].items())
        raise PlmError(f"no problem is left, and {output} is not written: {why} ({_report_path(output)} names each)")
    print(f"problems     {output}\nreport       {_report_path(output)}")
    return 0


def _estimate(options: argparse.Namespace, usable: list[Any]) -> int:
    from plm.teacher.estimate import estimate
    from plm.teacher.replies import Request, chat_request
    from plm.teacher.report import print_estimate

    client = _make_client(options)

    def request(text: str) -> Request:
        return chat_request(options.model, text, max_tokens=options.max_tokens, more=_body(options))

    steps = estimate(usable, request, lambda each: client.cached(each) is not None, options.samples, options.choices)
    print_estimate(steps, _prices(options))
    return 0


def _make_client(options: argparse.Namespace) -> Any:
    from plm.teacher.client import Client

    return Client(
        options.base_url, _work_folder(options) / "replies", options.api_key_variable, options.concurrency,
        options.requests_per_minute, options.timeout, options.patience,
    )  # fmt: skip


def _prices(options: argparse.Namespace) -> Any:
    from plm.teacher.meter import Prices

    return Prices(options.price_prompt, options.price_completion)


def _work_folder(options: argparse.Namespace) -> Path:
    output: Path = options.output
    return options.work or output.with_name(f"{output.name}.work")


def _report_path(output: Path) -> Path:
    return output.with_name(f"{output.name}.report.json")


def _body(options: argparse.Namespace) -> dict[str, Any]:
    try:
        body = json.loads(options.body)
    except ValueError as error:
        raise PlmError(f"--body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise PlmError(f'--body is {options.body}; it must be an object, such as {{"max_tokens": null}}')
    return body


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "plm prepare",
        description="Makes C++ problems of APPS and MBPP with a teacher behind an OpenAI-compatible endpoint. The same "
        "command goes on where it was stopped; nothing is asked for twice.",
    )
    add = parser.add_argument
    add("task", choices=TASKS, help="what to make: code")
    add("--apps", nargs="+", default=[], help="APPS: files, a folder, a .tar.gz, or a data set of the hub")
    add("--mbpp", nargs="+", default=[], help="MBPP: files, or a data set of the hub")
    add("--output", type=Path, required=True, help="the file to write, .jsonl, for plm.datamodules.CodeFiles")
    add("--model", required=True, help="the teacher, as its endpoint names it")
    add("--base-url", default="https://api.openai.com/v1", help="of the endpoint (default: OpenAI's)")
    add("--api-key-variable", default="OPENAI_API_KEY", help="environment variable with the key")
    add("--dry-run", action="store_true", help="only say what it would cost")
    add("--price-prompt", type=_positive, help="price of a million tokens of prompts")
    add("--price-completion", type=_positive, help="price of a million tokens of completions")
    add("--limit", type=_count, help="only so many problems, chosen at random, the same ones each time")
    add("--samples", type=_count, default=10, help="programs sampled at T = 1 for each problem (default: 10)")
    add("--choices", type=_count, default=10, help="texts in one request; 1 where there is no `n` (default: 10)")
    add("--attempts", type=_count, default=2, help="how often a translation is asked for (default: 2)")
    add("--max-tokens", type=_count, default=4096, help="length limit of a reply (default: 4096)")
    add("--body", default="{}", help="JSON object of more fields of each request; null takes one away")
    add("--concurrency", type=_count, default=16, help="requests under way at once (default: 16)")
    add("--requests-per-minute", type=_positive, help="a limit of your own")
    add("--timeout", type=_positive, default=180.0, help="seconds for one reply (default: 180)")
    add("--patience", type=_positive, default=600.0, help="seconds for which a failing request is tried (default: 600)")
    add("--competition", action="store_true", help="keep problems of competition level")
    add("--work", type=Path, help="folder of replies and verdicts (default: OUTPUT.work)")
    add("--unsafe", action="store_true", help="run programs without isolation where there is none")
    return parser


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value
