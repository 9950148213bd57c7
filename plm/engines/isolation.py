"""Keeps what a library does to the process that it lives in away from the trainer that lives there too."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Iterator
from types import ModuleType, TracebackType
from typing import Any

import torch
import torch.distributed.distributed_c10d as c10d
from torch.distributions import Distribution

from plm.seeds import untouched_rng

# Where inference libraries put functions of their own in place of what was there. New names are left alone.
_MODULES = (torch, torch.cuda, torch.accelerator)
_NAMES: tuple[tuple[Any, str], ...] = (
    (sys, "excepthook"),
    (logging, "_logRecordFactory"),
    (Distribution, "_validate_args"),
)
# torch keeps the state of process groups in these globals, and the default group beside them.
_GROUP_TABLES = ("_pg_map", "_pg_names", "_pg_group_ranks", "_pg_backend_config", "_tags_to_pg", "_pg_to_tag")
_GROUP_NAMES_APART = 1_000_000  # names of groups are numbers, and torch's C++ side knows both worlds' groups
_FLAGS = (
    (torch.get_num_threads, torch.set_num_threads),
    (torch.get_default_dtype, torch.set_default_dtype),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
)
_FIXED = ("__dict__", "__weakref__", "__doc__", "__module__", "__abstractmethods__", "_abc_impl", "__slotnames__")
_ABSENT = object()

Attributes = dict[tuple[Any, str], Any]


class Isolation:
    """Inside a `with` block a library finds the process as it left it; outside the trainer finds it as *it* left it.

    Kept apart are: environment variables, random states, the default process group and all others, functions that are
    put in place of torch's, the methods and bases of model classes, numbers of threads and default types, the hooks for
    exceptions and log records, and objects hidden from the garbage collector. What is not: modules that are imported,
    threads that are started, the memory policy of processors with several memory nodes.

    Args:
        environment: Variables that hold inside from the first block on.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._given = environment
        self._environment: dict[str, str] | None = None
        self._groups = _no_groups()
        self._attributes: Attributes = {}
        self._stack = contextlib.ExitStack()
        self._inside = False

    def __enter__(self) -> None:
        if self._inside:
            raise RuntimeError("this block is inside another one already")
        with contextlib.ExitStack() as stack:
            for part in (untouched_rng, _flags, self._own_heap, self._own_groups, self._own_attributes, self._own_env):
                stack.enter_context(part())
            self._stack = stack.pop_all()
        self._inside = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside = False
        self._stack.__exit__(kind, error, trace)

    @contextlib.contextmanager
    def _own_env(self) -> Iterator[None]:
        outside = dict(os.environ)
        _put_environment({**outside, **self._given} if self._environment is None else self._environment)
        try:
            yield
        finally:
            self._environment = dict(os.environ)
            _put_environment(outside)

    @contextlib.contextmanager
    def _own_groups(self) -> Iterator[None]:
        outside = _take_groups()
        _put_groups(self._groups)
        try:
            yield
        finally:
            self._groups = _take_groups()
            _put_groups(outside)
            for group, name in outside["_pg_names"].items():  # destroying a default group forgets all names
                with contextlib.suppress(RuntimeError):
                    torch._C._distributed_c10d._register_process_group(name, group)

    @contextlib.contextmanager
    def _own_attributes(self) -> Iterator[None]:
        outside = _take_attributes()
        _put_attributes(self._attributes)
        try:
            yield
        finally:
            now = _take_attributes()
            self._attributes, before = _changes(outside, now)
            _put_attributes(before)

    @contextlib.contextmanager
    def _own_heap(self) -> Iterator[None]:
        """A frozen heap is never collected: garbage of the trainer that is in it stays for good."""
        frozen = gc.get_freeze_count()
        try:
            yield
        finally:
            if gc.get_freeze_count() > frozen:
                gc.unfreeze()


@contextlib.contextmanager
def _flags() -> Iterator[None]:
    values = [get() for get, _ in _FLAGS]
    try:
        yield
    finally:
        for (get, put), value in zip(_FLAGS, values, strict=True):
            if get() != value:
                put(value)  # type: ignore[operator]


def _put_environment(wanted: dict[str, str]) -> None:
    for name in os.environ.keys() - wanted.keys():
        del os.environ[name]
    for name, value in wanted.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _no_groups() -> dict[str, Any]:
    return {
        **{name: {} for name in _GROUP_TABLES},
        "_group_count": _GROUP_NAMES_APART,
        "_default_pg_init_method": None,
        "default_pg": None,
    }


def _take_groups() -> dict[str, Any]:
    names = (*_GROUP_TABLES, "_group_count", "_default_pg_init_method")
    return {**{name: getattr(c10d, name) for name in names}, "default_pg": c10d._world.default_pg}


def _put_groups(groups: dict[str, Any]) -> None:
    for name, value in groups.items():
        if name != "default_pg":
            setattr(c10d, name, value)
    c10d._world.default_pg = groups["default_pg"]


def _take_attributes() -> Attributes:
    """What functions, methods and bases are now, of everything that a library may replace."""
    taken: Attributes = {(owner, name): getattr(owner, name) for owner, name in _NAMES}
    for owner in (*_MODULES, *_model_classes()):
        taken |= {(owner, name): value for name, value in vars(owner).items() if name not in _FIXED}
        if isinstance(owner, type):
            taken[owner, "__bases__"] = owner.__bases__
    return taken


def _model_classes() -> list[type]:
    """The classes of transformers' models that are loaded."""
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("transformers.models.")]
    return [
        value
        for module in modules
        if isinstance(module, ModuleType)
        for value in list(vars(module).values())
        if isinstance(value, type) and issubclass(value, torch.nn.Module) and value.__module__ == module.__name__
    ]


def _changes(before: Attributes, after: Attributes) -> tuple[Attributes, Attributes]:
    """What was replaced, with the new and with the old values; what was added to a class counts, to a module not."""
    owners = {owner for owner, _ in before if isinstance(owner, type)}
    added = {key for key in after.keys() - before.keys() if key[0] in owners}
    keys = {key for key, value in before.items() if after.get(key, _ABSENT) is not value} | added
    keys = {key for key in keys if key[1] != "__bases__" or before[key] != after[key]}
    return (
        {key: after.get(key, _ABSENT) for key in keys},
        {key: before.get(key, _ABSENT) for key in keys},
    )


def _put_attributes(attributes: Attributes) -> None:
    for (owner, name), value in attributes.items():
        if value is _ABSENT:
            if name in vars(owner):
                delattr(owner, name)
        else:
            setattr(owner, name, value)
