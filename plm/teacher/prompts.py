"""What the teacher is asked, and how its replies are read. The texts are plm's own; the paper does not print its."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from plm.datamodules.code_files.apps import MOST_DIGITS
from plm.datamodules.code_files.record import PublishedProblem
from plm.graders.extract import extract_code, looks_like_program
from plm.records import IOTest
from plm.teacher.replies import Choice

MOST_TESTS = 10  # that are translated; each costs tokens twice
LONGEST_TEST = 2_000  # characters of one that is translated
LONGEST_STATEMENT = 20_000
MOST_TEXT = 1_000_000  # characters of all tests of one problem
LONGEST_SOLUTION = 8_000

_REWRITE = """\
Below is a programming exercise. Write it anew as an exercise for a C++ program that reads standard input and writes \
standard output. What is read and what is written must stay exactly as it is, since existing tests are used. Keep \
everything that matters and the examples; leave out what is about other languages, websites, limits of time or memory.

Exercise:
{statement}

Reply in this form, with nothing before and nothing after:
<statement>
the new exercise
</statement>
"""

_TRANSLATE = """\
Below is a programming exercise for Python that is tested by calling a function. Turn it into an exercise for a C++ \
program that reads standard input and writes standard output.

Exercise:
{statement}
{starter}{solution}
Tests:
{tests}

Write three things.
1. The exercise anew. It must be complete without the text above: what is read, line by line, what is written, and \
what is to be computed. Choose a format that is easy to read in C++: write how many values a list has before its \
values, put a text that may hold blanks on a line of its own. Every input must have exactly one right output, and no \
output may be empty. Do not mention Python, functions, tests or this conversion.
2. All {count} tests in the new format, in the same order.
3. Lines of Python that are put below the Python solution: they read one input in the new format from standard input, \
call the solution, and print the output in the new format. {without}

Reply in this form, with nothing before and nothing after, each test with its own tags:
<statement>
the new exercise
</statement>
<test>
<input>
what is read
</input>
<output>
what is written
</output>
</test>
<python>
the lines of Python
</python>
"""

_SOLVE = """\
Solve this exercise with a C++17 program that reads standard input and writes standard output, writes no files, and \
ends within 0.5 seconds. Reply with the program alone, in one fenced block.

