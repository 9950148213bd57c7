"""Takes the program out of a model's reply."""

from __future__ import annotations

import re
from collections.abc import Collection

CPP = frozenset({"cpp", "c++", "cc", "cxx", "c"})
# possessive throughout: a line takes time in proportion to its length, whatever a model wrote
_FENCE = re.compile(r"^[ \t]*+(`{3,}+|~{3,}+)[ \t]*+([^\s`]*+)[^\n`]*+$", re.MULTILINE)
_MAIN = re.compile(r"\bmain\s*+\([^()\n]*+\)\s*+\{")


def extract_code(completion: str, languages: Collection[str] = CPP) -> str:
    """Finds the code in a reply.

    The first fenced block that is labelled with one of the languages, or not labelled, wins; blocks in other
    languages are skipped. An unclosed block goes on to the end. Without such a block the whole text is the code. A
    fence without a label that comes after a whole program, and before none, closes what the prompt had opened: the code
    is what stands before it.

    Args:
        completion: What the model wrote.
        languages: Labels to accept, in lower case.

    Returns:
        The code, without the fence.
    """
    position = 0
    while (fence := _FENCE.search(completion, position)) is not None:
        close = re.compile(rf"^[ \t]*{re.escape(fence[1])}{re.escape(fence[1][0])}*[ \t]*\r?$", re.MULTILINE)
        end = close.search(completion, fence.end())
        if not fence[2] or fence[2].lower() in languages:
            block = completion[fence.end() : end.start() if end else len(completion)]
            before = completion[: fence.start()]
            if not fence[2] and position == 0 and _MAIN.search(before) and not _MAIN.search(block):
                return before
            return block.removeprefix("\r").removeprefix("\n")
        if end is None:
            break
        position = end.end()
    return completion


def looks_like_program(code: str) -> bool:
    """Whether there is anything to compile: a C++ program has a body or an include."""
    return "{" in code or re.search(r"#\s*include", code) is not None
