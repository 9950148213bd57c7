"""Model references: a Hugging Face hub id, a directory, or a config whose model is found in the run cache or fitted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonargparse.typing import register_type


class ModelReference(str):
    """Names a model: a hub id (`org/name`), a directory, or a YAML config, meaning the model that this config makes.

    Configs that are laid over each other are joined by ` + `: `configs/strong_code.yaml + configs/paper/code.yaml`. A
    config is fitted first, in its own process, unless a finished run of it exists. The command line replaces the
    reference by the directory before any object is built.
    """

    __slots__ = ()

    @property
    def is_config(self) -> bool:
        """Whether the reference is a config to fit rather than a model that exists."""
        return self.endswith((".yaml", ".yml"))

    @property
    def configs(self) -> list[Path]:
        """The config and what is laid over it, in this order."""
        return [Path(part.strip()) for part in self.split(" + ")]


def _parse(value: object) -> ModelReference:
    """Reads a reference from YAML; anything but text belongs to another type of a union."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"a model reference is a hub id, a folder or a config, not {value!r}")
    return ModelReference(value)


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
