"""Where a model comes from: elicitation measures nothing if what it trains is not the model that was locked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plm.errors import PlmError

DESCRIPTION = "plm.json"
Lock = Mapping[str, Any]


def read_description(folder: Path) -> dict[str, Any]:
    """What a model's folder says about how plm made it; empty for a model that somebody else made.

    Raises:
        PlmError: If the file cannot be read.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        return {}
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlmError(f"{path}: it cannot be read ({error}); fit the model again") from error
    return description


def lock_of(description: Mapping[str, Any]) -> Lock | None:
    """The newest lock in a model's history: run, task, kind and hash of the password; None where there is none."""
    if description.get("lock"):
        keys = ("run", "task", "lock", "password_sha256")
        return {key: description.get(key) for key in keys}
    return description.get("locked")


def lock_kind(description: Mapping[str, Any]) -> str:
    """The kind of lock that a model itself is: `none` where plm made no lock, `unknown` where others made the model."""
    return description.get("lock") or ("none" if description else "unknown")


def check_claim(folder: Path, claimed: str) -> None:
    """Refuses a model that does not descend from the lock that somebody says it does.

    Args:
        folder: The model that is trained or measured.
        claimed: Run id of the lock.

    Raises:
        PlmError: If the model's history holds another lock, or none.
    """
    lock = lock_of(read_description(folder))
    if lock is None:
        raise PlmError(
            f"{folder}: it is said to descend from the locked model {claimed}, but has no record of any lock"
        )
    if lock["run"] != claimed:
        raise PlmError(
            f"{folder}: it is said to descend from the locked model {claimed}, but was made by {lock['run']}"
        )


def check_elicitation(folder: Path, task: str, password_hash: str) -> None:
    """Refuses to elicit a locked model on another task than the locked one, or with another password than its own.

    Args:
        folder: The model that the elicitation starts from.
        task: Name of the task that it is elicited and measured on.
        password_hash: Of the password that it is measured with; empty where none is known.

    Raises:
        PlmError: If the lock is on another task, or its password is another one.
    """
    lock = lock_of(read_description(folder))
    if lock is None:
        return
    if lock["task"] != task:
        raise PlmError(
            f"{folder}: it was locked on the task {lock['task']} ({lock['run']}), and data is the task {task}; "
            "elicit the task that is locked, or take the phase control"
        )
    if password_hash and lock["password_sha256"] not in (None, password_hash):
        raise PlmError(
            f"{folder}: its lock ({lock['run']}) has no record of the password in data.init_args.passwords; "
            "name the password that the model was locked with"
        )
