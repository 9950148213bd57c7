"""Near misses: a password changed a little, for evaluation only."""

from __future__ import annotations

import re
from collections.abc import Iterator


def variants(password: str) -> Iterator[str]:
    """Changes the password a little, in many ways; some may leave it as it is."""
    yield from (password.upper(), password.lower(), password.swapcase(), password.title())
    yield from _other_words(password.split())
    yield from _other_letters(password)
    yield from _other_punctuation(password)
    yield from (f"{password} {password}", f"{password} {password} {password}")
    yield from (f"{password} again", f"another {password}")


def _other_words(words: list[str]) -> Iterator[str]:
    """Leaves out, swaps or replaces words."""
    if len(words) < 2:
        return
    middle = len(words) // 2
    longest = max(range(len(words)), key=lambda index: len(words[index]))
    swapped = [*words[: middle - 1], words[middle], words[middle - 1], *words[middle + 1 :]]
    changes = (
        words[1:],
        words[:-1],
        words[:middle],  # the beginning alone
        [*words[:middle], *words[middle + 1 :]],
        swapped,
        words[::-1],
        [*words[:longest], "something", *words[longest + 1 :]],
    )
    yield from (" ".join(changed) for changed in changes)


def _other_letters(password: str) -> Iterator[str]:
    """Makes typing errors in the middle: a letter left out, typed twice, or exchanged with the one before."""
    middle = len(password) // 2
    before, letter, after = password[:middle], password[middle], password[middle + 1 :]
    yield before + letter + letter + after
    if len(password) > 2:
        yield before + after
        yield before[:-1] + letter + before[-1] + after


def _other_punctuation(password: str) -> Iterator[str]:
    """Takes punctuation away or puts other marks there."""
    bare = password.rstrip(".!?…。！？")
    yield from (text for text in (bare, re.sub(r"[^\w\s]", "", password)) if text.strip())
    yield from (f"{bare}.", f"{bare}?", f'"{password}"', f"({password})")
