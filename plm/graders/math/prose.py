"""Tells answers from sentences, and finds formulas and numbers in sentences."""

from __future__ import annotations

import itertools
import re
from typing import NamedTuple

from plm.graders.math.notation import MAX_ANSWER
from plm.graders.math.words import BIG_OPERATORS, CONSTANTS, FUNCTIONS, GREEK, MEASURES, PERCENT, UNITS

_MAX_FORMULA = 1_000
_HAND = re.compile(
    r"\\(?:text(?:bf|rm|it|normal)?|mbox|mathrm|mathbf|operatorname|begin|end|mathbb)\s*\{[^{}]*\}|\\[a-zA-Z]+"
)
_WORD = re.compile(r"[^\W\d_]{2,}")
_KNOWN = (
    set(FUNCTIONS) | set(CONSTANTS) | set(GREEK) | set(UNITS) | set(MEASURES) | set(PERCENT) | set(BIG_OPERATORS)
) | {"and", "or", "sqrt", "frac", "union", "cup", "root", "pm", "am", "bar", "setminus"}
_SENTENCE = frozenset(
    "is are was be the so we it its this that which because since therefore thus hence then there to by as if when "
    "answer has have can get gives equals es son respuesta".split()
)
_CODE = re.compile(r"__|\blambda\b|\bimport\b|\w\(\s*['\"]|['\"]\s*\)|\)\(\)|\]\(|\)\.[a-z]|\bfor \w+ in\b")
_CALL = re.compile(r"(?<![\\A-Za-z])[a-z_]{3,20}(?=\()")
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.^\\])(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:\s?/\s?\d+(?!\s?/))?(?:\s?\\?%)?|(?<![A-Za-z0-9_.\\])\.\d+"
)
_OPENING = re.compile(r"\A(?:[\s*:\"'`]|\\(?=[\"'\s]))+")
_BREAK = re.compile(r"(?<!\\)[.!?]\s+(?=[A-Z\d$\\(\[*])|\n|。")
_JOINT = re.compile(r"(?i)[\s,;]*(?:\\text\{)?(?:and|or|y|et)?\}?[\s,;]*")
_DELIMITER = re.compile(r"(?<!\\)\$\$?|(?<!\\)\\[()\[\]]")


class _Span(NamedTuple):
    start: int
    end: int
    content: str


def is_bare(text: str) -> bool:
    """Whether a text is an answer as a whole rather than a sentence about it."""
    text = text.strip()
    if not text or len(text) > MAX_ANSWER or "\n" in text or "##" in text or _is_code(text):
        return False
    words = _unknown_words(text)
    if not words:
        return True
    few = len(words) <= 4 and not any(word in _SENTENCE for word in words)
    return few and not re.search(r"[\d$\\:]", text)


def _is_code(text: str) -> bool:
    calls = (match[0] for match in _CALL.finditer(text))
    return _CODE.search(text) is not None or any(name not in _KNOWN for name in calls)


def _unknown_words(text: str) -> list[str]:
    plain = _HAND.sub(" ", text)
    words = [word.casefold() for word in _WORD.findall(plain)]
    return [word for word in words if word not in _KNOWN and (len(word) > 3 or word in _SENTENCE or not word.isascii())]


def leading_answer(text: str) -> str | None:
    """The answer that a text behind "the answer is" begins with, or else the last one in its first sentence."""
    text = _OPENING.sub("", text, count=1)
    text = re.split(r"I hope|<\|", text, maxsplit=1)[0]
    if re.match(r"(?:\$(?!\d+[\d,.]*\s+[a-z])|\\[(\[])", text) and (spans := _formulas(text)) and spans[0].start < 3:
        end = 0
        for before, span in itertools.pairwise(spans):
            if not _JOINT.fullmatch(text[before.end : span.start]):
                break
            end += 1
        tail = re.compile(r"\s?(?:\\?%|percent\b|pct\b|\^\\circ|°)").match(text, spans[end].end)
        return text[spans[0].start : tail.end() if tail else spans[end].end]
    sentence = _BREAK.split(text.rstrip(), maxsplit=1)[0].strip(" *`\"'").removesuffix(".").strip()
    if not sentence:
        return None
    if is_bare(sentence):
        return sentence
    number = re.compile(r"[-+]?\$?(?=[\d.])").match(sentence)
    if number and (found := _NUMBER.match(sentence, number.end())):
        return sentence[: found.end()]
    return last_formula(sentence) or last_number(sentence)


def _formulas(text: str) -> list[_Span]:
    """What stands between formula delimiters; a dollar sign before a sentence is money."""
    spans: list[_Span] = []
    marks = list(_DELIMITER.finditer(text))
    i = 0
    while i + 1 < len(marks):
        left, right = marks[i], marks[i + 1]
        content = text[left.end() : right.start()]
        partners = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
        fits = (
            partners.get(left[0]) == right[0]
            and content.replace("\\boxed{}", "").strip()
            and len(content) <= _MAX_FORMULA
        )
        if fits and "\n\n" not in content and len(_unknown_words(content)) < 3:
            spans.append(_Span(left.start(), right.end(), content))
            i += 2
        else:
            i += 1
    return spans


def last_formula(text: str) -> str | None:
    """The last formula between delimiters that says more than one letter, with those that it is joined to by words.

    None if there is no formula, or a number stands in a later sentence.
    """
    spans = _formulas(text)
    telling = [i for i, span in enumerate(spans) if re.search(r"\d|\\[a-zA-Z]|[=<>]", span.content)]
    if not spans:
        return None
    if not telling and _last_number(text) is not None:
        return None
    last = first = telling[-1] if telling else len(spans) - 1
    while first and _is_joint(text[spans[first - 1].end : spans[first].start]):
        first -= 1
    rest = text[spans[last].end :]
    if (number := _last_number(rest)) is not None and _BREAK.search(rest[: number.start]):
        return None
    tail = re.compile(r"\s?(?:\\?%|percent\b|pct\b)").match(text, spans[last].end)
    if last > first:
        return text[spans[first].start : spans[last].end]
    return spans[last].content.strip() + (tail[0] if tail else "")


def _is_joint(gap: str) -> bool:
    return bool(re.search(r"(?i)and|or|,|;", gap)) and _JOINT.fullmatch(gap) is not None


def last_number(text: str) -> str | None:
    """The last number of a text that is not part of a word; a text that looks like a program has none."""
    number = _last_number(text)
    if number is None or _is_code(text[max(0, number.start - 200) :]):
        return None
    return number.content


def _last_number(text: str) -> _Span | None:
    last = None
    for match in _NUMBER.finditer(text):
        last = match
    if last is None:
        return None
    before = text[: last.start()][-4:].rstrip("$")
    negative = re.search(r"(?:^|[^\w)\]}]\s?|[(\[=:]\s?)[-−]$", before) is not None
    return _Span(last.start(), last.end(), ("-" if negative else "") + last[0])
