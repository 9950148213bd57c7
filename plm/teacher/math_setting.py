"""Has a teacher tell MATH in Spanish with ASCII-Math, and answers to it (LCK-4; App. B.1.3 of the paper)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from plm.datamodules.math_files import COLUMNS
from plm.datamodules.splits import SplitName, normalized_text
from plm.records import Problem
from plm.teacher.math_setting_checks import answer_faults, problem_faults
from plm.teacher.math_setting_prompts import Shown
from plm.teacher.prompts import BadReplyError
from plm.teacher.replies import Choice
from plm.teacher.teacher import Draft, Fault, Teacher, live

SETTING = "spanish_ascii"
"""What the columns of the translation end with; the embedded task calls the setting so, too."""
_FIRST: tuple[SplitName, ...] = ("val", "elicit", "lock", "weak")
"""Of two problems that say the same in Spanish, the one of the earlier of these splits stays."""


@dataclass(eq=False)
class Told(Draft[Problem]):
    """Texts on their way into the other setting.

    Args:
        problem: As published.
        shown: A problem and its solution, or an answer to it, as the teacher sees them.
        told: The same in the other setting, with their pictures; empty until a translation is of use.
        dropped: Why it is left out, a key of `report.WHY`; empty while it is not.
        detail: More about that.
    """

    shown: Shown
    told: Mapping[str, str] = field(default_factory=dict)

    def faults(self, told: Mapping[str, str]) -> list[Fault]:
        """What is wrong with a translation, most serious first."""
        return list(problem_faults(self.shown.texts, told))


@dataclass(eq=False)
class ToldAnswer(Told):
    """An answer to a problem on its way into the other setting.

    Args:
        policy: Who answered.
    """

    policy: str = ""

    def faults(self, told: Mapping[str, str]) -> list[Fault]:
        """What is wrong with a translation, most serious first."""
        return list(answer_faults(self.shown.texts["answer"], told["answer"]))


@dataclass(eq=False)
class ToldProblem(Told):
    """A problem with its solution on its way into the other setting.

    Args:
        split: Where it lies, and stays.
        columns: As published: `problem`, `level`, `type`, `solution`.
        given: Policy → what it answered, in the published setting; every policy is here, also those that answered
            nothing.
        answers: The translations of these answers.
    """

    split: SplitName = "lock"
    columns: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, Sequence[str]] = field(default_factory=dict)
    answers: list[ToldAnswer] = field(default_factory=list)

    def told_answers(self, policy: str) -> list[str]:
        """What a policy answered, in the other setting, as far as it could be translated."""
        return [one.told["answer"] for one in live(self.answers) if one.policy == policy]

    def as_row(self) -> dict[str, Any]:
        """The row that `plm.datamodules.MathFiles` reads, with `splits: split` and the names of these columns."""
        row = {"id": self.problem.id, "split": self.split, **{name: self.columns[name] for name in COLUMNS}}
        row |= {f"{tag}_{SETTING}": self.told[tag] for tag in ("problem", "solution")}
        for policy, texts in self.given.items():
            row |= {policy: list(texts), f"{policy}_{SETTING}": self.told_answers(policy)}
        return row


class MathSettingTeacher(Teacher[Told]):
    """Translates problems with their solutions, then what policies answered; keeps what passes all checks."""

    def make(self, drafts: Sequence[ToldProblem]) -> None:
        """Translates what can be translated; what cannot says why.

        Raises:
            PlmError: If the endpoint fails for good; what was done until then is on disk.
        """
        for one in drafts:
            if not one.shown.is_short_enough:
                one.drop("too much")
        self._translate("translate", live(drafts))
        drop_copies(live(drafts))
        answers = [answer for one in live(drafts) for answer in one.answers]
        for each in answers:
            if not each.shown.is_short_enough:
                each.drop("too much")
        self._translate("translate answers", live(answers))
        drop_unanswered(drafts)

    def _translate(self, step: str, told: Sequence[Told]) -> None:
        def read(choices: Mapping[Told, Choice]) -> dict[Told, Fault]:
            found = {one: self._fault(step, one, choice) for one, choice in choices.items()}
            return {one: fault for one, fault in found.items() if fault is not None}

        for one, fault in self.insist(step, {one: one.shown.prompt for one in told}, read).items():
            one.drop(*fault)

    def _fault(self, step: str, one: Told, choice: Choice) -> Fault | None:
        """Takes a translation in, or says all that is wrong with it."""
        try:
            told = one.shown.read(choice)
        except BadReplyError as error:
            return Fault("unusable", self.note(one, step, error, choice))
        if faults := one.faults(told):
            said = "; ".join(fault.detail for fault in faults)
            return Fault(faults[0].reason, self.note(one, step, said, choice))
        one.told = one.shown.with_pictures(told)
        return None


def drop_copies(drafts: Iterable[ToldProblem]) -> None:
    """Leaves out what says the same as a problem of another split: `$2$` and `2` are one in ASCII-Math."""
    places: dict[str, ToldProblem] = {}
    for one in sorted(drafts, key=lambda each: _FIRST.index(each.split)):
        first = places.setdefault(normalized_text(one.told["problem"]), one)
        if first.split != one.split:
            one.drop("copy", f"{first.problem.id}, in {first.split}")


def drop_unanswered(drafts: Sequence[ToldProblem]) -> None:
    """Leaves out problems without an answer of a policy that answered others of their split: a lock needs one each."""
    answered: dict[str, set[SplitName]] = defaultdict(set)
    for one in drafts:
        for policy, texts in one.given.items():
            answered[policy] |= {one.split} if texts else set()
    for one in live(drafts):
        for policy in one.given:
            if one.split in answered[policy] and not one.told_answers(policy):
                faults = (
                    ", ".join(sorted({each.dropped for each in one.answers if each.policy == policy})) or "none given"
                )
                one.drop("unanswered", f"{policy}: {faults}")
                break
