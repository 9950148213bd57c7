"""What became of every problem, for a file and for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from plm.teacher.candidate import Candidate
from plm.teacher.client import Client
from plm.teacher.critique import Critique
from plm.teacher.estimate import Estimate
from plm.teacher.math_setting import ToldProblem
from plm.teacher.meter import Meter, Prices
from plm.teacher.teacher import Draft, live

WHY = {
    "competition": "of competition level",
    "none": "without tests",
    "too long": "no test is short enough",
    "disagrees": "the published Python program gives other outputs than the tests",
    "unusable": "the teacher's translation is not in the form asked for",
    "no program": "there is no program in the teacher's solution",
    "not solved": "the teacher's program fails a test",
    "no sample": "no sample holds a program",
    "refused": "the endpoint refuses the request (too long, filtered)",
    "malformed": "the endpoint's replies are none",
    "long": "statement or program is too long to show",
    "reference": "the program that should be correct fails a test",
    "no break": "the teacher's reply is not in the form asked for",
    "harmless": "the broken program passes all tests",
    "compile": "the broken program does not compile",
    "too much": "problem or solution is too long to show",
    "latex": "LaTeX is left in the translation",
    "not Spanish": "the translation is not in Spanish",
    "numbers": "the translation has lost or added numbers of the problem",
    "steps": "the translation leaves steps out",
    "answer": "the translation's final answer is not the original's, or cannot be read",
    "copy": "in Spanish it says the same as a problem of another split",
    "unanswered": "no answer of a policy is left, and a lock needs one",
}
_SHOWN = 3


def make_report(
    read: int, left_out: Mapping[str, str], candidates: Sequence[Candidate], client: Client, meter: Meter
) -> dict[str, Any]:
    """Counts what happened.

    Args:
        read: Problems that were read.
        left_out: Id → key of `WHY`, of the problems that never became candidates.
        candidates: All others.
        client: With its counts.
        meter: With its counts.

    Returns:
        Plain data for JSON; `dropped` names every dropped problem.
    """
    kept = live(candidates)
    dropped = [{"id": id, "reason": reason, "detail": ""} for id, reason in left_out.items()]
    dropped += [_why(one) for one in candidates if one.dropped]
    return {
        "read": read,
        "kept": len(kept),
        "kept_by_difficulty": dict(Counter(one.problem.difficulty for one in kept)),
        "verified": dict(Counter(one.verified for one in kept)),
        "tests": sum(len(one.as_problem().tests) for one in kept),
        "samples": {
            "drawn": sum(one.drawn for one in kept),
            "unique": sum(len(one.samples) for one in kept),
            "unique_correct": sum(one.correct for one in kept),
        },
        "dropped_by_reason": dict(Counter(row["reason"] for row in dropped).most_common()),
        **_spent(client, meter),
        "dropped": dropped,
    }  # fmt: skip


def make_critique_report(read: int, critiques: Sequence[Critique], client: Client, meter: Meter) -> dict[str, Any]:
    """Counts what happened to the problems whose programs were to be broken; `failed` says how the broken ones fail."""
    kept = live(critiques)
    dropped = [_why(one) for one in critiques if one.dropped]
    return {
        "read": read,
        "kept": len(kept),
        "failed": dict(Counter(one.failed for one in kept).most_common()),
        "dropped_by_reason": dict(Counter(row["reason"] for row in dropped).most_common()),
        **_spent(client, meter),
        "dropped": dropped,
    }


def make_math_setting_report(drafts: Sequence[ToldProblem], client: Client, meter: Meter) -> dict[str, Any]:
    """Counts what happened to the problems that were to be translated, and to the answers to those that are kept."""
    kept = live(drafts)
    dropped = [_why(one) for one in drafts if one.dropped]
    answers = [answer for one in kept for answer in one.answers]
    lost = [_why(one) | {"policy": one.policy} for one in answers if one.dropped]
    return {
        "read": len(drafts),
        "kept": len(kept),
        "kept_by_split": dict(Counter(one.split for one in kept)),
        "with_pictures": sum(any(one.shown.pictures.values()) for one in kept),
        "answers": {
            "given": dict(Counter(one.policy for one in answers)),
            "told": dict(Counter(one.policy for one in live(answers))),
            "dropped_by_reason": dict(Counter(row["reason"] for row in lost).most_common()),
            "dropped": lost,
        },
        "dropped_by_reason": dict(Counter(row["reason"] for row in dropped).most_common()),
        **_spent(client, meter),
        "dropped": dropped,
    }


def _why(one: Draft[Any]) -> dict[str, str]:
    return {"id": one.problem.id, "reason": one.dropped, "detail": one.detail}


def _spent(client: Client, meter: Meter) -> dict[str, Any]:
    """Replies, tokens and cost: all that the data need, and what this run has paid for."""
    cost = meter.prices.cost(meter.prompt_tokens, meter.completion_tokens)
    paid = meter.prices.cost(meter.paid_prompt_tokens, meter.paid_completion_tokens)
    return {
        "tokens": {"prompt": meter.prompt_tokens, "completion": meter.completion_tokens, "cost": cost},
        "this_run": {
            **asdict(client.counts), "prompt_tokens": meter.paid_prompt_tokens,
            "completion_tokens": meter.paid_completion_tokens, "cost": paid,
        },
        "replies_without_token_counts": meter.uncounted,
    }  # fmt: skip


def print_report(report: Mapping[str, Any], unusable: Sequence[Mapping[str, str]]) -> None:
    """Prints a small table about C++ problems, and the first replies that could not be used."""
    samples = report["samples"]
    rows = {f"  tests verified by the {name}": count for name, count in sorted(report["verified"].items())}
    rows |= {
        "programs sampled at T = 1": samples["drawn"],
        "  without exact duplicates": samples["unique"],
        "  of which pass the tests": samples["unique_correct"],
    }
    _print("APPS and MBPP as C++ problems", report, rows, unusable)


def print_critique_report(report: Mapping[str, Any], unusable: Sequence[Mapping[str, str]]) -> None:
    """Prints a small table about broken programs, and the first replies that could not be used."""
    _print("broken programs and critiques", report, {f"  {key}": n for key, n in report["failed"].items()}, unusable)


def print_math_setting_report(report: Mapping[str, Any], unusable: Sequence[Mapping[str, str]]) -> None:
    """Prints a small table about translated problems, and the first replies that could not be used."""
    rows = {f"  {split}": count for split, count in report["kept_by_split"].items()}
    rows |= {"  with pictures, which stay as they are": report["with_pictures"]}
    for policy, count in report["answers"]["given"].items():
        told = report["answers"]["told"].get(policy, 0)
        rows |= {f"answers of {policy}": count, f"answers of {policy}, translated": told}
    _print("MATH in Spanish with ASCII-Math", report, rows, unusable)


def _print(
    title: str, report: Mapping[str, Any], rows: Mapping[str, int], unusable: Sequence[Mapping[str, str]]
) -> None:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("problems read", f"{report['read']:,}")
    for reason, count in report["dropped_by_reason"].items():
        table.add_row(f"dropped: {WHY[reason]}", f"{count:,}")
    table.add_row("kept", f"{report['kept']:,}")
    for name, count in rows.items():
        table.add_row(name, f"{count:,}")
    now, tokens = report["this_run"], report["tokens"]
    table.add_row("replies: new, from disk", f"{now['fresh']:,}, {now['cached']:,}")
    table.add_row("replies: malformed, refused, tried again", f"{now['malformed']}, {now['refused']}, {now['retries']}")
    table.add_row("replies whose text could not be used", f"{len(unusable):,}")
    table.add_row("tokens: prompts, completions", f"{tokens['prompt']:,}, {tokens['completion']:,}")
    if tokens["cost"] is not None:
        table.add_row("cost: all, in this run", f"{tokens['cost']:,.2f}, {now['cost']:,.2f}")
    console = Console(highlight=False)
    console.print(table)
    for row in unusable[:_SHOWN]:
        console.print(f"{row['id']}, {row['step']}: {row['fault']}: {row['reply'][:120]!r}", markup=False)


def print_estimate(steps: Sequence[Estimate], prices: Prices) -> None:
    """Prints what each step will cost, as estimated."""
    table = Table(title="estimate, if no problem is dropped", title_justify="left")
    for name in ("step", "requests", "prompt tokens", "completion tokens", "cost"):
        table.add_column(name, justify="left" if name == "step" else "right")
    total = Estimate("all", *(sum(step[i] for step in steps) for i in (1, 2, 3)))  # type: ignore[misc]
    for step in (*steps, total):
        cost = prices.cost(step.prompt_tokens, step.completion_tokens)
        shown = "–" if cost is None else f"{cost:,.2f}"
        table.add_row(
            step.step, f"{step.requests:,}", f"{step.prompt_tokens:,.0f}", f"{step.completion_tokens:,.0f}", shown
        )
    console = Console(highlight=False)
    console.print(table)
    if prices.cost(0, 0) is None:
        console.print("for a cost, give --price-prompt and --price-completion, of a million tokens", soft_wrap=True)
