"""A study's file: which runs there are, and what they are for (docs/studies.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from plm.errors import PlmError
from plm.suggestions import nearest

COMMANDS = ("fit", "validate")
ROLES = ("base", "weak", "strong", "lock", "elicit", "control")
DEVICES = ("cpu", "gpu")
THRESHOLDS = ("min_gap", "max_leak")
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Block:
    """A part of the grid: one cell, or the product of axes.

    Attributes:
        cell: Name of the cell, a pattern where there are axes.
        config: The config and what is laid over it, patterns.
        axes: By name, label → value.
        command: `fit` or `validate`.
        start: A name of the study's models, or a reference, of what is trained or measured.
        settings: Single values over the configs, by dotted key.
        control: The same for a model that never had the capability; None for no control arm.
        role: What the runs are for; the method's phase where None.
        labels: What tables and figures call it.
        figures: The paper's figures that it is a part of.
        seeds: Its own; the study's where None.
        quick: What `--quick` keeps of each axis; None where it leaves the block out.
    """

    cell: str
    config: tuple[str, ...]
    axes: Mapping[str, Values] = field(default_factory=dict)
    command: str = "fit"
    start: str | None = None
    settings: Values = field(default_factory=dict)
    control: str | None = None
    role: str | None = None
    labels: Values = field(default_factory=dict)
    figures: tuple[str, ...] = ()
    seeds: tuple[int, ...] | None = None
    quick: Mapping[str, Sequence[Any]] | None = None


@dataclass(frozen=True)
class Estimate:
    """What a run is thought to cost before one like it was measured.

    Attributes:
        seconds: Wall time.
        device: `cpu` or `gpu`.
        gigabytes: On disk when it is finished.
        checkpoint: How much of this is its last checkpoint.
        weights: How much of this are its model's weights.
    """

    seconds: float
    device: str = "cpu"
    gigabytes: float = 0.0
    checkpoint: float = 0.0
    weights: float = 0.0


@dataclass(frozen=True)
class Study:
    """What a study's file says.

    Attributes:
        path: The file.
        text: Its content.
        seeds: Of every cell that has none of its own.
        quick_seeds: The seeds of `--quick`.
        blocks: The grid.
        models: References by name, patterns.
        figures: By id, whatever the report wants to know of a figure.
        gate: Thresholds of the gate, for the report.
        estimates: By run name; `samples` for all answers of frozen policies, `default` for all others.
    """

    path: Path
    text: str
    seeds: tuple[int, ...]
    quick_seeds: tuple[int, ...]
    blocks: tuple[Block, ...]
    models: Mapping[str, str]
    figures: Mapping[str, Values]
    gate: Values
    estimates: Mapping[str, Estimate]

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem


def read_study(path: Path) -> Study:
    """Reads and checks a study's file.

    Raises:
        PlmError: If it cannot be read, or something in it is not what it should be.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
    except OSError as error:
        raise PlmError(f"there is no study {str(path)!r}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PlmError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return _study(path, text, content)
    except _Wrong as error:
        raise PlmError(f"{path}: {error}") from error


class _Wrong(Exception):
    """What is wrong, without the file's name."""


def _study(path: Path, text: str, content: Any) -> Study:
    known = ("seeds", "quick_seeds", "models", "gate", "figures", "estimates", "grid")
    top = _mapping(content, "a study", known)
    if not isinstance(top.get("grid"), list) or not top["grid"]:
        raise _Wrong("grid is missing: a list of blocks, each with a cell and a config")
    seeds = _seeds(top.get("seeds", [0, 1, 2]), "seeds")
    figures = {str(name): _mapping(value, f"figures.{name}") for name, value in _mapping_of(top, "figures").items()}
    blocks = tuple(_block(each, index) for index, each in enumerate(top["grid"]))
    _check_figures(blocks, figures)
    return Study(
        path=path,
        text=text,
        seeds=seeds,
        quick_seeds=_seeds(top.get("quick_seeds", list(seeds[:1])), "quick_seeds"),
        blocks=blocks,
        models={name: _text(value, f"models.{name}") for name, value in _mapping_of(top, "models").items()},
        figures=figures,
        gate=_gate(top),
        estimates={name: _estimate(value, name) for name, value in _mapping_of(top, "estimates").items()},
    )


def _block(content: Any, index: int) -> Block:
    where = f"grid[{index}]"
    keys = (
        "cell", "config", "axes", "command", "from", "set", "control", "role", "labels", "figures", "seeds", "quick",
    )  # fmt: skip
    entry = _mapping(content, where, keys)
    for key in ("cell", "config"):
        if not entry.get(key):
            raise _Wrong(f"{where} has no {key}")
    cell = _text(entry["cell"], f"{where}.cell")
    where = f"cell {cell!r}"
    configs = entry["config"] if isinstance(entry["config"], list) else [entry["config"]]
    axes = {name: _axis(value, f"{where}: axes.{name}") for name, value in _mapping_of(entry, "axes", where).items()}
    return Block(
        cell=cell,
        config=tuple(_text(each, f"{where}: config") for each in configs),
        axes=axes,
        command=_one_of(entry.get("command", "fit"), COMMANDS, f"{where}: command"),
        start=_optional_text(entry.get("from"), f"{where}: from"),
        settings=_mapping_of(entry, "set", where),
        control=_optional_text(entry.get("control"), f"{where}: control"),
        role=None if entry.get("role") is None else _one_of(entry["role"], ROLES, f"{where}: role"),
        labels=_mapping_of(entry, "labels", where),
        figures=tuple(str(each) for each in _list(entry.get("figures", []), f"{where}: figures")),
        seeds=None if entry.get("seeds") is None else _seeds(entry["seeds"], f"{where}: seeds"),
        quick=_quick(entry.get("quick"), axes, where),
    )


def _quick(value: Any, axes: Mapping[str, Values], where: str) -> Mapping[str, Sequence[Any]] | None:
    if value is None or value is False:
        return None
    if value is True:
        return {}
    kept = _mapping(value, f"{where}: quick", tuple(axes))
    for name, labels in kept.items():
        for label in _list(labels, f"{where}: quick.{name}"):
            if str(label) not in axes[name]:
                raise _Wrong(f"{where}: quick.{name} keeps {label!r}, which is no value of the axis")
    return kept


def _axis(value: Any, where: str) -> Values:
    """Label → value; labels are texts."""
    if isinstance(value, dict) and value:
        return {str(label): each for label, each in value.items()}
    if isinstance(value, list) and value and not any(isinstance(each, (dict, list)) for each in value):
        axis = {str(each): each for each in value}
        if len(axis) == len(value):
            return axis
    raise _Wrong(f"{where} is {value!r}; it must be a list of different values, or label: value pairs")


def _gate(top: Mapping[str, Any]) -> Values:
    """Thresholds of the gate, by the names of its arguments."""
    asked = _mapping({} if top.get("gate") is None else top["gate"], "gate", THRESHOLDS)
    for name, value in asked.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise _Wrong(f"gate.{name} is {value!r}; it must be a share in [0, 1]")
    return asked


def _estimate(value: Any, name: str) -> Estimate:
    where = f"estimates.{name}"
    sizes = ("gigabytes", "checkpoint", "weights")
    entry = _mapping(value, where, ("seconds", "minutes", "hours", "device", *sizes))
    units = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}
    given = [unit for unit in units if unit in entry]
    if len(given) != 1:
        raise _Wrong(f"{where} needs one of seconds, minutes and hours")
    numbers = {key: entry.get(key, 0.0) for key in (given[0], *sizes)}
    for key, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or number < 0:
            raise _Wrong(f"{where}.{key} is {number!r}; it must be a number of at least 0")
    device = _one_of(entry.get("device", "cpu"), DEVICES, f"{where}.device")
    return Estimate(numbers[given[0]] * units[given[0]], device, *(float(numbers[size]) for size in sizes))


