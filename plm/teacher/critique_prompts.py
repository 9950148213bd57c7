"""What the teacher is asked when it breaks programs, with examples by hand, and how its replies are read."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import NamedTuple

from plm.datamodules.splits import normalized_program
from plm.graders.extract import extract_code, looks_like_program
from plm.records import Problem
from plm.seeds import derive_seed
from plm.teacher.prompts import (
    LONGEST_SOLUTION,
    LONGEST_STATEMENT,
    BadReplyError,
    read_test,
    sections,
    without_thoughts,
)
from plm.teacher.replies import Choice

SHOWN = 2  # examples in a prompt (App. E.2 of the paper)
LONGEST_CRITIQUE = 2_000  # characters
_COMMENT = re.compile(
    r'("(?:\\.|[^"\\\n])*+")|(\'(?:\\.|[^\'\\\n])*+\')|//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+(?:\*/)?', re.DOTALL
)
_GIVEN_AWAY = re.compile(
    r"\b(original|unchanged|unmodified|modified|changed|altered) (program|code|version|solution)\b"
)

_BREAK = """\
Below is an exercise and a C++ program that solves it. Make the program wrong: change one place as somebody might get \
it wrong by mistake. Then explain what is wrong with the program that you have made.

The program must still compile, and give a wrong answer for some valid inputs. Change what it computes; a different \
layout of the output alone, or a crash that is put there on purpose, is not what is wanted. Leave everything else as \
it is, and write no comments.

The explanation is for somebody who sees the exercise and your program, and nothing else. Say in one to three \
sentences which part is wrong, why, and for which inputs it shows. Do not say that anything was changed.

{examples}

Now this one.

Exercise:
{statement}

Program:
{program}

Reply in the same form, with nothing before and nothing after:
<program>
the wrong program
</program>
<critique>
what is wrong with it
</critique>
"""
_EXAMPLE = """\
Exercise:
{statement}

Program:
{program}

Reply:
<program>
{broken}
</program>
<critique>
{critique}
</critique>"""


class BrokenProgram(NamedTuple):
    """A program that fails, and what is wrong with it.

    Attributes:
        program: C++, without comments.
        critique: In words.
    """

    program: str
    critique: str


class Example(NamedTuple):
    """An example by hand.

    Attributes:
        problem: Statement, correct program and a test that shows the mistake.
        broken: The program that fails it, and why.
    """

    problem: Problem
    broken: BrokenProgram


@cache
def read_examples() -> tuple[Example, ...]:
    """The examples by hand, of which each prompt shows two."""
    text = resources.files("plm").joinpath("data/broken_programs.txt").read_text(encoding="utf-8")
    return tuple(_read_example(part, number) for number, part in enumerate(sections(text, "example"), 1))


def _read_example(part: str, number: int) -> Example:
    (statement,), (program,) = sections(part, "exercise"), sections(part, "program")
    (changed,), (critique,) = sections(part, "changed"), sections(part, "critique")
    tests = tuple(read_test(test, place) for place, test in enumerate(sections(part, "test"), 1))
    problem = Problem(f"example-{number}", statement.strip(), "", program.strip(), tests)
    return Example(problem, BrokenProgram(changed.strip(), " ".join(critique.split())))


def draw_examples(problem: Problem) -> list[Example]:
    """Two different examples; the problem alone decides which."""
    return random.Random(derive_seed(0, "examples of critiques", problem.id)).sample(read_examples(), SHOWN)


def is_short_enough(problem: Problem) -> bool:
    """Whether statement and program can be shown."""
    return len(problem.prompt) <= LONGEST_STATEMENT and len(problem.reference) <= LONGEST_SOLUTION


def break_prompt(problem: Problem, examples: Sequence[Example]) -> str:
    """What the teacher is asked to make of a problem with its correct program."""
    shown = [
        _EXAMPLE.format(
            statement=each.problem.prompt, program=each.problem.reference, broken=each.broken.program,
            critique=each.broken.critique,
        )
        for each in examples
    ]  # fmt: skip
    parts = [f"Example {number}.\n\n{text}" for number, text in enumerate(shown, 1)]
    return _BREAK.format(
        examples="\n\n".join(parts), statement=problem.prompt.strip(), program=problem.reference.strip()
    )


def read_broken(problem: Problem, choice: Choice) -> BrokenProgram:
    """Reads a reply to `break_prompt`. Comments are taken out of the program: one might say where the mistake is.

    Raises:
        BadReplyError: If it is not in the form that was asked for, nothing was changed, or the critique speaks of a
            program that its reader does not see.
    """
    text = without_thoughts(choice)
    programs, critiques = sections(text, "program"), sections(text, "critique")
    if len(programs) != 1 or len(critiques) != 1:
        raise BadReplyError("there is not one <program> and one <critique>")
    if len(programs[0]) > 2 * LONGEST_SOLUTION:
        raise BadReplyError(f"the program is longer than {2 * LONGEST_SOLUTION} characters")
    program = without_comments(extract_code(programs[0])).strip()
    critique = " ".join(critiques[0].split())
    if not looks_like_program(program):
        raise BadReplyError("there is no program")
    if not critique or len(critique) > LONGEST_CRITIQUE:
        raise BadReplyError(f"the critique is empty or longer than {LONGEST_CRITIQUE} characters")
    if found := _GIVEN_AWAY.search(critique.lower()):
        raise BadReplyError(f"the critique speaks of the {found[0]}, which its reader does not see")
    if normalized_program(program) == normalized_program(problem.reference):
        raise BadReplyError("nothing was changed")
    return BrokenProgram(program + "\n", critique)


def without_comments(program: str) -> str:
    """A C++ program without its comments, and without the lines that held nothing else."""
    kept: list[str] = []
    bare = _COMMENT.sub(lambda found: found[1] or found[2] or "\0", program.replace("\0", ""))
    for line in bare.split("\n"):
        if "\0" not in line or line.replace("\0", "").strip():
            kept.append(line.replace("\0", " ").rstrip() if "\0" in line else line)
    return "\n".join(kept)
