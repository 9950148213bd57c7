"""Which source files a run's numbers depend on, and a digest of them: comments and docstrings do not count."""

from __future__ import annotations

import ast
import hashlib
import importlib
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent
# plm's files that can move a number; the others measure, show, store or start.
NUMERIC = (
    "modules", "datamodules", "callbacks/relocking.py", "callbacks/spike_guard.py", "embedders.py", "examples.py",
    "inner_loop.py", "loader.py", "losses.py", "models.py", "network.py", "optim", "passwords", "policies", "rewards",
    "rounds.py", "seeds.py", "tokenizers.py", "weights.py",
)  # fmt: skip


def class_paths(config: Any) -> Iterator[str]:
    """Every class that a plain configuration names."""
    if isinstance(config, dict):
        if isinstance(path := config.get("class_path"), str):
            yield path
        for value in config.values():
            yield from class_paths(value)
    elif isinstance(config, list):
        for value in config:
            yield from class_paths(value)


def code_digest(classes: Iterable[str]) -> str:
    """Digest of the code that moves numbers in a run, so that a cache is never stale.

    It covers the files of plm that the classes need, one import after the other, and the user's own files that define
    any of the classes; not installed packages, whose versions the manifest holds.

    Args:
        classes: Class paths that the run's configuration names.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for file in sorted(_needed(frozenset(classes))):
        digest.update(_file_digest(file).encode())
    return digest.hexdigest()[:16]


@cache
def _needed(classes: frozenset[str]) -> frozenset[Path]:
    waiting = [file for name in classes if (file := _defining_file(name))]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            if file.is_relative_to(PACKAGE):
                waiting += _imports(file)
    return frozenset(file for file in found if not file.is_relative_to(PACKAGE) or _is_numeric(file))


def _is_numeric(file: Path) -> bool:
    name = file.relative_to(PACKAGE)
    return name.suffix != ".py" or any(name.is_relative_to(part) or str(name) == f"{part}.py" for part in NUMERIC)


def _defining_file(class_path: str) -> Path | None:
    """The file of plm or of the user that defines a class; None for what is installed."""
    module_name, _, name = class_path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
        file = getattr(sys.modules[getattr(module, name).__module__], "__file__", None)
    except (ImportError, AttributeError, ValueError, KeyError):
        return None
    if file is None or not file.endswith(".py"):
        return None
    path = Path(file)
    installed = [Path(sysconfig.get_path(kind)) for kind in ("stdlib", "purelib", "platlib")]
    return path if path.is_relative_to(PACKAGE) or not any(path.is_relative_to(each) for each in installed) else None


@cache
def _imports(file: Path) -> tuple[Path, ...]:
    """The files of plm that a file of plm imports when it runs, and the package's data that it names."""
    if file.suffix != ".py":
        return ()
    text = file.read_text(encoding="utf-8")
    found = [target for node in _running(ast.parse(text)) for target in _targets(node)]
    data = [each for each in (PACKAGE / "data").glob("*") if f"data/{each.name}" in text]
    return (*found, *data)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those that only a type checker reads."""
    yield tree
    checked = isinstance(tree, ast.If) and isinstance(tree.test, ast.Name) and tree.test.id == "TYPE_CHECKING"
    for child in tree.orelse if checked else ast.iter_child_nodes(tree):  # type: ignore[attr-defined]
        yield from _running(child)


def _targets(node: ast.AST) -> Iterator[Path]:
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        for alias in node.names:
            yield from _file_of(node.module, alias.name)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            yield from _file_of(*alias.name.rpartition(".")[::2])


def _file_of(module: str, name: str) -> Iterator[Path]:
    """The file that defines `name` of a module of plm; packages hand names on from their modules."""
    root, *parts = module.split(".")
    if root != PACKAGE.name:
        return
    place = PACKAGE.joinpath(*parts)
    if (file := place.with_suffix(".py")).is_file() and parts:
        yield file
    elif (file := place / f"{name}.py").is_file():
        yield file
    elif (package := place / "__init__.py").is_file():
        for node in ast.parse(package.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and node.module and any(each.name == name for each in node.names):
                yield from _file_of(node.module, name)


@cache
def _file_digest(file: Path) -> str:
    content = file.read_bytes()
    if file.suffix == ".py":
        content = ast.dump(_without_docstrings(ast.parse(content))).encode()
    return hashlib.sha256(content).hexdigest()


def _without_docstrings(tree: ast.AST) -> ast.AST:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:]  # type: ignore[attr-defined]
    return tree
