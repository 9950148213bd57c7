r"""Which letter does an answer to a multiple-choice question name? And is it the right one (TSK-4)?

What counts, in this order; the first that names exactly one letter decides:

1. the answer is a letter, or its first line is (`C`, `(c)`, `**C**.`);
2. the last "answer" that names a letter: `The answer is (C)`, `ANSWER: C`, `réponse est C`, `\boxed{C}`;
3. a letter at the very start that is set off as a label: `C. copper`, `C, because ...`;
4. the last conclusion: `so it's C`, `C is correct`;
5. the text of one option, alone or after "answer";
6. the only letter of the whole text that stands alone and is not denied.

Text behind the last `</think>` goes before the rest. Where several letters are named side by side (`A or B`), or
several remain in the last step, there is no answer: plm does not guess.

All patterns run in time linear in the text, of which at most `MAX_CHARACTERS` are read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from plm.records import Grade, Problem

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MAX_CHARACTERS = 20_000
LONGEST_OPTION = 1_000  # characters of an option that is quoted as the answer
LAST_ANSWERS = 20  # of the text, looked at for a quoted option

_WORD = "0-9A-Za-z_\u00c0-\u024f"  # Latin with accents; letters of other scripts may touch a label
_OPEN = r"(?:\\(?:text|mathrm|mathbf|boxed|textbf)\s{0,2}\{|[(\[{*_\"'`$“‘<])"
_SPACE = r"[ \t]"
_LABEL = re.compile(rf"(?<![{_WORD}'’-])({_OPEN}{{1,6}}{_SPACE}?)?([A-Za-z])(?![{_WORD}]|['’][A-Za-z]|-[A-Za-z])")
_ANSWER = re.compile(
    r"answers?\b|\\boxed(?=\s{0,2}\{)|\b(?:correct|right|best|final) (?:option|choice|letter)\b"
    r"|\bantwort\b|\bréponse\b|\brespuesta\b|\brisposta\b|\bresposta\b|\bsvar\b|\bodpowiedź\b|\bответ\b|\bcevap\b"
    r"|答案|答え|正解|정답|đáp án|\bjawaban\b|الإجابة|उत्तर",
    re.IGNORECASE,
)
_BETWEEN = re.compile(
    r"(?:[\s:：=*_#\"'“‘>-]|\b(?:is|are|was|be|being|would|should|must|will|likely|probably|definitely|certainly|clearly|for"
    r"|sure|simply|therefore|thus|then|hence|the|correct|right|best|final|option|choice|letter|answer|as|follows|to|this"
    r"|question|est|la|le|ist|es|é|è|är|er|opción|opção|opzione|buchstabe|correcta|correcte|richtige)\b"
    r"|是|为|為|は|은|는|选项|選項|选){0,14}",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"\b(?:it['’]s|it is|it must be|it should be|i think|i believe|i choose|i pick|i select|i['’]d say|go with"
    r"|going with|therefore|thus|hence|so)\b[,:]?",
    re.IGNORECASE,
)
_CORRECT = re.compile(
    r"[)\]}*\"'”’]{0,6} (?:is|must be|should be|seems) (?:the )?(?:correct|right|best|true)\b", re.IGNORECASE
)
_WRONG = re.compile(
    r"[)\]}*\"'”’]{0,6},? (?:is|are|was|can['’]t be|cannot be|must be|seems)(?: (?:clearly|also|definitely))?"
    r" (?:not|n't|wrong|incorrect|false|impossible|ruled out|excluded|eliminated)\b"
    r"|[)\]}*\"'”’]{0,6} (?:isn['’]t|can['’]t|cannot|doesn['’]t|does not)\b",
    re.IGNORECASE,
)
_NOT = re.compile(
    r"(?:\bnot|n['’]t|\bcannot|\bnever|\bneither|\bnor|\brather than|\binstead of|\bexcept|\bexcludes?|\bexcluding"
    r"|\beliminates?|\beliminating|\brul(?:e|es|ed|ing) out|\bnon|\bpas|\bnicht|\bkeine?|\bno|不是|不|아니라)\b"
    r"(?: be| the| option| choice)*\s*\W{0,3}$"
    r"|\b(?:vitamin|hepatitis|type|group|class|grade|plan|factor|influenza|statement)\s$",
    re.IGNORECASE,
)
_LISTED = re.compile(
    r"[)\]}*\"'”’]{0,6}(?:\s*[/&+]\s*|,?\s+(?:and|or|und|oder|et|ou|y|o)\s+|\s+)[(\[{*\"'“‘]{0,6}([A-Z])(?![A-Za-z0-9'’-])"
    r"|[)\]}*\"'”’]{0,6}\s*,\s*[(\[{*\"'“‘]{0,6}([A-Z])[)\]}*\"'”’]{0,6}\s*(?:,|and\b|or\b|\.|$)"
)
_SET_OFF = re.compile(r"[.,;)\]}*\"'”’]|\s*\n|\s*$|\s+[-–—]|\s+because\b|\s*[。，、；」]|[\u3040-\u9fff\uac00-\ud7af]")
_WORD_FOLLOWS = re.compile(r" (?!(?:is|was|must|seems|because|since|as|or|and|not|can['’]t|cannot)\b)[a-z]")
_ENDS = re.compile(r"[)\]}*]|[.,;!]?[ \t]*(?:\n|$)")
_STARTS_SENTENCE = re.compile(r"(?:^|[.!?]|\n)\s*$")
_OPTIONS = re.compile(r"^[ \t]{0,4}\(?A[.):].*\n{1,2}[ \t]{0,4}\(?B[.):]", re.MULTILINE)


class Named(NamedTuple):
    """A place where a text names a letter: the letter, the end of it, and whether brackets or the like set it off."""

    letter: str
    start: int
    end: int
    enclosed: bool


class ChoiceGrader:
    """Grades answers to multiple-choice questions: the letter that they name against the reference.

    A problem's reference is its right letter, or the right option itself; its `choices` are the options.
    """

    def grade(
        self, problems: Sequence[Problem], completions: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> list[Grade]:
        """Grades `completions[i]` as an answer to `problems[i]`."""
        grades = []
        for problem, completion in zip(problems, completions, strict=True):
            letter = extract_letter(completion, problem.choices)
            reason = "parse" if letter is None else "correct" if letter == _right_letter(problem) else "wrong"
            grades.append(Grade(reason == "correct", float(reason == "correct"), letter or "", reason, 0.0))
            if progress:
                progress(1)
        return grades


def _right_letter(problem: Problem) -> str:
    return (
        LETTERS[problem.choices.index(problem.reference)] if problem.reference in problem.choices else problem.reference
    )


def extract_letter(text: str, choices: Sequence[str]) -> str | None:
    """The letter that an answer names; None where it names none, or several.

    Args:
        text: What a model wrote. Hostile text costs no more than its length.
        choices: The options, in the order of their letters; empty ones where their text is not known.
    """
    if len(text) > MAX_CHARACTERS:
        text = f"{text[: MAX_CHARACTERS // 2]}\n{text[-MAX_CHARACTERS // 2 :]}"
    text = unicodedata.normalize("NFKC", text)
    said = text.rpartition("</think>")[2]
    for part in dict.fromkeys((said, text.replace("</think>", "\n"))):
        if (letter := _Reader(part, choices).read()) is not None:
            return letter
    return None


class _Reader:
    """One text and the letters that may be named in it."""

    def __init__(self, text: str, choices: Sequence[str]) -> None:
        self.text = text.strip()
        self.choices = choices
        self.letters = LETTERS[: len(choices)]

    def read(self) -> str | None:
        whole = self._alone()
        if whole:
            return whole
        options = _OPTIONS.search(self.text)
        if options and options.start() > 0:  # the model may go on with the next question
            before = _Reader(self.text[: options.start()].rpartition("\n\n")[0], self.choices)
            if letter := before._answer()[0] or before._leading():
                return letter
        letter, undecided = self._answer()
        if letter or undecided:
            return letter
        started_with_options = options is not None and options.start() == 0
        return (
            (None if started_with_options else self._leading()) or self._conclusion() or self._quoted() or self._only()
        )

    def _alone(self) -> str | None:
        """The letter, if the first line is nothing else."""
        line = self.text.partition("\n")[0].strip(" \t.,;:!()[]{}*_\"'`$<>。、")
        line = re.sub(r"^\\(?:text|boxed|mathrm|mathbf)\s?\{", "", line)
        return line.upper() if len(line) == 1 and line.upper() in self.letters else None

    def _named(self, start: int, anchored: bool = True) -> Named | None:
        match = _LABEL.match(self.text, start) if anchored else _LABEL.search(self.text, start)
        if match is None:
            return None
        return Named(match[2], match.start(), match.end(), match[1] is not None)

    def _is_label(self, named: Named) -> bool:
        """Whether a letter is meant as a label, not as a word (`a`, `I`)."""
        if named.letter.upper() not in self.letters:
            return False
        if named.letter.islower():
            return _ENDS.match(self.text, named.end) is not None or (named.start == 0 and self.text[named.end] == ".")
        if named.enclosed or named.letter not in "AI" or not _WORD_FOLLOWS.match(self.text, named.end):
            return True
        return named.letter == "A" and not _STARTS_SENTENCE.search(self.text[max(0, named.start - 4) : named.start])

    def _is_denied(self, named: Named) -> bool:
        before = self.text[max(0, named.start - 40) : named.start]
        return bool(_NOT.search(before) or _WRONG.match(self.text, named.end))

    def _is_listed(self, named: Named) -> bool:
        """Whether other letters stand beside it."""
        match = _LISTED.match(self.text, named.end)
        return match is not None and (match[1] or match[2]) in self.letters.replace(named.letter.upper(), "")

    def _answer(self) -> tuple[str | None, bool]:
        """The letter of the last "answer" that names one, and whether one named several."""
        found, undecided = None, False
        for marker in _ANSWER.finditer(self.text):
            named = self._after(marker.end())
            if named is None or self._is_denied(named):
                continue
            undecided = self._is_listed(named)
            found = None if undecided else named.letter.upper()
        return found, undecided

    def _after(self, start: int) -> Named | None:
        """The label behind a marker: right behind it but for a few usual words, or enclosed in the same sentence."""
        between = _BETWEEN.match(self.text, start)
        assert between is not None
        for place in range(between.end(), start - 1, -1):  # the words before a label take its brackets and stars too
            named = self._named(place)
            if named and self._is_label(named):
                return named
            if place < between.end() - 8:
                break
        sentence = re.compile(r"[^\n.!?]{0,80}").match(self.text, between.end())
        assert sentence is not None
        for named in self._labels(between.end(), sentence.end()):
            if named.enclosed and not self._is_denied(named):
                return named
        return None

    def _labels(self, start: int, end: int) -> Iterator[Named]:
        for match in _LABEL.finditer(self.text, start, end):
            named = Named(match[2], match.start(), match.end(), match[1] is not None)
            if self._is_label(named):
                yield named

    def _leading(self) -> str | None:
        named = self._named(0)
        if named is None or not self._is_label(named) or self._is_listed(named) or self._is_denied(named):
            return None
        return named.letter.upper() if named.enclosed or _SET_OFF.match(self.text, named.end) else None

    def _conclusion(self) -> str | None:
        found = None
        for marker in _CONCLUSION.finditer(self.text):
            named = self._after(marker.end())
            if named and not self._is_denied(named) and not self._is_listed(named):
                found = (named.start, named.letter.upper())
        for named in self._labels(0, len(self.text)):
            if _CORRECT.match(self.text, named.end) and not self._is_denied(named):
                found = max(found or (0, ""), (named.start, named.letter.upper()))
        return found[1] if found else None

    def _quoted(self) -> str | None:
        """The letter of the option whose text is the answer, or stands behind "answer"."""
        places = [0, *(marker.end() for marker in _ANSWER.finditer(self.text))][-LAST_ANSWERS:]
        for start in reversed(places):
            between = _BETWEEN.match(self.text, start)
            first = between.end() if between and start else start
            rest = self.text[first : first + LONGEST_OPTION].partition("\n")[0]
            matches = [letter for letter, option in zip(self.letters, self.choices, strict=True) if _same(rest, option)]
            if len(matches) == 1:
                return matches[0]
        return None

    def _only(self) -> str | None:
        named = [named for named in self._labels(0, len(self.text)) if not self._is_denied(named)]
        found = {label.letter.upper() for label in named}
        return found.pop() if len(found) == 1 and not self._is_listed(named[0]) else None


def _same(text: str, option: str) -> bool:
    def plain(words: str) -> str:
        return " ".join(words.split()).strip(" .,;:!*\"'").casefold()

    return bool(plain(option)) and plain(text) == plain(option)
