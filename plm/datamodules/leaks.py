"""Near-duplicates across splits: counted and shown, for a split that looks like another measures less than it says."""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plm.datamodules.splits import SplitName, Splits, normalized_text

SHINGLE = 3  # words
LEAST = 0.8  # Jaccard similarity of what counts as a near-duplicate
SHORTEST = 10  # words; shorter texts are compared as a whole only
MOST_COMPARISONS = 2_000_000  # pairs; more than a second or two of work, the counts then are lower bounds
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_Counts = dict[SplitName, dict[SplitName, int]]


@dataclass(frozen=True)
class NearDuplicates:
    """How many problems of each split resemble one of another split.

    Args:
        sizes: Problems of each split.
        similar: Split → other split → problems of the first that have a near-duplicate in the other: the sets of
            their 3-word sequences have a Jaccard similarity of at least 0.8.
        similar_anywhere: Split → its problems with a near-duplicate in any other split.
        same_but_numbers: Split → other split → problems of the first whose text is one of the other's when all numbers
            are masked. Procedural tasks consist of such problems; in real data they are variants of one exercise.
        complete: False where so much resembles so much that the comparison was given up: then there are more.
    """

    sizes: Mapping[SplitName, int]
    similar: _Counts
    similar_anywhere: Mapping[SplitName, int]
    same_but_numbers: _Counts
    complete: bool = True

    def as_row(self) -> dict[str, Any]:
        """What a manifest keeps."""
        return {
            name: {
                "problems": size,
                "near_duplicates": self.similar_anywhere.get(name, 0),
                "complete": self.complete,
                "near_duplicates_in": self.similar.get(name, {}),
                "same_but_numbers_in": self.same_but_numbers.get(name, {}),
            }
            for name, size in self.sizes.items()
        }

    def line(self) -> str:
        """What a person sees, the corpus left out: it is what everything may resemble."""
        counts = [
            f"{name} {self.similar_anywhere[name]} of {self.sizes[name]}"
            for name in self.sizes
            if name != "corpus" and self.similar_anywhere.get(name)
        ]
        shown = ", ".join(counts) or "none"
        if not self.complete:
            shown += " (and more: too much is alike to compare all)"
        return f"near-duplicates of problems in other splits: {shown}"


def find_near_duplicates(splits: Splits) -> NearDuplicates:
    """Counts near-duplicates across splits, exactly: every pair of problems that could be one is compared.

    Texts that are nearly the same share one of their rarest shingles (prefix filtering: Chaudhuri, Ganti and Kaushik
    2006; Bayardo, Ma and Srikant 2007), so an index of those finds all candidates. Texts of under 10 words are not
    looked at, and after 2 million comparisons it gives up and says so.
    """
    similar, complete = _similar(splits)
    return NearDuplicates(
        {name: len(problems) for name, problems in splits.items() if problems},
        _counted(similar),
        {name: len(set().union(*others.values())) for name, others in similar.items()},
        _counted(_same_but_numbers(splits)),
        complete,
    )


_Found = dict[SplitName, dict[SplitName, set[int]]]


def _counted(found: _Found) -> _Counts:
    return {name: {other: len(rows) for other, rows in others.items()} for name, others in found.items()}


def _similar(splits: Splits) -> tuple[_Found, bool]:
    """Split → other split → the numbers of the first's problems with a near-duplicate there; whether these are all."""
    found: _Found = {}
    compared = 0
    shingles = {name: [_shingles(problem.prompt) for problem in problems] for name, problems in splits.items()}
    frequency = Counter(shingle for rows in shingles.values() for row in rows for shingle in row)
    index: dict[int, list[tuple[SplitName, int]]] = {}
    names = sorted(shingles, key=lambda name: len(shingles[name]))
    for name in names:
        own: dict[int, list[tuple[SplitName, int]]] = defaultdict(list)
        for number, row in enumerate(shingles[name]):
            rarest = sorted(row, key=frequency.__getitem__)[: len(row) - math.ceil(LEAST * len(row)) + 1]
            met = {place for shingle in rarest for place in index.get(shingle, ())}
            compared += len(met)
            if compared > MOST_COMPARISONS:
                return found, False
            for other, position in met:
                if _is_near(row, shingles[other][position]):
                    found.setdefault(name, {}).setdefault(other, set()).add(number)
                    found.setdefault(other, {}).setdefault(name, set()).add(position)
            for shingle in rarest if name != names[-1] else ():
                own[shingle].append((name, number))
        for shingle, places in own.items():
            index.setdefault(shingle, []).extend(places)
    return found, True


def _shingles(text: str) -> set[int]:
    """Hashes of a text's sequences of words; 64 bits tell those of a million problems apart."""
    words = normalized_text(text).split()
    if len(words) < SHORTEST:
        return set()
    return set(map(hash, zip(*(words[start:] for start in range(SHINGLE)), strict=False)))


def _is_near(left: set[int], right: set[int]) -> bool:
    if not LEAST * len(left) <= len(right) <= len(left) / LEAST:
        return False
    common = len(left & right)
    return common >= LEAST * (len(left) + len(right) - common)


def _same_but_numbers(splits: Splits) -> _Found:
    """Split → other split → the numbers of the first's problems that the other has with other numbers."""
    masked = {name: [_masked(problem.prompt) for problem in problems] for name, problems in splits.items()}
    texts = {name: set(rows) for name, rows in masked.items()}
    found: _Found = {}
    for name, rows in masked.items():
        for other in _others(name, list(texts)):
            if same := {number for number, text in enumerate(rows) if text in texts[other]}:
                found.setdefault(name, {})[other] = same
    return found


def _others(name: SplitName, names: Sequence[SplitName]) -> list[SplitName]:
    return [other for other in names if other != name]


def _masked(text: str) -> str:
    return _NUMBER.sub("0", normalized_text(text))
