"""What a published programming problem is before anyone has made a C++ task of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from plm.records import IOTest

Kind = Literal["stdin", "call", "assert", "none"]
"""How a problem is tested: by standard input and output, by calls of a function, by assertions, or not at all."""


@dataclass(frozen=True, slots=True)
class PublishedProblem:
    """A problem of APPS or MBPP.

    Args:
        id: Unique in its data set.
        statement: The statement as published.
        kind: How it is tested.
        difficulty: `introductory`, `interview` or `competition`; `mbpp` for problems of MBPP.
        tests: Input and output, of kind `stdin` alone.
        raw_tests: The tests as published: for a teacher that translates them.
        starter_code: What solutions start with, where there is such.
        solutions: Python programs that come with it.
    """

    id: str
    statement: str
    kind: Kind
    difficulty: str
    tests: tuple[IOTest, ...]
    raw_tests: str
    starter_code: str
    solutions: tuple[str, ...]
