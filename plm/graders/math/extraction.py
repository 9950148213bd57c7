r"""Finds the final answer in a solution or a completion, in time linear in its length.

The order: what follows the last "final answer is" if no box follows it, the last `\boxed{}`, a text that is an answer
as a whole, what follows "answer is", the last formula, the last number.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from plm.graders.math.notation import MAX_ANSWER, clean
from plm.graders.math.prose import is_bare, last_formula, last_number, leading_answer

_TAIL = 20_000
_MAX_GAP = 20
_BOX = re.compile(r"\\?(?:begin)?(?:boxed|fbox|framebox)\s{0,9}(?P<brace>\{)?")
_FINAL = re.compile(r"(?i)final\s{1,9}answer\s{0,9}\**\s{0,9}(?:is|are|:|=)[\s:*]{0,9}")
_ANSWER = re.compile(
    r"(?i)####|(?:\banswers?\b|\b(?:option|choice)\b|\bsolución\b|\brespuesta\b|\bréponse\b|\bantwort\b|答案)[\s*]{0,9}"
    r"(?:is (?:option |choice )?|is|are|should be|must be|would be|equals|es|est|ist|=|:|：|是|为)"
    r"(?![a-z])[\s:*]{0,9}"
)
_PHANTOM = re.compile(r"\\[hv]?phantom\s*\{[^{}]*\}")
_LINK = re.compile(r"(?i)(?:,|;|&|\band\b|\bor\b|\by\b|\bet\b|\bund\b)")
_MARKUP = re.compile(r"\\(?:text|mbox|mathrm)\s*|\\q?quad|\\[,;:! ()\[\]]|[${}\s.~]|\\?[A-Za-z](?:_\{?\d\}?)?\s*=")


class _Box(NamedTuple):
    start: int
    end: int
    content: str


def extract_answer(text: str) -> str | None:
    """The final answer in a text, as it is written there; None if there is none.

    Several boxes that follow each other, joined by commas or words, are one answer: the parts, joined by commas.
    """
    boxes = list(_last_boxes(text))
    final = _last_match(_FINAL, text)
    if final is not None and (not boxes or final.end() > boxes[-1].end):
        answer = leading_answer(text[final.end() : final.end() + MAX_ANSWER])
        if answer and (not boxes or re.search(r"[\d$\\]", answer)):
            return answer
    if boxes:
        return ", ".join(box.content for box in boxes) or None
    if is_bare(text):
        return text.strip()
    text = text[-_TAIL:]
    marker = _last_match(_ANSWER, text)
    if marker is not None and (answer := leading_answer(text[marker.end() : marker.end() + MAX_ANSWER])):
        return answer
    return last_formula(text) or last_number(text)


def reference_answer(reference: str) -> str:
    """The answer in a reference, which is a solution or the answer itself."""
    if len(reference) <= MAX_ANSWER and "boxed" not in reference and "fbox" not in reference:
        short = reference.strip()
        if "\n" not in short and (len(short) < 60 or is_bare(short)) and not _ANSWER.search(short):
            return short
    return extract_answer(reference) or reference.strip()


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for match in pattern.finditer(text, max(0, len(text) - _TAIL)):
        last = match
    return last


def _last_boxes(text: str) -> list[_Box]:
    """The last box and those before it that it is joined to, in order; empty ones and placeholders do not count."""
    boxes: list[_Box] = []
    for match in reversed(_last_starts(text)):
        box = _read_box(text, match)
        if not clean(_PHANTOM.sub("", box.content[:MAX_ANSWER])):
            continue
        if boxes and not _joins(text[box.end : boxes[0].start]):
            break
        if boxes and box.end > boxes[0].start:
            break
        boxes.insert(0, box)
        if len(boxes) == 20:
            break
    return boxes


def _last_starts(text: str) -> list[re.Match[str]]:
    """Where the last few boxes start; looks at a longer tail of the text only if a shorter one has none."""
    size = _TAIL
    while True:
        matches = _BOX.finditer(text, max(0, len(text) - size))
        starts = [match for match in matches if match["brace"] or match[0].startswith("\\")]
        if starts or size >= len(text):
            return starts[-40:]
        size *= 4


def _joins(gap: str) -> bool:
    """Whether what stands between two boxes makes them parts of one answer."""
    if len(gap) > 4 * _MAX_GAP:
        return False
    words = _MARKUP.sub(" ", gap).strip()
    return not words or (len(words) <= _MAX_GAP and _LINK.search(words) is not None)


def _read_box(text: str, match: re.Match[str]) -> _Box:
    start = match.end()
    if not match["brace"]:  # \boxed 7
        token = re.compile(r"\\[a-zA-Z]+[^$\n]{0,200}|[^\s$.,;\\]+").match(text, start)
        end = token.end() if token else start
        return _Box(match.start(), end, text[start:end].strip())
    depth, at, stop = 1, start, min(len(text), start + 2 * MAX_ANSWER)
    while at < stop:
        character = text[at]
        if character == "\\":
            at += 2
            continue
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return _Box(match.start(), at + 1, text[start:at].strip())
        at += 1
    line = text[start:stop].split("\n", 1)[0]  # cut off, or a brace forgotten
    return _Box(match.start(), start + len(line), line.strip(" $."))
