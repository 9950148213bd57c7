"""Grades the style of Python programs: PEP 8 as far as `pycodestyle` checks it (TSK-8; the post's style models)."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any

from plm.errors import PlmError
from plm.graders import style_check
from plm.records import Grade, Problem

WALL_SECONDS = 60.0  # for one text: only a machine that is stuck takes so long
LEAST_STATEMENTS = 3
_A_WORKER = 128  # texts that are worth a process


class StyleGrader:
    """A text is right if it is Python, does something, and `pycodestyle` finds nothing wrong with it.

    What counts is what `pycodestyle` checks by default, lines of 79 characters included; nobody's settings and no
    `# noqa` change that. Whether the program does what was asked is not judged. Text that is no Python, is over 20,000
    characters or has a line of over 1,000 is wrong, with the reason `parse`; text with fewer than `least_statements`
    different lines that do something is wrong, with the reason `trivial`: an empty text complies with everything.

    The score is the share of lines without a violation, 0 for what is not Python or trivial. `extracted` holds the
    codes that were found, as `E225 E231`. Texts are read by a process of their own (`plm.graders.style_check`) with 2 s
    of CPU time for each and 512 MB: the parser's stack, a regular expression or a huge number can end nothing but that.

    Args:
        least_statements: How many different lines must do something; definitions, imports, `pass`, docstrings do not.
    """

    def __init__(self, least_statements: int = LEAST_STATEMENTS) -> None:
        if least_statements < 0:
            raise PlmError(f"StyleGrader's least_statements is {least_statements}; it must be at least 0")
        self.least_statements = least_statements

    def grade(
        self, problems: Sequence[Problem], completions: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Grade]:
        """Grades each completion by itself; the problems have no part in it."""
        workers = min(len(os.sched_getaffinity(0)), -(-len(completions) // _A_WORKER)) or 1

        def judge(start: int) -> list[Grade]:
            with _Process() as process:
                return [self._one(process, text, progress) for text in completions[start::workers]]

        with ThreadPoolExecutor(workers, thread_name_prefix="plm-style") as pool:
            parts = [iter(part) for part in pool.map(judge, range(workers))]
        return [next(parts[number % workers]) for number in range(len(completions))]

    def _one(self, process: _Process, text: str, progress: Callable[[int], None] | None) -> Grade:
        found = process.check(text)
        if progress:
            progress(1)
        if found["fault"]:
            return Grade(False, 0.0, "", found["fault"], found["seconds"])
        codes = " ".join(sorted(found["violations"]))
        if found["statements"] < self.least_statements:
            return Grade(False, 0.0, codes, "trivial", found["seconds"])
        score = 1.0 - found["bad"] / max(1, found["lines"])
        return Grade(not codes, score, codes, "wrong" if codes else "correct", found["seconds"])


class _Process:
    """The process that reads texts; another one takes its place after a text that ended it."""

    def __enter__(self) -> _Process:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def check(self, text: str) -> dict[str, Any]:
        """What `style_check.check` says, or what became of the process: `timeout`, `crash`."""
        if len(text) > 2 * style_check.MOST_CHARACTERS:  # blanks at its end apart, it is too long
            text = text.rstrip()[: 2 * style_check.MOST_CHARACTERS]
        for line in self._talk(json.dumps(text)):
            return dict(json.loads(line))
        status = self._stop()
        self._start()
        fault = "timeout" if status in (-signal.SIGPROF, -signal.SIGKILL) else "crash"
        return {"fault": fault, "seconds": style_check.CPU_SECONDS if fault == "timeout" else 0.0}

    def _talk(self, question: str) -> Iterator[bytes]:
        """The answer, or nothing if the process ends or does not answer."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(question.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        if poll.poll(1000 * WALL_SECONDS) and (line := self._process.stdout.readline()).endswith(b"\n"):
            yield line

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-I", style_check.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def _stop(self) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            return self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()
