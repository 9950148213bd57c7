"""From a study's blocks to the runs that it asks for: cells and their command lines, one a seed."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from plm.errors import PlmError
from plm.studies.study import Block, Study
from plm.suggestions import nearest

PLACE = re.compile(r"\{(\w+)\}")
DEEPEST = 8  # models inside of models


@dataclass(frozen=True)
class Wanted:
    """A run that the grid asks for; its identity is not known yet.

    Attributes:
        cell: Name of the cell.
        seed: Of the run.
        words: The command line after `plm`, without the folder of all runs.
        role: What the run is for; the method's phase where None.
        axes: Label of the cell on each axis.
        labels: What tables and figures call it.
        figures: Figures that the cell is a part of.
        control_of: The cell that a control stands beside.
        start: The study's name of the model that it starts from; None where that has none.
    """

    cell: str
    seed: int
    words: tuple[str, ...]
    role: str | None
    axes: Mapping[str, Any]
    labels: Mapping[str, Any]
    figures: tuple[str, ...]
    control_of: str | None
    start: str | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def expand(study: Study, seeds: int | None = None, quick: bool = False, *, whole: bool = False) -> list[Wanted]:
    """All runs of a study, block by block, cell by cell, seed by seed.

    Args:
        study: The study.
        seeds: The first so many seeds, counted on where the study names fewer.
        quick: Only what `--quick` keeps.
        whole: All of the study's seeds, also where these are more than `seeds`.

    Raises:
        PlmError: If a pattern names something that is not there, or two cells have one name.
    """
    found: list[Wanted] = []
    for block in study.blocks:
        if not quick or block.quick is not None:
            chosen = block.seeds or (study.quick_seeds if quick else study.seeds)
            count = max(seeds, len(chosen)) if whole and seeds is not None else seeds
            found += _runs_of(study, block, first_seeds(chosen, count), quick)
    _check_names(found, study)
    if not found:
        raise PlmError(f"{study.path}: --quick keeps nothing: no block says what it keeps")
    return found


def first_seeds(named: Sequence[int], count: int | None) -> list[int]:
    """The first `count` of the named seeds, then the smallest numbers that are not named; all named where None."""
    if count is None:
        return list(named)
    more = (number for number in itertools.count() if number not in named)
    return [*named[:count], *itertools.islice(more, max(0, count - len(named)))]


def _runs_of(study: Study, block: Block, seeds: Sequence[int], quick: bool) -> Iterator[Wanted]:
    for axes in _points(block, quick):
        labels = _Filler(study, block, axes)
        cell = labels.fill(block.cell)
        shown = {name: value for name, (_, value) in axes.items()}
        named = {name: labels.fill_all(value) for name, value in block.labels.items()}
        for control in (False, True) if block.control else (False,):
            name = f"{cell} · control" if control else cell
            start = block.control if control else block.start
            for seed in seeds:
                filler = _Filler(study, block, axes, seed)
                words = _words(filler, block, start, seed, control)
                model = filler.fill(start) if start is not None else None
                role = "control" if control else block.role
                yield Wanted(
                    name,
                    seed,
                    words,
                    role,
                    shown,
                    named,
                    block.figures,
                    cell if control else None,
                    model if model in study.models else None,
                )


def _points(block: Block, quick: bool) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Points of the product: axis → (value, label as it was written)."""
    axes: list[list[tuple[str, tuple[Any, Any]]]] = []
    for name, axis in block.axes.items():
        keep = None if not quick or block.quick is None else block.quick.get(name)
        labels = [label for label in axis if keep is None or label in {str(each) for each in keep}]
        axes.append([(name, (axis[label], _written(label, axis[label]))) for label in labels])
    for point in itertools.product(*axes):
        yield dict(point)


def _written(label: str, value: Any) -> Any:
    """A label is a number where the axis is a list of numbers."""
    return value if str(value) == label else label


def _words(filler: _Filler, block: Block, start: str | None, seed: int, control: bool) -> tuple[str, ...]:
    words = [block.command]
    for config in block.config:
        words += ["--config", filler.fill(config)]
    settings = {filler.fill(key): filler.fill_all(value) for key, value in block.settings.items()}
    if start is not None:
        settings["model.init_args.base" if block.command == "fit" else "policy"] = filler.model(start)
    if control and block.command == "fit":
        settings["model.init_args.phase"] = "control"
    values = [
        f"--{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in settings.items()
    ]
    return (*words, *values, f"--seed_everything={seed}")


class _Filler:
    """Puts values into the places of patterns; without a seed, labels in place of values."""

    def __init__(
        self, study: Study, block: Block, axes: Mapping[str, tuple[Any, Any]], seed: int | None = None
    ) -> None:
        self.study, self.block, self.seed = study, block, seed
        self.values = {name: pair[seed is None] for name, pair in axes.items()}

    def fill(self, pattern: str, depth: int = 0) -> str:
        """A pattern with every place filled."""
        if depth > DEEPEST:
            raise PlmError(f"{self._where()}: models name each other in a circle")

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in self.values:
                return self.fill(str(self.values[name]), depth + 1) if self.seed is not None else str(self.values[name])
            if name == "seed" and self.seed is not None:
                return str(self.seed)
            if name in self.study.models and self.seed is not None:
                return self.fill(self.study.models[name], depth + 1)
            known = [*self.values, "seed", *self.study.models]
            raise PlmError(f"{self._where()}: {match[0]} is neither an axis nor a model{nearest(name, known)}")

        return PLACE.sub(value, pattern)

    def fill_all(self, value: Any) -> Any:
        """The same for every text in plain values."""
        if isinstance(value, str):
            return self.fill(value)
        if isinstance(value, list):
            return [self.fill_all(each) for each in value]
        if isinstance(value, dict):
            return {key: self.fill_all(each) for key, each in value.items()}
        return value

    def model(self, pattern: str) -> str:
        """The reference behind a name of the study's models, or the reference itself."""
        name = self.fill(pattern)
        return self.fill(self.study.models[name]) if name in self.study.models else name

    def _where(self) -> str:
        return f"{self.study.path}: cell {self.block.cell!r}"


def _check_names(wanted: Sequence[Wanted], study: Study) -> None:
    seen: dict[tuple[str, int], Wanted] = {}
    for each in wanted:
        if seen.setdefault((each.cell, each.seed), each) is not each:
            raise PlmError(
                f"{study.path}: two cells are called {each.cell!r}; names tell them apart, so that every axis has to "
                "stand in the pattern"
            )
