"""One run on several processes: who does which share of the work, and how all of them come to know the whole of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch.distributed as dist

from plm.errors import PlmError

T = TypeVar("T")
R = TypeVar("R")

WATCH_SECONDS = 1.0
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


def end_with_parent() -> None:
    """Ends this process soon after the one that started it, which may have been killed while this one waits for it."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="end-with-parent").start()
