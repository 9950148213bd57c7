"""APPS and MBPP as they are published, as far as they can be used without a teacher (TSK-1; App. E.1 of the paper)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from plm.datamodules.code import CodeSource
from plm.datamodules.code_files.apps import read_apps, unique
from plm.datamodules.code_files.mbpp import read_mbpp
from plm.datamodules.code_files.record import PublishedProblem
from plm.datamodules.splits import Splits, split_by_group
from plm.errors import PlmError
from plm.progress import say
from plm.records import Problem

WHY = {
    "call": "tested by calls of a function: they need a teacher",
    "assert": "tested by assertions: they need a teacher",
    "none": "without tests",
    "competition": "of competition level",
}


class AppsMbppCode(CodeSource):
    """Problems of APPS and MBPP that can be C++ tasks as they stand: those tested by standard input and output.

    The paper has a teacher translate all others, drops problems of competition level and those without tests, and
    keeps what the teacher can solve (App. E.1). Without a teacher there are no C++ references either: a model can be
    evaluated, and trained on what it samples, but not on references. What is kept, dropped, and why, is said.

    Args:
        apps: One or more of: files in the columns of `codeparrot/apps`, the original folder, a `.tar.gz` of it.
        mbpp: One or more of: `google-research-datasets/mbpp`, files with its columns.
        competition: Keep problems of competition level.
    """

    def __init__(
        self, apps: str | Sequence[str] = (), mbpp: str | Sequence[str] = (), competition: bool = False
    ) -> None:
        if not apps and not mbpp:
            raise PlmError("AppsMbppCode: name at least one source, apps or mbpp")
        self.apps = [apps] if isinstance(apps, str) else list(apps)
        self.mbpp = [mbpp] if isinstance(mbpp, str) else list(mbpp)
        self.files = (*self.apps, *self.mbpp)
        self.competition = competition

    def load(self, seed: int) -> Splits:
        """Reads, counts, and splits what is kept 10 / 40 / 30 / 20.

        Raises:
            PlmError: If nothing is left, or the data cannot be read.
        """
        problems = [problem for source in self.apps for problem in read_apps(source)]
        problems += [problem for source in self.mbpp for problem in read_mbpp(source)]
        unique(problems, "AppsMbppCode")
        kept = [problem for problem in problems if self.reason(problem) is None]
        counts = Counter(reason for problem in problems if (reason := self.reason(problem)))
        dropped = "; ".join(f"{count} {WHY[reason]}" for reason, count in counts.most_common())
        if not kept:
            raise PlmError(f"none of the {len(problems)} problems can be used as it stands: {dropped}")
        say(f"{len(kept)} of {len(problems)} problems are kept (input and output); dropped: {dropped or 'none'}")
        return split_by_group([_as_task(problem) for problem in kept], seed)

    def reason(self, problem: PublishedProblem) -> str | None:
        """Why a problem is dropped, a key of `WHY`; None where it is kept."""
        if problem.kind == "none":
            return "none"
        if problem.difficulty == "competition" and not self.competition:
            return "competition"
        return None if problem.kind == "stdin" else problem.kind


def _as_task(problem: PublishedProblem) -> Problem:
    answers = {"python": problem.solutions} if problem.solutions else {}
    return Problem(problem.id, problem.statement, problem.difficulty, "", problem.tests, answers=answers)
