"""Grades C++ programs by their tests."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Literal, NamedTuple

from plm.errors import PlmError
from plm.graders.compare import is_same_output
from plm.graders.cpp import MAX_BATCH, Compiled, Compiler
from plm.graders.extract import extract_code, looks_like_program
from plm.graders.plain import Plain, make_plain
from plm.graders.runner import DriverDied, Limits, Session
from plm.graders.sandbox import Isolation, find_isolation, works
from plm.graders.toolchain import Toolchain, load_toolchain
from plm.records import Grade, IOTest, Problem

_MAX_CACHED = 200_000


class _Job(NamedTuple):
    program: str
    tests: tuple[IOTest, ...]


class _Verdict(NamedTuple):
    reason: str
    seconds: float


Verdicts = dict[_Job, _Verdict]


class CodeGrader:
    """Compiles programs and runs them on tests; correct means every test's output, in time, and no file written.

    Our choices where the rule leaves it open: each test has `time_limit` of CPU time, so that a busy machine changes
    no verdict; exit status 0 is needed whatever was printed; grading stops at a program's first failing test; the
    compiler is g++ with C++17, and a forgotten include of a standard header is forgiven. Verdicts are kept in memory,
    so a program that was graded on the same tests is not run again; graders of the same limits can share what they
    have kept.

    Args:
        time_limit: CPU time of each test, in seconds.
        wall_limit: Time on the clock of each test, in seconds, for programs that sleep; at least 5 is wise.
        memory_mb: Address space of each program, in MB.
        output_mb: Standard output of each test, in MB; a program that writes as much has failed.
        workers: How many programs run at once; by default one for each processor that this process may use, or as many
            as `OMP_NUM_THREADS` says where these are fewer (a study's runs share the machine).
        optimization: The level after g++'s `-O`. 0 compiles fastest; 2 runs programs that compute a lot 3 to 10 times
            faster.
        batched: Whether plain programs share a translation unit. Verdicts are the same without, 20 times slower.
        isolation: The kind of sandbox, by default the first of `bubblewrap` and `namespaces` that works here.
        unsafe: Whether to run programs without isolation where no kind works (or `isolation` is `none`).
        verdicts: Where verdicts are kept; what another grader *of the same settings* has kept in it is believed.
    """

    def __init__(
        self,
        *,
        time_limit: float = 0.5,
        wall_limit: float = 5.0,
        memory_mb: int = 512,
        output_mb: float = 4.0,
        workers: int | None = None,
        optimization: int = 0,
        batched: bool = True,
        isolation: Literal["auto", "bubblewrap", "namespaces", "none"] = "auto",
        unsafe: bool = False,
        verdicts: Verdicts | None = None,
    ) -> None:
        for name, value in (
            ("time_limit", time_limit),
            ("wall_limit", wall_limit),
            ("memory_mb", memory_mb),
            ("output_mb", output_mb),
        ):
            if not value > 0:
                raise PlmError(f"{name} is {value}; it must be above 0")
        if workers is not None and workers < 1:
            raise PlmError(f"workers is {workers}; it must be at least 1")
        if isolation == "none" and not unsafe:
            raise PlmError("isolation is none; that needs unsafe=True, for programs can then read your files")
        self._limits = Limits(time_limit, max(wall_limit, time_limit), memory_mb << 20, int(output_mb * (1 << 20)))
        self._workers = workers or _processors()
        self._optimization, self._batched, self._asked, self._unsafe = optimization, batched, isolation, unsafe
        self._ready: tuple[Toolchain, Isolation] | None = None
        self._cache: Verdicts = {} if verdicts is None else verdicts

    def grade(
        self,
        problems: Sequence[Problem],
        completions: Sequence[str],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> list[Grade]:
        """Grades `completions[i]` by the tests of `problems[i]`.

        Args:
            problems: Problems with tests.
            completions: Programs, or whole replies with a program in a fenced block.
            progress: Called with the number of completions just graded, from this thread.

        Returns:
            One verdict for each completion.

        Raises:
            PlmError: If a problem has no tests, g++ is not installed, there is no way to isolate programs, or this
                machine does not let them be compiled or run; then no verdict is given.
        """
        if len(problems) != len(completions):
            raise PlmError(f"{len(problems)} problems but {len(completions)} completions; give one for each")
        for problem in problems:
            if not problem.tests:
                raise PlmError(f"problem {problem.id} has no tests; programs are graded by their tests")
        jobs = [_Job(extract_code(text), problem.tests) for problem, text in zip(problems, completions, strict=True)]
        new = list(dict.fromkeys(job for job in jobs if job not in self._cache and looks_like_program(job.program)))
        if progress:
            progress(len(jobs) - len(new))
        fresh = self._grade_jobs(new, progress) if new else {}
        verdicts = [fresh.get(job) or self._cache.get(job) or _Verdict("parse", 0.0) for job in jobs]
        if len(self._cache) + len(fresh) > _MAX_CACHED:
            self._cache.clear()
        self._cache.update(fresh)
        return [
            Grade(reason == "correct", float(reason == "correct"), job.program, reason, seconds)
            for job, (reason, seconds) in zip(jobs, verdicts, strict=True)
        ]

    def prepare(self) -> tuple[Toolchain, Isolation]:
        """Finds the compiler and the sandbox, and builds what they need; `grade` does so by itself.

        Raises:
            PlmError: If g++ is not installed, or there is no way to isolate programs.
        """
        if self._ready is None:
            tools = load_toolchain(self._optimization)
            kind = find_isolation(tools.launcher, unsafe=self._unsafe) if self._asked == "auto" else self._asked
            if kind != "none" and not works(kind, tools.launcher):
                raise PlmError(f"isolation is {kind}, which does not work on this machine; use auto")
            self._ready = tools, kind
        return self._ready

    def _grade_jobs(self, jobs: list[_Job], progress: Callable[[int], None] | None) -> dict[_Job, _Verdict]:
        tools, isolation = self.prepare()
        with tempfile.TemporaryDirectory(prefix="plm-code-", ignore_cleanup_errors=True) as folder:
            stop = threading.Event()
            work = _Work(Compiler(tools, isolation, Path(folder), stop), self._limits, jobs)
            verdicts, batches, alone = work.sort(self._batched, self._workers)
            if progress:
                progress(len(verdicts))
            pool = ThreadPoolExecutor(self._workers, thread_name_prefix="plm-grader")
            try:
                pending: set[Future[_Part]] = {pool.submit(work.grade_batch, batch) for batch in batches}
                pending |= {pool.submit(work.grade_alone, number) for number in alone}
                while pending:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    for part in [future.result() for future in done]:
                        verdicts |= part.verdicts
                        pending |= {pool.submit(work.grade_alone, number) for number in part.alone}
                        if progress:
                            progress(len(part.verdicts))
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)
        return {jobs[number]: verdict for number, verdict in verdicts.items()}


class _Part(NamedTuple):
    verdicts: dict[int, _Verdict]
    alone: list[int]


class _Work:
    """The jobs of one call, by number, and what worker threads do with them."""

    def __init__(self, compiler: Compiler, limits: Limits, jobs: Sequence[_Job]) -> None:
        self._compiler, self._limits, self._jobs, self._stop = compiler, limits, jobs, compiler.stop

    def sort(self, batched: bool, workers: int) -> tuple[dict[int, _Verdict], list[dict[int, Plain]], list[int]]:
        """Splits the jobs into those with a verdict already, batches, and those to be compiled alone."""
        verdicts: dict[int, _Verdict] = {}
        plain: dict[int, Plain] = {}
        alone: list[int] = []
        tools = self._compiler.toolchain
        for number, job in enumerate(self._jobs):
            made = make_plain(job.program, tools.names, tools.macros) if batched else "alone"
            if made == "alone":
                alone.append(number)
            elif made == "broken":
                verdicts[number] = _Verdict("compile", 0.0)
            elif isinstance(made, Plain):
                plain[number] = made
        rounds = -(-len(plain) // (MAX_BATCH * workers))
        size = -(-len(plain) // (rounds * workers)) if plain else 1
        keys = list(plain)
        batches = [{key: plain[key] for key in keys[i : i + size]} for i in range(0, len(keys), size)]
        return verdicts, batches, alone

    def grade_batch(self, batch: Mapping[int, Plain]) -> _Part:
        compiled, alone = self._compiler.compile_batch(batch)
        verdicts = {number: _Verdict("compile", 0.0) for number, made in compiled.items() if made is None}
        groups: dict[Path, dict[int, Compiled]] = {}
        for number, made in compiled.items():
            if made is not None:
                groups.setdefault(made.executable, {})[number] = made
        for executable, group in groups.items():
            verdicts |= self._run_group(group)
            executable.unlink()
        return _Part(verdicts, alone)

    def grade_alone(self, number: int) -> _Part:
        made = None if self._stopped() else self._compiler.compile_alone(self._jobs[number].program)
        if made is None:
            return _Part({number: _Verdict("compile", 0.0)}, [])
        part = _Part(self._run_group({number: made}), [])
        made.executable.unlink()
        return part

    def _run_group(self, group: Mapping[int, Compiled]) -> dict[int, _Verdict]:
        """Runs the programs of one executable in one sandbox; one that takes the sandbox down twice has crashed."""
        tools = self._compiler.toolchain
        verdicts: dict[int, _Verdict] = {}
        failures: dict[int, int] = {}
        while len(verdicts) < len(group) and not self._stopped():
            first = next(iter(group.values()))
            with Session(tools, self._compiler.isolation, first, self._limits, self._stop) as session:
                for number in [number for number in group if number not in verdicts]:
                    try:
                        verdicts[number] = self._run_tests(session, group[number].index, self._jobs[number].tests)
                    except DriverDied:
                        failures[number] = failures.get(number, 0) + 1
                        if failures[number] > 1:
                            verdicts[number] = _Verdict("crash", 0.0)
                        break
        return verdicts

    def _stopped(self) -> bool:
        return self._stop is not None and self._stop.is_set()

    def _run_tests(self, session: Session, index: int, tests: Sequence[IOTest]) -> _Verdict:
        seconds = 0.0
        for test in tests:
            outcome = session.run(index, test.input.encode("utf-8", "surrogatepass"))
            seconds += outcome.seconds
            if outcome.reason != "exit":
                return _Verdict(outcome.reason, seconds)
            if not is_same_output(test.output, outcome.output):
                return _Verdict("wrong", seconds)
        return _Verdict("correct", seconds)


def _processors() -> int:
    threads = os.environ.get("OMP_NUM_THREADS", "")
    mine = len(os.sched_getaffinity(0))
    return min(mine, int(threads)) if threads.isdecimal() and int(threads) > 0 else mine
