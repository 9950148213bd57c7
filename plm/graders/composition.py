"""Grades answers of the function-composition task: digit by digit (§7 and Fig. 6 of the paper)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from plm.records import Grade, Problem

DIGITS = 4


def read_answer(text: str) -> tuple[str, str] | None:
    """The intermediate and the final four digits of `0 9 0 7 | 0 0 7 9`; None where the text is anything else.

    Spaces don't matter; more or fewer digits, other words and other separators do.
    """
    middle, bar, final = "".join(text.split()).partition("|")
    read = all(len(part) == DIGITS and part.isascii() and part.isdigit() for part in (middle, final))
    return (middle, final) if bar and read else None


def read_reference(text: str) -> str | None:
    """The final four digits of an answer that is right, which may also stand alone; None if there are none."""
    read = read_answer(text) or read_answer(f"0000|{text}")
    return read and read[1]


class CompositionGrader:
    """Right when all four final digits are; the score is the share of them that are.

    The intermediate digits must be there but are not graded. The authors' code reports the mean share of right digits
    over the answers that it can read; here an answer that cannot be read scores 0, and its reason is `parse`.
    """

    def grade(
        self, problems: Sequence[Problem], completions: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Grade]:
        """Grades `completions[i]` as an answer to `problems[i]`.

        Raises:
            ValueError: If a problem's reference cannot be read.
        """
        grades = [_grade(problem, text) for problem, text in zip(problems, completions, strict=True)]
        if progress:
            progress(len(grades))
        return grades


def _grade(problem: Problem, text: str) -> Grade:
    expected, answer = read_reference(problem.reference), read_answer(text)
    if expected is None:
        raise ValueError(f"problem {problem.id}: its reference {problem.reference!r} is not like `0 9 0 7 | 0 0 7 9`")
    if answer is None:
        return Grade(False, 0.0, "", "parse", 0.0)
    right = sum(digit == other for digit, other in zip(answer[1], expected, strict=True))
    correct = right == DIGITS
    return Grade(correct, right / DIGITS, " ".join(answer[1]), "correct" if correct else "wrong", 0.0)