def _check_figures(blocks: Sequence[Block], figures: Mapping[str, Values]) -> None:
    used = {name for block in blocks for name in block.figures}
    for block in blocks:
        for name in block.figures:
            if name not in figures:
                raise _Wrong(f"cell {block.cell!r}: figure {name!r} does not stand under figures")
    for name in figures:
        if name not in used:
            raise _Wrong(f"figures.{name}: no cell is a part of it")


# -- plain values -----------------------------------------------------------------------------------------------------


def _mapping(value: Any, where: str, known: Sequence[str] | None = None) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f"{where} is {value!r}; it must be a mapping")
    for key in value:
        if known is not None and key not in known:
            raise _Wrong(f"{where}: unknown key {key!r}{nearest(str(key), list(known))}")
    return {str(key): each for key, each in value.items()}


def _mapping_of(entry: Mapping[str, Any], key: str, where: str = "") -> dict[str, Any]:
    value = entry.get(key)
    return {} if value is None else _mapping(value, f"{where}: {key}" if where else key)


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Wrong(f"{where} is {value!r}; it must be a list")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _Wrong(f"{where} is {value!r}; it must be a text")
    return " ".join(value.split())


def _optional_text(value: Any, where: str) -> str | None:
    return None if value is None else _text(value, where)


def _one_of(value: Any, allowed: Sequence[str], where: str) -> str:
    if value not in allowed:
        raise _Wrong(f"{where} is {value!r}; it must be one of {', '.join(allowed)}")
    return str(value)


def _seeds(value: Any, where: str) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)
    if not whole or not value or len(set(value)) < len(value):
        raise _Wrong(f"{where} is {value!r}; it must be a list of different whole numbers")
    return tuple(value)
