"""Runs of a study on a Ray cluster, or on this machine through Ray: the extra `cluster` installs it.

Every machine needs plm, the configs and the folder of all runs under the same path, as a shared file system gives them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from plm.errors import PlmError
from plm.studies.executor import (
    RUNS_A_WORKER,
    WORKER,
    Ended,
    Executor,
    Job,
    Worker,
    cores,
    slots_on,
    worker_environment,
)

PASSED_ON = ("OMP_NUM_THREADS", "HF_HOME", "HF_HUB_OFFLINE", "PYTHONPATH", "CPLUS_INCLUDE_PATH")


class Host:
    """What Ray keeps alive somewhere in the cluster: a worker process, started anew where it has died.

    Args:
        folder: The working directory, in which relative paths have their meaning.
        environment: Variables of the one who asks that count there too.
        threads: Of the worker.
        program: Module that the worker runs.
    """

    def __init__(self, folder: str, environment: Mapping[str, str], threads: int, program: str) -> None:
        os.chdir(folder)
        os.environ.update(environment)
        self._threads, self._program = threads, program
        self._worker: Worker | None = None

    def run(self, run: str, args: list[str], log: str) -> dict[str, Any]:
        """Makes a run; returns the fields of `Ended` but the slot."""
        if self._worker is not None and (self._worker.runs >= RUNS_A_WORKER or self._worker.process.poll() is not None):
            self._worker.stop()
            self._worker.join(time.monotonic() + 1)
            self._worker = None
        if self._worker is None:
            self._worker = Worker(worker_environment(self._threads), self._program)
        self._worker.start(Job(run, args, Path(log)))
        ended = asdict(self._worker.ended(0))
        del ended["slot"]
        return ended


class RayExecutor(Executor):
    """Slots are Ray actors; no more jobs than slots are ever submitted.

    Args:
        address: Of a cluster, `auto` for the one that this machine belongs to; None starts Ray here, for as long as
            the study runs.
        jobs: Slots; None for as many as the cluster's machines have room for.
        gpus: Of each slot, also a share of one; None for one where the cluster has any.
        cpus: Of each slot.
        program: Module that the workers run.
    """

    def __init__(
        self,
        address: str | None,
        jobs: int | None,
        gpus: float | None = None,
        cpus: float = 1.0,
        program: str = WORKER,
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise PlmError("the executor ray needs Ray: pip install -e '.[cluster]' in plm's checkout") from error
        self._ray = ray
        self._cpus, self._program = cpus, program
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # what ray will do by default
        here = {"num_cpus": max(cores(), jobs or 0)} if address is None else {}
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level="ERROR", **here)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = address or "this machine"
            raise PlmError(f"Ray cannot be reached at {where}: {' '.join(str(error).split())}") from error
        self._gpus = (1.0 if "GPU" in ray.cluster_resources() else 0.0) if gpus is None else gpus
        self.slots = self._room() if jobs is None else min(jobs, self._room())
        if self.slots < 1:
            ray.shutdown()
            raise PlmError(
                f"no machine of the cluster has room for a run of {cpus:g} cores and {self._gpus:g} GPUs: lower --cpus "
                "or --gpus"
            )
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, tuple[int, Job, float]] = {}  # Ray's handle → slot, job, begin

    def idle(self) -> list[int]:
        """Slots without a job."""
        busy = {slot for slot, _, _ in self._pending.values()}
        return [slot for slot in range(self.slots) if slot not in busy]

    def submit(self, slot: int, job: Job) -> None:
        """Hands a job to the slot's actor, a new one where there is none."""
        if slot not in self._actors:
            self._actors[slot] = self._actor()
        handle = self._actors[slot].run.remote(job.run, list(job.args), str(job.log))
        self._pending[handle] = (slot, job, time.monotonic())

    def wait(self, seconds: float) -> list[Ended]:
        """The jobs that have ended."""
        if not self._pending:
            time.sleep(seconds)
            return []
        done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=seconds)
        return [self._ended(handle) for handle in done]

    def _ended(self, handle: Any) -> Ended:
        slot, job, begun = self._pending.pop(handle)
        try:
            return Ended(slot, **self._ray.get(handle))
        except self._ray.exceptions.RayError as failure:
            del self._actors[slot]  # the next job finds another place
            said = str(failure).strip().splitlines() or [type(failure).__name__]
            return Ended(slot, job.run, 1, time.monotonic() - begun, f"Ray: {said[0]}")

    def close(self) -> None:
        """Ends all actors, and with them their workers; Ray itself too where it was started here."""
        for actor in self._actors.values():
            with contextlib.suppress(Exception):  # of an actor that has died already
                self._ray.kill(actor)
        self._ray.shutdown()

    def _actor(self) -> Any:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        if not self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = ""  # Ray leaves it as it is there
        remote = self._ray.remote(num_cpus=self._cpus, num_gpus=self._gpus, max_restarts=0)(Host)
        return remote.remote(os.getcwd(), environment, max(1, int(self._cpus)), self._program)

    def _room(self) -> int:
        """How many slots the machines have room for, each by itself: an actor never has parts of two."""
        machines = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]
        return sum(slots_on(each.get("CPU", 0), each.get("GPU", 0), self._cpus, self._gpus) for each in machines)
