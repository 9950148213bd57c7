"""Verdicts on programs, kept on disk by content: does published Python give these outputs, does C++ pass the tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, Literal, NamedTuple

from plm.graders.code import CodeGrader
from plm.graders.compare import is_same_output
from plm.records import IOTest, Problem
from plm.teacher.python import LIMITS, PythonRunner
from plm.teacher.store import Store

_CHUNK = 256  # programs between two writes
_SHOWN = 60
# what published solutions take for granted; before the program, so that its own names win
_PRELUDE = """\
import bisect, collections, copy, functools, heapq, itertools, math, operator, random, re, string, sys
from typing import *
"""


class Verdict(NamedTuple):
    """What a published program says about tests.

    Attributes:
        reason: `agrees`; `disagrees`, ended well with another output; or `fails`, did not run to its end.
        detail: Where, in words; empty if it agrees.
    """

    reason: Literal["agrees", "disagrees", "fails"]
    detail: str


class Checks:
    """Runs programs, or finds what they did on disk.

    Args:
        store: Where verdicts are kept.
        unsafe: Whether to run programs without isolation where there is none.
    """

    def __init__(self, store: Store, *, unsafe: bool = False) -> None:
        self._store = store
        self._unsafe = unsafe
        self._grader = CodeGrader(unsafe=unsafe)
        self._workers = len(os.sched_getaffinity(0))

    def prepare(self) -> None:
        """Finds what runs programs, which the first use does by itself: before anything is paid for.

        Raises:
            PlmError: If g++ is missing or there is no way to isolate programs.
        """
        self._grader.prepare()
        _ = self._python

    @cached_property
    def _python(self) -> PythonRunner:
        return PythonRunner(unsafe=self._unsafe)

    def verify(self, jobs: Sequence[tuple[str, tuple[IOTest, ...]]], progress: Callable[[int], None]) -> list[Verdict]:
        """Runs Python programs on the inputs of tests and compares what they write, as the grader of C++ does."""

        def verify(job: tuple[str, tuple[IOTest, ...]]) -> Verdict:
            program, tests = job
            question = {
                "python": program, "version": list(sys.version_info[:3]), "tests": [list(test) for test in tests],
                "limits": [LIMITS.cpu_seconds, LIMITS.wall_seconds, LIMITS.memory_bytes, LIMITS.output_bytes],
            }  # fmt: skip
            if (known := self._store.get(question)) is not None:
                return Verdict(known["reason"], known["detail"])
            verdict = self._run(program, tests)
            self._store.put(question, verdict._asdict())
            return verdict

        verdicts: list[Verdict] = []
        with ThreadPoolExecutor(self._workers, thread_name_prefix="plm-python") as pool:
            try:
                for verdict in pool.map(verify, jobs):
                    verdicts.append(verdict)
                    progress(1)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return verdicts

    def grade(self, problems: Sequence[Problem], programs: Sequence[str], progress: Callable[[int], None]) -> list[str]:
        """What the C++ grader says about each program: `correct`, or the reason why not."""
        questions: list[Mapping[str, Any]] = [
            {"cpp": program, "tests": [list(test) for test in problem.tests]}
            for problem, program in zip(problems, programs, strict=True)
        ]
        known = [self._store.get(question) for question in questions]
        missing = [number for number, answer in enumerate(known) if answer is None]
        progress(len(known) - len(missing))
        for start in range(0, len(missing), _CHUNK):
            chunk = missing[start : start + _CHUNK]
            grades = self._grader.grade([problems[i] for i in chunk], [programs[i] for i in chunk], progress=progress)
            for number, grade in zip(chunk, grades, strict=True):
                known[number] = {"reason": grade.reason}
                self._store.put(questions[number], {"reason": grade.reason})
        return [answer["reason"] for answer in known if answer is not None]

    def _run(self, program: str, tests: Sequence[IOTest]) -> Verdict:
        text = program if "__future__" in program else _PRELUDE + program
        outcomes = self._python.run(text, [test.input for test in tests])
        for number, (test, outcome) in enumerate(zip(tests, outcomes, strict=False), 1):
            if outcome.reason != "exit":
                return Verdict("fails", f"test {number}: the Python program ends with {outcome.reason}")
            if not is_same_output(test.output, outcome.output):
                got = outcome.output[: 4 * _SHOWN].decode("utf-8", "replace")
                where = f"test {number}, input {_short(test.input)}"
                detail = f"{where}: the Python program writes {_short(got)}, the test wants {_short(test.output)}"
                return Verdict("disagrees", detail)
        return Verdict("agrees", "")


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
