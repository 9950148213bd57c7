"""Who makes the runs of a study: processes on this machine, or those of a Ray cluster."""

from __future__ import annotations

import functools
import json
import math
import os
import select
import selectors
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from plm.errors import PlmError
from plm.processes import CHILD, GRACE_SECONDS, become_child

WORKER = "plm.studies.worker"
LEAST_SHARE = 0.01  # of a core or a GPU, for each run
SLACK = 1e-9  # what rounding takes off 1 / 0.1
RUNS_A_WORKER = 100  # then a new one starts: whatever a library leaves behind in a process goes with it


@dataclass(frozen=True)
class Job:
    """A run to make.

    Attributes:
        run: Its id.
        args: The command line after `plm`.
        log: Where what it prints goes.
    """

    run: str
    args: Sequence[str]
    log: Path


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        slot: Where it was made.
        run: Its id.
        code: Exit code, 0 where all went well.
        seconds: Wall time.
        error: One line; None where all went well.
        cpu_seconds: What it used of the processors; None where nobody knows.
    """

    slot: int
    run: str
    code: int
    seconds: float
    error: str | None = None
    cpu_seconds: float | None = None


class Executor(ABC):
    """Makes runs in slots, one at a time in each.

    Attributes:
        slots: How many there are.
    """

    slots: int

    @abstractmethod
    def idle(self) -> list[int]:
        """Slots that a job can be handed to now."""

    @abstractmethod
    def submit(self, slot: int, job: Job) -> None:
        """Hands a job to an idle slot."""

    @abstractmethod
    def wait(self, seconds: float) -> list[Ended]:
        """The jobs that have ended; waits for one as long as this."""

    @abstractmethod
    def close(self) -> None:
        """Stops everything that still works, and waits for its end."""


class Worker:
    """A process of `plm.studies.worker`, which never outlives the one that started it.

    Args:
        environment: Its environment.
        program: Module that it runs.
    """

    def __init__(self, environment: Mapping[str, str], program: str = WORKER) -> None:
        reading, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", program, str(writing)],
            stdin=subprocess.PIPE,
            text=True,
            env={**environment, CHILD: "1"},
            pass_fds=(writing,),
            preexec_fn=functools.partial(become_child, os.getpid()),
        )
        os.close(writing)
        self.answers: IO[str] = os.fdopen(reading, encoding="utf-8")
        self.death = os.pidfd_open(self.process.pid)  # readable when it ends; a grandchild may hold the pipe open
        self.job: Job | None = None
        self.begun = 0.0
        self.runs = 0

    def ask(self, request: Mapping[str, Any]) -> None:
        """Sends a request; a process that has died says so when it is asked for the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def start(self, job: Job) -> None:
        """Starts a job."""
        self.job, self.begun, self.runs = job, time.monotonic(), self.runs + 1
        self.ask({"run": job.run, "args": list(job.args), "log": str(job.log)})

    def answer(self) -> dict[str, Any] | None:
        """The next answer; None if the process has died."""
        line = self.answers.readline()
        return json.loads(line) if line.endswith("\n") else None

    def ended(self, slot: int) -> Ended:
        """How the job ended; waits for the end of the job or of the process."""
        job = self.job
        assert job is not None
        self.job = None
        pipe = self.answers.fileno()
        readable, _, _ = select.select([pipe, self.death], [], [])
        answer = self.answer() if pipe in readable else None
        if answer is not None:
            return Ended(slot, job.run, answer["code"], answer["seconds"], answer.get("error"), answer["cpu_seconds"])
        code = self.process.wait()
        why = f"the process was ended by signal {-code}" if code < 0 else f"the process ended with code {code}"
        more = "; the machine may be out of memory" if code == -9 else ""
        return Ended(slot, job.run, code or 1, time.monotonic() - self.begun, why + more)

    def stop(self) -> None:
        """Ends the process: at once if it is idle, in order if it works."""
        if self.process.poll() is None and self.job is not None:
            self.process.terminate()
        if self.process.stdin and not self.process.stdin.closed:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                pass

    def join(self, until: float) -> None:
        """Waits for the end of a stopped process, and kills it where that does not come."""
        try:
            self.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.answers.close()
        os.close(self.death)


