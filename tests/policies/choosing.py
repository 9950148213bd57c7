"""A tiny task whose answers are chosen, importable by the process that samples."""

from __future__ import annotations

from collections.abc import Sequence

from plm.records import Problem
from tests.tiny import TinyTask


class ChoosingTask(TinyTask):
    """The answer is one of three letters."""

    name = "choosing"

    def choices(self, problem: Problem) -> Sequence[str] | None:
        return ("a", "b", "c")
