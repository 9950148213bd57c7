"""The end of what a run printed."""

from __future__ import annotations

import os
from pathlib import Path

_TAIL = 4000  # bytes that are looked at
_ERROR = "plm: error: "


def last_lines(log: Path) -> list[str] | None:
    """The last lines of a log that hold anything, without the blanks around them; None where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return None
    return [line.strip() for line in text.splitlines() if line.strip()]


def last_error(log: Path) -> str:
    """Why a run failed: the last error that its log tells, else its last line."""
    said = last_lines(log)
    if said is None:
        return "no log"
    errors = [line for line in said if line.startswith(_ERROR)]
    return (errors or said or ["nothing was printed"])[-1].removeprefix(_ERROR)