def worker_environment(threads: int, gpu: str | None = None) -> dict[str, str]:
    """The environment of a worker: how many threads it has, and which GPU."""
    environment = {**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": "false"}
    environment.setdefault("OMP_NUM_THREADS", str(threads))
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    return environment


class LocalExecutor(Executor):
    """Processes on this machine.

    Args:
        jobs: How many.
        gpus: What `CUDA_VISIBLE_DEVICES` is in the processes, in turn; nothing is said where there are none.
        first: A worker that is there already.
        program: Module that the workers run.
    """

    def __init__(self, jobs: int, gpus: Sequence[str] = (), first: Worker | None = None, program: str = WORKER) -> None:
        if jobs < 1:
            raise PlmError(f"--jobs is {jobs}; it must be at least 1")
        self.slots = jobs
        threads = max(1, cores() // jobs)
        self._environments = [
            worker_environment(threads, gpus[slot % len(gpus)] if gpus else None) for slot in range(jobs)
        ]
        self._program = program
        self._workers: dict[int, Worker] = {}
        self._selector = selectors.DefaultSelector()
        if first:
            self._take(0, first)

    def idle(self) -> list[int]:
        """Slots without a job."""
        return [
            slot
            for slot in range(len(self._environments))
            if slot not in self._workers or self._workers[slot].job is None
        ]

    def submit(self, slot: int, job: Job) -> None:
        """Hands a job to the slot's process, a new one where there is none or it has made its share."""
        worker = self._workers.get(slot)
        if worker is not None and (worker.runs >= RUNS_A_WORKER or worker.process.poll() is not None):
            self._drop(slot)
            worker = None
        if worker is None:
            worker = Worker(self._environments[slot], self._program)
            self._take(slot, worker)
        worker.start(job)

    def wait(self, seconds: float) -> list[Ended]:
        """The jobs that have ended."""
        found = []
        for slot in {int(key.data) for key, _ in self._selector.select(seconds)}:
            worker = self._workers[slot]
            idle = worker.job is None
            if not idle:
                found.append(worker.ended(slot))
            if idle or worker.process.poll() is not None:  # an idle process has nothing to say but its end
                self._drop(slot)
        return found

    def close(self) -> None:
        """Stops all processes."""
        for worker in self._workers.values():
            worker.stop()
        until = time.monotonic() + GRACE_SECONDS / 2
        for slot in list(self._workers):
            self._drop(slot, until)
        self._selector.close()

    def _take(self, slot: int, worker: Worker) -> None:
        self._workers[slot] = worker
        self._selector.register(worker.answers, selectors.EVENT_READ, slot)
        self._selector.register(worker.death, selectors.EVENT_READ, slot)

    def _drop(self, slot: int, until: float | None = None) -> None:
        worker = self._workers.pop(slot)
        self._selector.unregister(worker.answers)
        self._selector.unregister(worker.death)
        worker.stop()
        worker.join(time.monotonic() + 1 if until is None else until)


def slots_on(cpus: float, gpus: float, each_cpus: float, each_gpus: float) -> int:
    """How many runs one machine has room for at a time.

    A share of a GPU is one of one GPU: of two GPUs, two runs of 0.6 each have room, not three.

    Args:
        cpus: Cores of the machine.
        gpus: Its GPUs.
        each_cpus: Cores of each run.
        each_gpus: Share of a GPU of each run; 0 for none.
    """
    by_cores = int(cpus / each_cpus + SLACK)
    return min(by_cores, slots_on_gpus(int(gpus), each_gpus)) if each_gpus else by_cores


def slots_on_gpus(gpus: int, share: float) -> int:
    """How many runs so many GPUs have room for, each with its share of one of them."""
    return gpus * int(1 / share + SLACK)


def check_shares(cpus: float, gpus: float | None) -> None:
    """Refuses what no run can have.

    Args:
        cpus: Cores of each run.
        gpus: Share of a GPU of each run; None where nothing is said.

    Raises:
        PlmError: If one of them is no share, cores above 1 are not whole, or there is more than one GPU.
    """
    if not (math.isfinite(cpus) and cpus >= LEAST_SHARE and (cpus < 1 or cpus == int(cpus))):
        raise PlmError(f"--cpus is {cpus:g}; it must be a whole number, or a share of a core such as 0.5")
    if gpus is not None and gpus != 0 and not LEAST_SHARE <= gpus <= 1:
        raise PlmError(
            f"--gpus is {gpus:g}; it must be 0, or a share of one GPU such as 0.25, or 1: a run of a study is one "
            "process on one GPU (docs/distributed.md has runs on several)"
        )


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, found without starting CUDA."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each for each in named.split(",") if each.strip() not in ("", "-1")]
    try:
        listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(index) for index, _ in enumerate(listed.stdout.splitlines())] if listed.returncode == 0 else []
