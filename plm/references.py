"""Model references: a Hugging Face hub id, a directory, or a config whose model is found in the run cache or fitted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse.typing import register_type

_OPENING, _CLOSING = ("(", "[", "{"), (")", "]", "}")
_SIGNS = re.compile(r"( \+ |[()\[\]{}])")


class ModelReference(str):
    """Names a model: a hub id (`org/name`), a directory, or a YAML config, meaning the model that this config makes.

    Configs that are laid over each other, and single values, are joined by ` + `: `configs/strong_code.yaml +
    configs/paper/code.yaml`, `configs/lock_code.yaml + seed_everything=1`. A reference inside of another stands in
    brackets: `configs/elicit_sft_code.yaml + model.init_args.base=(configs/lock_code.yaml + seed_everything=1)`. A
    config is fitted first, in a process of its own, unless a finished run of it exists. The command line replaces the
    reference by the directory before any object is built.
    """

    __slots__ = ()

    @property
    def is_config(self) -> bool:
        """Whether the reference is a config to fit rather than a model that exists."""
        return self._parts[0].endswith((".yaml", ".yml"))

    @property
    def configs(self) -> list[Path]:
        """The config and what is laid over it, in this order."""
        return [Path(part) for part in self._parts if "=" not in part]

    @property
    def arguments(self) -> list[str]:
        """The words of a command line that names the configs, and then the single values."""
        configs = [word for path in self.configs for word in ("--config", str(path))]
        return configs + [f"--{value}" for value in self.values]

    @property
    def values(self) -> list[str]:
        """The single values, `key=value`."""
        return [part for part in self._parts if "=" in part]

    @property
    def _parts(self) -> list[str]:
        parts, depth = [""], 0
        for piece in _SIGNS.split(self):
            depth += (piece in _OPENING) - (piece in _CLOSING)
            if piece == " + " and depth == 0:
                parts.append("")
            else:
                parts[-1] += piece
        return [part.strip() for part in parts]


def _parse(value: object) -> ModelReference:
    """Reads a reference from YAML; anything but text belongs to another type of a union."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a model reference is a hub id, a folder or a config, not {value!r}")
    value = value.strip()
    return ModelReference(value[1:-1].strip() if value.startswith("(") and value.endswith(")") else value)


def _write(value: object) -> str:
    """Writes a reference to YAML; in a union, other types' values are not ours to write."""
    return str(_parse(value))


register_type(ModelReference, serializer=_write, deserializer=_parse)


def find_references(config: Any, key: str = "") -> Iterator[tuple[str, ModelReference]]:
    """Yields the dotted key and value of every model reference in a parsed configuration."""
    if isinstance(config, ModelReference):
        yield key, config
    elif isinstance(config, dict):
        for name, value in config.items():
            yield from find_references(value, f"{key}.{name}" if key else name)
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from find_references(value, f"{key}.{index}")
