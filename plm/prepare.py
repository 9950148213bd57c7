"""`plm prepare`: data made by a teacher behind an OpenAI-compatible endpoint; here C++ problems from APPS and MBPP."""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from plm.errors import PlmError
from plm.suggestions import nearest

if TYPE_CHECKING:
    from plm.teacher.checks import Checks
    from plm.teacher.client import Client
    from plm.teacher.estimate import Estimate
    from plm.teacher.meter import Meter, Prices
    from plm.teacher.replies import Request

TASKS = ("code", "critique", "math-setting")
_T = TypeVar("_T")


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
    read_body(parsed)  # before anything is read
    if parsed.task == "critique":
        from plm.prepare_critique import prepare_critique

        return prepare_critique(parsed)
    if parsed.task == "math-setting":
        from plm.prepare_math_setting import prepare_math_setting

        return prepare_math_setting(parsed)
    return prepare_code(parsed)


def prepare_code(options: argparse.Namespace) -> int:
    """Makes the file of C++ problems, or says what that would cost."""
    from plm.datamodules.code_files import AppsMbppCode, read_apps, read_mbpp
    from plm.datamodules.code_files.apps import unique

    source = AppsMbppCode(apps=options.apps, mbpp=options.mbpp, competition=options.competition)
    problems = [problem for path in source.apps for problem in read_apps(path)]
    problems += [problem for path in source.mbpp for problem in read_mbpp(path)]
    unique(problems, "the sources")
    left_out = {
        problem.id: reason for problem in problems if (reason := source.reason(problem)) in ("none", "competition")
    }
    usable = [problem for problem in problems if problem.id not in left_out]
    usable = limited(usable, options)
    if not usable:
        raise PlmError(f"none of the {len(problems)} problems read has tests and is below competition level")
    return _estimate(options, usable) if options.dry_run else _make(options, len(problems), left_out, usable)


def _make(options: argparse.Namespace, read: int, left_out: dict[str, str], usable: list[Any]) -> int:
    from plm.teacher.code import CodeTeacher
    from plm.teacher.report import make_report, print_report

    def teach(client: Client, checks: Checks, meter: Meter) -> Made:
        teacher = CodeTeacher(
            client, checks, meter, options.model, options.attempts, options.max_tokens, read_body(options),
            options.samples, options.choices,
        )  # fmt: skip
        candidates = teacher.make(usable)
        return Made(candidates, make_report(read, left_out, candidates, client, meter), teacher.unusable)

    return make(options, teach, print_report)


class Made(NamedTuple):
    """What a teacher made.

    Attributes:
        drafts: Everything that it was given.
        report: What became of it.
        unusable: Replies that were no use.
    """

    drafts: Sequence[Any]
    report: dict[str, Any]
    unusable: list[dict[str, str]]


def make(
    options: argparse.Namespace,
    teach: Callable[[Client, Checks, Meter], Made],
    show: Callable[[Mapping[str, Any], Sequence[Mapping[str, str]]], None],
    *,
    runs_programs: bool = True,
) -> int:
    """Has a teacher make data and writes them, one process at a time.

    Args:
        options: The command line.
        teach: Does the work.
        show: Prints the report.
        runs_programs: Whether programs are run, so that a compiler and a sandbox are needed.
    """
    from plm.files import exclusive_lock
    from plm.teacher.checks import Checks
    from plm.teacher.meter import Meter
    from plm.teacher.store import Store
    from plm.teacher.teacher import live

    work = work_folder(options)
    client, meter = make_client(options), Meter(read_prices(options))
    with exclusive_lock(work / "lock", f"waiting for another process that works in {work}"):
        checks = Checks(Store(work / "verdicts"), unsafe=options.unsafe)
        if runs_programs:
            checks.prepare()
        made = teach(client, checks, meter)
        report = {"model": options.model, "base_url": options.base_url, "output": str(options.output)}
        report |= made.report | {"unusable": made.unusable}
        rows = [one.as_row() for one in live(made.drafts)]
        write(options, rows, report)
    show(report, made.unusable)
    return finish(options, rows, report)


