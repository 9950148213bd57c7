"""Continuous rewards: scores that stand in for the grader's when graded answers become training data (ELI-7)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from plm.distributed import in_shares
from plm.embedders import DECIMALS
from plm.progress import working
from plm.records import Graded, Problem


class Reward(ABC):
    """Says how good completions are, on a continuous scale (App. B.3.1 of the paper)."""

    @abstractmethod
    def scores(
        self, problems: Sequence[Problem], completions: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[float]:
        """The reward of `completions[i]` as an answer to `problems[i]`.

        Completions are hostile: whatever they hold, they get a score and raise nothing.

        Args:
            problems: What was asked.
            completions: What was answered.
            progress: Called with the number of completions that have just been judged.

        Returns:
            Scores in [0, 1], in the same order.
        """


def rewarded(reward: Reward | None, answers: Sequence[Sequence[Graded]]) -> list[list[Graded]]:
    """The scores that training sees: 1 for a correct answer and 0 for another, or a reward's (§6, B.3.1 of the paper).

    Whether an answer is correct stays the grader's verdict. A reward's scores are rounded to 6 decimals, so that
    answers whose scores differ by rounding alone are no pair. Every process scores its share. An answer that was not
    asked for want of room keeps its score of 0.

    Args:
        reward: Where None, what is right counts 1, also in tasks whose grader gives partial credit.
        answers: Those to one problem in each inner list.
    """
    if reward is None:
        return [[_scored(row, float(row.grade.correct)) for row in group] for group in answers]
    flat = [answer for group in answers for answer in group]

    def judge(share: list[Graded]) -> list[float]:
        asked = [row for row in share if row.finished or row.tokens]
        with working("judging", total=len(asked)) as advance:
            texts = [row.completion for row in asked]
            made = iter(reward.scores([row.problem for row in asked], texts, progress=advance))
        return [round(next(made), DECIMALS) if row.finished or row.tokens else 0.0 for row in share]

    scores = iter(in_shares(judge, flat))
    return [[_scored(row, next(scores)) for row in group] for group in answers]


def _scored(row: Graded, score: float) -> Graded:
    return row._replace(grade=row.grade._replace(score=score))
