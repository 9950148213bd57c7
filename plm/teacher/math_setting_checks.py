r"""What must be true of MATH told in Spanish with ASCII-Math, whoever told it: checks that trust no teacher.

Each check returns a fault in words, as the teacher is told, or nothing. Whether the Spanish is good, and each step of a
solution the original's, is beyond them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from plm.graders.math import extract_answer, judge
from plm.teacher.math_setting_prompts import MARK
from plm.teacher.teacher import Fault

KEPT_SHARE = 0.8
"""Of the different numbers of a solution that its translation has to name. Our choice."""
LONGEST_ANSWER = 300  # characters behind the mark
_SHOWN = 6

_LATEX = re.compile(r"\\[A-Za-z]{0,20}|\$|\b(?:[dt]?frac|boxed|fbox|mathrm|mathbf|begin|end)\s?\{")
_ONE_DIGIT = re.compile(r"((?:[\^_]|\\[dtc]?frac|\\sqrt|\\[dt]?binom)\s?\d)(?=\d)")
_LAYOUT = re.compile(r"\\[hv]space\*?\{[^{}]*\}|\\\\\[[^\[\]]{0,9}\]|\\!")
_GROUPED = re.compile(r"(?<=\d)(?:,|\\,)(?=\d{3}(?!\d))")
_NUMBER = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_WORD = re.compile(r"[^\W\d_]+")
_ENGLISH = frozenset(
    "the of is are what and to find how many that which with we have has this there be from by at it so then since let "
    "given where each for".split()
)
_SPANISH = frozenset(
    "el la los las un una unos unas de del que qué es son en se por con para como cuál cuáles cuánto cuánta cuántos "
    "cuántas sea sean halla calcula encuentra determina tenemos entonces si su al lo".split()
)


def problem_faults(shown: Mapping[str, str], told: Mapping[str, str]) -> Iterator[Fault]:
    """What is wrong with the translation of a problem and its solution, without their pictures."""
    for tag in ("problem", "solution"):
        yield from _language_faults(tag, shown[tag], told[tag])
    yield from _number_faults(shown["problem"], told["problem"])
    yield from _step_faults("solution", shown["solution"], told["solution"])
    yield from _answer_faults(shown["solution"], told["solution"], must_be_marked=True)


def answer_faults(shown: str, told: str) -> Iterator[Fault]:
    """What is wrong with the translation of somebody's answer, which may be wrong, and has to stay so."""
    yield from _language_faults("answer", shown, told)
    yield from _step_faults("answer", shown, told)
    if extract_answer(shown) is not None:
        yield from _answer_faults(shown, told, must_be_marked="\\boxed" in shown)


def numbers(text: str, *, joined: bool = False, told: bool = False) -> Counter[str]:
    r"""The numbers of a text. In LaTeX, `\frac12` has 1 and 2, `x^23` has 2 and 3; in ASCII-Math, `x^23` has 23.

    Args:
        text: The text.
        joined: Whether a comma before three digits groups them.
        told: Whether it should be ASCII-Math, whatever is in it.
    """
    plain = text
    if not told and ("\\" in text or "$" in text):
        plain = _ONE_DIGIT.sub(r"\1 ", _LAYOUT.sub("", text.replace("{,}", ",")))
    if joined:
        plain = _GROUPED.sub("", plain)
    return Counter(match[0].lstrip("0") or "0" for match in _NUMBER.finditer(plain))


def _language_faults(tag: str, shown: str, told: str) -> Iterator[Fault]:
    if match := _LATEX.search(told):
        yield Fault("latex", f"{match[0]!r} in the {tag} is LaTeX")
    words = Counter(word.casefold() for word in _WORD.findall(told))
    english, spanish = (sum(words[word] for word in known) for known in (_ENGLISH, _SPANISH))
    if english > spanish or (" ".join(told.split()) == " ".join(shown.split()) and len(words) > 1):
        yield Fault("not Spanish", f"the {tag} is not in Spanish")


def _number_faults(shown: str, told: str) -> Iterator[Fault]:
    pairs = [(numbers(shown, joined=joined), numbers(told, joined=joined, told=True)) for joined in (False, True)]
    if any(before == after for before, after in pairs):
        return
    before, after = pairs[0]
    lost, added = sorted((before - after).elements()), sorted((after - before).elements())
    said = [f"{name} {', '.join(which[:_SHOWN])}" for name, which in (("lost", lost), ("added", added)) if which]
    yield Fault("numbers", f"the problem's numbers differ from the original's: {'; '.join(said)}")


def _step_faults(tag: str, shown: str, told: str) -> Iterator[Fault]:
    missing: list[str] = []
    for joined in (False, True):
        before, after = set(numbers(shown, joined=joined)), set(numbers(told, joined=joined, told=True))
        lost = sorted(before - after)
        if len(lost) <= (1 - KEPT_SHARE) * len(before):
            return
        missing = missing or lost
    yield Fault("steps", f"the {tag} leaves steps out: its numbers {', '.join(missing[:_SHOWN])} are missing")


def _answer_faults(shown: str, told: str, *, must_be_marked: bool) -> Iterator[Fault]:
    _, mark, said = told.rpartition(f"{MARK} ")
    if must_be_marked and (not mark or not said.strip(" .") or "\n" in said or len(said) > LONGEST_ANSWER):
        yield Fault("answer", f'the last sentence is not "{MARK} …."')
        return
    wanted, read = extract_answer(shown) or "", extract_answer(told) or ""
    if judge(read, wanted) != "correct":
        yield Fault("answer", f"the final answer is read as {read!r:.80}, and not as {wanted!r:.80}")