def write(options: argparse.Namespace, rows: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> None:
    """Writes the data, whole or not at all and only if there are any, and the report."""
    from plm.files import write_text_atomic

    if rows:
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text_atomic(options.output, text.encode("utf-8", "replace").decode())
    write_text_atomic(report_path(options.output), json.dumps(report, indent=1) + "\n")


def finish(options: argparse.Namespace, rows: Sequence[Mapping[str, Any]], report: Mapping[str, Any]) -> int:
    """Says where everything is; nothing left is an error."""
    from plm.teacher.report import WHY

    if not rows:
        why = "; ".join(f"{count} {WHY[reason]}" for reason, count in report["dropped_by_reason"].items())
        where = report_path(options.output)
        raise PlmError(f"no problem is left, and {options.output} is not written: {why} ({where} names each)")
    print(f"problems     {options.output}\nreport       {report_path(options.output)}")
    return 0


def _estimate(options: argparse.Namespace, usable: list[Any]) -> int:
    from plm.teacher.estimate import estimate

    return show_estimate(
        options, lambda request, is_answered: estimate(usable, request, is_answered, options.samples, options.choices)
    )


def show_estimate(
    options: argparse.Namespace,
    estimate: Callable[[Callable[[str], Request], Callable[[Request], bool]], Sequence[Estimate]],
) -> int:
    """Prints what every step would cost; asks nobody.

    Args:
        options: The command line.
        estimate: Given what makes a request of a prompt, and whether its reply is on disk, estimates the steps.
    """
    from plm.teacher.replies import chat_request
    from plm.teacher.report import print_estimate

    client = make_client(options)

    def request(text: str) -> Request:
        return chat_request(options.model, text, max_tokens=options.max_tokens, more=read_body(options))

    print_estimate(estimate(request, lambda each: client.cached(each) is not None), read_prices(options))
    return 0


def limited(problems: Sequence[_T], options: argparse.Namespace) -> list[_T]:
    """As many problems as were asked for, the same ones each time."""
    if options.limit is None or options.limit >= len(problems):
        return list(problems)
    chosen = set(random.Random(0).sample(range(len(problems)), options.limit))
    return [problem for number, problem in enumerate(problems) if number in chosen]


def make_client(options: argparse.Namespace) -> Client:
    """The client that the options describe."""
    from plm.teacher.client import Client

    return Client(
        options.base_url, work_folder(options) / "replies", options.api_key_variable, options.concurrency,
        options.requests_per_minute, options.timeout, options.patience,
    )  # fmt: skip


def read_prices(options: argparse.Namespace) -> Prices:
    """The prices that were given."""
    from plm.teacher.meter import Prices

    return Prices(options.price_prompt, options.price_completion)


def work_folder(options: argparse.Namespace) -> Path:
    """Where replies and verdicts are kept."""
    output: Path = options.output
    return options.work or output.with_name(f"{output.name}.work")


def report_path(output: Path) -> Path:
    """Where the report of a file of data is."""
    return output.with_name(f"{output.name}.report.json")


def read_body(options: argparse.Namespace) -> dict[str, Any]:
    """The fields that were given for every request.

    Raises:
        PlmError: If they are not a JSON object.
    """
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
        description="Makes data with a teacher behind an OpenAI-compatible endpoint. The same command goes on where it "
        "was stopped; nothing is asked for twice.",
    )
    tasks = parser.add_subparsers(dest="task", required=True, metavar="TASK")
    code = tasks.add_parser("code", help="APPS and MBPP as C++ problems", description="Makes C++ problems.")
    code.add_argument(
        "--apps", nargs="+", default=[], help="APPS: files, a folder, a .tar.gz, or a data set of the hub"
    )
    code.add_argument("--mbpp", nargs="+", default=[], help="MBPP: files, or a data set of the hub")
    code.add_argument("--samples", type=_count, default=10, help="programs at T = 1 for each problem (default: 10)")
    code.add_argument(
        "--choices", type=_count, default=10, help="texts in one request; 1 where there is no `n` (default: 10)"
    )
    code.add_argument("--competition", action="store_true", help="keep problems of competition level")
    _add_common(code, "plm.datamodules.CodeFiles", "a translation")
    _add_unsafe(code)
    critique = tasks.add_parser(
        "critique", help="correct programs broken and explained", description="Breaks programs, and says what is wrong."
    )
    critique.add_argument(
        "--problems", required=True, help="problems with tests and correct C++ programs: what `plm prepare code` made"
    )
    _add_common(critique, "plm.datamodules.CritiqueFiles", "a broken program")
    _add_unsafe(critique)
    setting = tasks.add_parser(
        "math-setting", help="MATH in Spanish with ASCII-Math", description="Translates MATH, and answers to it."
    )
    setting.add_argument(
        "--math", default="EleutherAI/hendrycks_math", help="MATH: a data set of the hub (default: %(default)s), a "
        "folder, or the file of the train problems",
    )  # fmt: skip
    setting.add_argument("--test", help="the file of the test problems, where --math is a file")
    setting.add_argument(
        "--configs", nargs="*", help="of the data set on the hub (default: its seven); none where it has a single one"
    )
    setting.add_argument(
        "--answers", nargs="+", default=[], metavar="NAME=FOLDER",
        help="answers to translate: a policy's name, and the folder of its samples (runs/samples_…)",
    )  # fmt: skip
    setting.add_argument(
        "--samples", type=_count, default=1, help="answers of each policy to each problem (default: 1)"
    )
    setting.add_argument("--seed", type=int, default=0, help="the task's, which decides the splits (default: 0)")
    setting.set_defaults(unsafe=False)  # no programs are run
    _add_common(setting, "plm.datamodules.MathFiles", "a translation")
    return parser


def _add_common(parser: argparse.ArgumentParser, reader: str, asked: str) -> None:
    """What all tasks need to know."""
    add = parser.add_argument
    add("--output", type=Path, required=True, help=f"the file to write, .jsonl, for {reader}")
    add("--model", required=True, help="the teacher, as its endpoint names it")
    add("--base-url", default="https://api.openai.com/v1", help="of the endpoint (default: OpenAI's)")
    add("--api-key-variable", default="OPENAI_API_KEY", help="environment variable with the key")
    add("--dry-run", action="store_true", help="only say what it would cost")
    add("--price-prompt", type=_positive, help="price of a million tokens of prompts")
    add("--price-completion", type=_positive, help="price of a million tokens of completions")
    add("--limit", type=_count, help="only so many problems, chosen at random, the same ones each time")
    add("--attempts", type=_count, default=2, help=f"how often {asked} is asked for (default: 2)")
    add("--max-tokens", type=_count, default=4096, help="length limit of a reply (default: 4096)")
    add("--body", default="{}", help="JSON object of more fields of each request; null takes one away")
    add("--concurrency", type=_count, default=16, help="requests under way at once (default: 16)")
    add("--requests-per-minute", type=_positive, help="a limit of your own")
    add("--timeout", type=_positive, default=180.0, help="seconds for one reply (default: 180)")
    add("--patience", type=_positive, default=600.0, help="seconds for which a failing request is tried (default: 600)")
    add("--work", type=Path, help="folder of replies and verdicts (default: OUTPUT.work)")


def _add_unsafe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--unsafe", action="store_true", help="run programs without isolation where there is none")


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
