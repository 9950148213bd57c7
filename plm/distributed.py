"""One run on several processes: who does which share of the work, and how all of them come to know the whole of it."""

from __future__ import annotations

import atexit
import json
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch.distributed as dist
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch import Trainer

from plm.errors import PlmError
from plm.processes import CHILD, die_with
from plm.progress import console

T = TypeVar("T")
R = TypeVar("R")

PLAN = "PLM_PLAN"
GRACE_SECONDS = 6.0  # for the first process to report an error that all processes met, before another one repeats it


def launched_rank() -> int:
    """This process's rank by the environment of its launcher (Lightning's own, torchrun); 0 where there is none."""
    return int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0)


def world_size() -> int:
    """How many processes work on this run."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def in_shares(work: Callable[[list[T]], Sequence[R]], items: Sequence[T]) -> list[R]:
    """Lets each process do a share of independent items, and gives all results, in order, to all processes.

    Process r of w takes items r, r + w, r + 2w, …, so neighbours of similar cost are spread evenly. An exception in one
    share is raised by all processes: none is left waiting.

    Args:
        work: Turns items into as many results; called once in each process, also with no items.
        items: The same in every process.
    """
    world = world_size()
    if world == 1:
        return list(work(list(items)))
    rank = dist.get_rank()
    mine: list[R] = []
    problem: Exception | None = None
    try:
        mine = list(work(list(items[rank::world])))
    except Exception as error:
        problem = error
    parts: list[Any] = [None] * world
    dist.all_gather_object(parts, (mine, problem and (isinstance(problem, PlmError), repr(problem), str(problem))))
    if problem:
        raise problem
    results: dict[int, R] = {}
    for other, (part, failure) in enumerate(parts):
        if failure:
            mendable, shown, text = failure
            raise PlmError(text) if mendable else RuntimeError(f"process {other} failed: {shown}")
        results.update(zip(range(other, len(items), world), part, strict=True))
    return [results[index] for index in range(len(items))]


def from_first(value: T) -> T:
    """The first process's value, in all processes."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0)
    return box[0]


def from_all(values: Sequence[T]) -> list[T]:
    """The values of all processes, one process after the other, in all processes."""
    if world_size() == 1:
        return list(values)
    parts: list[Any] = [None] * world_size()
    dist.all_gather_object(parts, list(values))
    return [value for part in parts for value in part]


def become_follower() -> None:
    """Makes this process, which is not the first, silent, and ends it with the one that started it."""
    console.quiet = True
    os.environ[CHILD] = "1"
    die_with(os.getppid())


def share_plan(trainer: Trainer, plan: dict[str, Any]) -> None:
    """Tells the other processes what the first one found to do, before Lightning connects them.

    Args:
        trainer: The run's.
        plan: Plain values.
    """
    if trainer.world_size == 1:
        return
    if isinstance(_environment(trainer), LightningEnvironment):
        os.environ[PLAN] = json.dumps(plan)  # the other processes are started later, with this environment
    else:
        _connect(trainer)
        from_first(plan)


def receive_plan(trainer: Trainer) -> dict[str, Any]:
    """What the first process found to do.

    Raises:
        PlmError: If this process was started in a way that plm does not know.
    """
    plan: dict[str, Any] = {}
    if not isinstance(_environment(trainer), LightningEnvironment):
        _connect(trainer)
        return from_first(plan)
    if PLAN not in os.environ:
        raise PlmError("LOCAL_RANK is set, but no first process started this one: use torchrun, or unset LOCAL_RANK")
    plan = json.loads(os.environ[PLAN])
    return plan


def _environment(trainer: Trainer) -> ClusterEnvironment | None:
    return getattr(trainer.strategy, "cluster_environment", None)


def _connect(trainer: Trainer) -> None:
    """Connects processes that a launcher started; Lightning finds them connected and leaves it at that."""
    environment = _environment(trainer)
    assert environment is not None
    address = f"tcp://{environment.main_address}:{environment.main_port}"
    if "TORCHELASTIC_RUN_ID" in os.environ:  # its agent holds the store already
        address = "env://"
    dist.init_process_group(init_method=address, rank=trainer.global_rank, world_size=trainer.world_size)
    atexit.register(dist.destroy_process_group)
