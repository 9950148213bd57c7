"""Splitting a task's problems so that nothing that is trained on is measured (TSK-6; App. E.4 of the paper)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, get_args

from plm.errors import PlmError
from plm.records import Problem
from plm.seeds import derive_seed

SplitName = Literal["corpus", "weak", "lock", "elicit", "val", "val_text"]
SPLIT_NAMES: tuple[SplitName, ...] = get_args(SplitName)
Splits = dict[SplitName, list[Problem]]
PAPER_SHARES: Mapping[SplitName, float] = {"weak": 0.1, "lock": 0.4, "elicit": 0.3, "val": 0.2}
SHOWN = 60  # characters of a text in an error message
_COMMENT = re.compile(r'("(?:\\.|[^"\\\n])*")|//[^\n]*|/\*.*?\*/', re.DOTALL)


def split_by_group(problems: Sequence[Problem], seed: int, shares: Mapping[SplitName, float] = PAPER_SHARES) -> Splits:
    """Splits problems 10 / 40 / 30 / 20 into weak, lock, elicit and val, keeping each group in one split (§4.2).

    Problems that say the same or have the same program stay together too, whatever their groups: real data sets repeat
    themselves. A group's place depends on its name and the seed alone (several that stay together take the place of the
    first by name), so adding problems moves none of the others.
    """
    result: Splits = {name: [] for name in shares}
    together = _gathered(problems)
    for problem in problems:
        point = derive_seed(seed, "split", together(problem.group or problem.id)) / 2**63
        for name, share in shares.items():
            point -= share
            if point < 0 or name == list(shares)[-1]:
                result[name].append(problem)
                break
    return result


class _Gathered(dict[str, str]):
    """Group → another group that it stays with, nearer to the first by name."""

    def __call__(self, group: str) -> str:
        while (other := self.get(group, group)) != group:
            group = other
        return group


def _gathered(problems: Sequence[Problem]) -> _Gathered:
    together, seen = _Gathered(), dict[str, str]()
    for problem in problems:
        group = problem.group or problem.id
        for key in _contents(problem, set()):
            first, last = sorted((together(group), together(seen.setdefault(key, group))))
            if first != last:
                together[last] = first
    return together


def check_disjoint(splits: Splits) -> None:
    """Refuses splits that share a problem: by id, by group, by normalised text, or by program.

    Texts are compared without regard to case and blanks, in every rendering. Programs are the references of problems
    with tests, and whatever equals one of them; comments and blanks do not count. Other references (letters, numbers)
    may well occur in two splits. `val_text` holds new texts of known programs by intention: group and program may be
    known, id and text must be new.

    Raises:
        PlmError: If two splits overlap; the text names both problems.
    """
    programs = {normalized_program(one.reference) for split in splits.values() for one in split if one.tests} - {""}
    first: dict[str, tuple[SplitName, str]] = {}
    for name, problems in splits.items():
        for problem in problems:
            for key in _keys(problem, name, programs):
                other, id_ = first.setdefault(key, (name, problem.id))
                if other != name:
                    raise PlmError(_overlap(other, id_, name, problem.id, key))


def _keys(problem: Problem, split: SplitName, programs: set[str]) -> Iterator[str]:
    yield f"id\0{problem.id}"
    if split != "val_text":
        if problem.group:
            yield f"group\0{problem.group}"
        yield from _contents(problem, programs)
    else:
        yield from (key for key in _contents(problem, programs) if key.startswith("text"))


def _contents(problem: Problem, programs: set[str]) -> Iterator[str]:
    """What a problem says, in each rendering, and its program if it has one."""
    yield f"text\0{normalized_text(problem.prompt)}"
    for rendering in problem.renderings.values():
        yield f"text\0{normalized_text(rendering.prompt)}"
    if (problem.tests or programs) and problem.reference:
        program = normalized_program(problem.reference)
        if program in programs or (problem.tests and program):
            yield f"program\0{program}"


def _overlap(first: str, first_id: str, second: str, second_id: str, key: str) -> str:
    kind, _, text = key.partition("\0")
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
    mend = "keep one of them" if kind == "id" else "leave one out, or give both one group"
    return (
        f"splits {first} and {second} overlap: problems {first_id} and {second_id} have the same {kind} ({shown!r}), "
        f"so that what is trained on would be measured; {mend}"
    )


def normalized_text(text: str) -> str:
    """A text without regard to case and blanks."""
    return " ".join(text.split()).casefold()


def normalized_program(code: str) -> str:
    """A program without comments, every run of blanks one blank."""
    if "//" in code or "/*" in code:
        code = _COMMENT.sub(lambda found: found[1] or " ", code)
    return " ".join(code.split())