{statement}
"""

_AGAIN = """\
That reply cannot be used: {fault}. Write the whole reply again, in the same form.
"""


class BadReplyError(Exception):
    """A reply that cannot be used; the text says what is wrong with it."""


@dataclass(frozen=True)
class Translation:
    """A problem that has become one of standard input and output.

    Args:
        statement: The new statement.
        tests: Its tests.
        glue: Python lines that make a program of the published solution; empty where it is one.
    """

    statement: str
    tests: tuple[IOTest, ...]
    glue: str = ""


def translation_prompt(problem: PublishedProblem) -> str:
    """What the teacher is asked to make of a problem that has tests."""
    if problem.kind == "stdin":
        return _REWRITE.format(statement=problem.statement.strip())
    shown = shown_tests(problem)
    solution = shown_solution(problem)
    return _TRANSLATE.format(
        statement=problem.statement.strip(),
        starter=f"\nSolutions start with:\n{problem.starter_code.strip()}\n" if problem.starter_code.strip() else "",
        solution=f"\nA Python solution:\n{solution.strip()}\n" if solution else "",
        tests="\n".join(f"Test {number}: {test}" for number, test in enumerate(shown, 1)),
        count=len(shown),
        without="" if solution else "There is no Python solution here: leave this part empty.",
    )


def again_prompt(fault: str) -> str:
    """What the teacher is told about a reply that cannot be used."""
    return _AGAIN.format(fault=fault)


def solution_prompt(statement: str) -> str:
    """What the teacher is asked when it solves a problem."""
    return _SOLVE.format(statement=statement.strip())


def shown_solution(problem: PublishedProblem) -> str:
    """The shortest published solution, if it is not too long to show."""
    texts = sorted((text for text in problem.solutions if text.strip()), key=lambda text: (len(text), text))
    return texts[0] if texts and len(texts[0]) <= LONGEST_SOLUTION else ""


def shown_tests(problem: PublishedProblem) -> list[str]:
    """The first tests of a function, as text, that are short enough to be translated."""
    raw: dict[str, Any] = json.loads(problem.raw_tests, parse_int=_whole_number)
    if problem.kind == "assert":
        setup = [str(line) for name in ("test_imports", "test_setup_code") for line in _as_list(raw.get(name))]
        tests = ["\n".join([*filter(str.strip, setup), str(test)]) for test in raw["test_list"]]
    else:
        name = raw.get("fn_name") or "the function"
        pairs = zip(raw["inputs"], raw["outputs"], strict=True)
        tests = [f"{name} called with {_dump(given)} gives {_dump(wanted)}" for given, wanted in pairs]
    return [test for test in tests if len(test) <= LONGEST_TEST][:MOST_TESTS]


def kept_tests(problem: PublishedProblem) -> tuple[IOTest, ...]:
    """The published tests of standard input and output, as many from the first on as are not too long together."""
    kept: list[IOTest] = []
    room = MOST_TEXT
    for test in problem.tests:
        room -= len(test.input) + len(test.output)
        if room < 0:
            break
        kept.append(test)
    return tuple(kept)


def read_translation(problem: PublishedProblem, choice: Choice) -> Translation:
    """Reads a reply to `translation_prompt`.

    Raises:
        BadReplyError: If it is not in the form that was asked for.
    """
    text = without_thoughts(choice)
    statements = sections(text, "statement")
    if len(statements) != 1 or not statements[0].strip():
        raise BadReplyError("there is not one <statement>")
    statement = statements[0]
    if len(statement) > LONGEST_STATEMENT:
        raise BadReplyError(f"the statement is longer than {LONGEST_STATEMENT} characters")
    if problem.kind == "stdin":
        return Translation(statement.strip(), kept_tests(problem))
    tests = tuple(read_test(part, number) for number, part in enumerate(sections(text, "test"), 1))
    wanted = len(shown_tests(problem))
    if len(tests) != wanted:
        raise BadReplyError(f"there are {len(tests)} tests, not {wanted}")
    if sum(len(test.input) + len(test.output) for test in tests) > MOST_TEXT:
        raise BadReplyError(f"the tests are longer than {MOST_TEXT} characters")
    if len({test.input for test in tests}) < len({(test.input, test.output) for test in tests}):
        raise BadReplyError("one input has two outputs")
    glue = (sections(text, "python") or ["\n"])[0]
    if shown_solution(problem) and not glue.strip():
        raise BadReplyError("there are no lines of <python>")
    return Translation(statement.strip(), tests, extract_code(glue, ("python", "py", "python3")).strip("\n"))


def read_program(choice: Choice) -> str:
    """Reads a reply to `solution_prompt`: the program alone.

    Raises:
        BadReplyError: If there is no program in it.
    """
    program = extract_code(without_thoughts(choice)).strip()
    if not looks_like_program(program):
        raise BadReplyError("there is no program")
    return program + "\n"


def read_test(part: str, number: int) -> IOTest:
    """Reads one test, what stands between `<test>` and `</test>`.

    Raises:
        BadReplyError: If it has not one input and one output that is not blank.
    """
    inputs, outputs = sections(part, "input"), sections(part, "output")
    if len(inputs) != 1 or len(outputs) != 1:
        raise BadReplyError(f"test {number} has not one <input> and one <output>")
    if not outputs[0].strip():
        raise BadReplyError(f"test {number} has an empty output")
    return IOTest(inputs[0], outputs[0])


def sections(text: str, tag: str) -> list[str]:
    """What stands between `<tag>` and `</tag>`, each; the line ends beside the tags are not part of it.

    Raises:
        BadReplyError: If a tag is not closed.
    """
    found: list[str] = []
    opening, closing = f"<{tag}>", f"</{tag}>"
    position = 0
    while (start := text.find(opening, position)) >= 0:
        end = text.find(closing, start)
        if end < 0:
            raise BadReplyError(f"<{tag}> is not closed")
        inner = text[start + len(opening) : end].replace("\r\n", "\n").removeprefix("\n")
        found.append(inner if not inner or inner.endswith("\n") else inner + "\n")
        position = end + len(closing)
    return found


def without_thoughts(choice: Choice) -> str:
    """The reply without the thinking that some servers leave in front of it.

    Raises:
        BadReplyError: If the length limit cut it off.
    """
    if not choice.finished:
        raise BadReplyError("it was cut off by the length limit")
    return choice.text.rpartition("</think>")[2]


def _whole_number(text: str) -> int | str:
    """Python refuses to read very long numbers."""
    return int(text) if len(text) < MOST_DIGITS else text


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value] if value else []


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
