"""Shortens the parser's errors, which quote whole configurations, to one line: what, where and how to mend it."""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from plm.suggestions import nearest

TOP_LEVEL = (
    "config",
    "seed_everything",
    "trainer",
    "model",
    "data",
    "runs",
    "policy",
    "locked",
    "ckpt_path",
    "print_config",
)
CLASS_PATH = re.compile(r"class_path[ =]'([\w.]+)'")


def one_line(error: argparse.ArgumentError, configs: Sequence[str] = ()) -> str:
    """One line for a parser's error.

    Args:
        error: What the parser raised.
        configs: The config files that were being read, to name the one that is no YAML.
    """
    text = " ".join(str(error).split())
    for shorten in (_syntax, _missing_file, _unknown_option, _unknown_class, _required, _wrong_type):
        if line := shorten(text, configs):
            return line
    return re.split(r" Given value type:| - Expected a <class 'NoneType'>", text)[0]


def _where(text: str, before: int | None = None) -> str:
    """The dotted key that an error is about."""
    keys = re.findall(r'Parser key "([^"]+)"', text[:before])
    return ".".join(keys) if keys else "the command line"


def _syntax(text: str, configs: Sequence[str]) -> str | None:
    if "Problems parsing config" not in text:
        return None
    for path in configs:
        try:
            yaml.safe_load(Path(path).read_text())
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            line = f", line {mark.line + 1}" if mark else ""
            return f"{path}{line}: not valid YAML ({getattr(error, 'problem', error)})"
    return text


def _missing_file(text: str, configs: Sequence[str]) -> str | None:
    found = re.search(r"File does not exist: '([^']+)'", text)
    return f"there is no config file {found[1]!r}" if found else None


def _unknown_option(text: str, configs: Sequence[str]) -> str | None:
    if found := re.search(r"(?:Group|Subcommand) '\w+' does not accept option '([\w.]+)'", text):
        group, _, name = found[1].rpartition(".")
        if group == "trainer":
            return f"trainer has no key {name!r}{nearest(name, _trainer_arguments())}"
        return f"unknown key {found[1]!r}{nearest(found[1].split('.')[0], TOP_LEVEL)}"
    found = re.search(r"Option '([\w.]+)' is not accepted", text)
    if not found:
        if unrecognized := re.search(r"[Uu]nrecognized arguments: (.*)", text):
            word = unrecognized[1].split()[0].split("=")[0]
            name = word.lstrip("-")
            return f"unknown option {word}{nearest(name, _options()) or nearest(name.split('.')[0], TOP_LEVEL)}"
        return None
    if not (owners := CLASS_PATH.findall(text[: found.start()])):
        return f"unknown key {found[1]!r}{nearest(found[1].split('.')[0], TOP_LEVEL)}"
    optimizer = re.match(r" is not accepted\. Got value: Namespace\(class_path='([\w.]+)'", text[found.end() - 16 :])
    owner = optimizer[1] if optimizer else owners[-1]
    return f"{_where(text, found.start())}: {owner} has no argument {found[1]!r}{nearest(found[1], _arguments(owner))}"


def _unknown_class(text: str, configs: Sequence[str]) -> str | None:
    if found := re.search(r"module '([\w.]+)' has no attribute '(\w+)'", text):
        names = dir(importlib.import_module(found[1]))
        return f"{_where(text, found.start())}: there is no {found[2]!r} in {found[1]}{nearest(found[2], names)}"
    if found := re.search(r"Import path (\S+) does not correspond to a subclass of (?:type )?([\w.]+)", text):
        return f"{_where(text, found.start())}: {found[1].strip(chr(39))} is not a {found[2].split('.')[-1]}"
    if found := re.search(r"No module named '?([\w.]+)'?", text):
        return f"{_where(text, found.start())}: there is no module {found[1]!r}"
    return None


def _required(text: str, configs: Sequence[str]) -> str | None:
    found = re.search(r"the following arguments are required: (.*?)(?: - |$)", text)
    if found and "fit." in found[1]:
        return "no model and no data are given: name a config, for instance --config configs/lock_code.yaml"
    return f"{_where(text, found.start())}: {found[1]} is missing, and there is no default" if found else None


def _wrong_type(text: str, configs: Sequence[str]) -> str | None:
    errors = re.findall(r"Expected a (<class '[\w.]+'>|typing\.Literal\[[^\]]*\])", text)
    if not (wanted := [_type_name(error) for error in errors if "NoneType" not in error]):
        return None
    got = re.search(r"Got value: (.*?)(?: - |$)", text) or re.search(r"Given value: (.*)$", text)
    return (
        f"{_where(text)} must be {' or '.join(dict.fromkeys(wanted))}, not {got[1][:60] if got else 'what was given'}"
    )


def _type_name(text: str) -> str:
    if text.startswith("typing.Literal"):
        return f"one of {text[len('typing.Literal[') : -1]}"
    return text.removeprefix("<class '").removesuffix("'>").split(".")[-1]


def _arguments(class_path: str) -> Iterable[str]:
    module, _, name = class_path.rpartition(".")
    try:
        return inspect.signature(getattr(importlib.import_module(module), name)).parameters
    except (ImportError, AttributeError, ValueError):
        return ()


def _options() -> list[str]:
    return [*TOP_LEVEL, *(f"trainer.{name}" for name in _trainer_arguments())]


def _trainer_arguments() -> Iterable[str]:
    from lightning.pytorch import Trainer

    parameters: Any = inspect.signature(Trainer.__init__).parameters
    return [name for name in parameters if name != "self"]
