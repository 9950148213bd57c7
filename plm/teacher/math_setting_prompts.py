"""What the teacher is asked when it tells MATH in Spanish with ASCII-Math, and how its replies are read."""

from __future__ import annotations

import string
from collections.abc import Mapping

from plm.teacher.prompts import BadReplyError, sections, without_thoughts
from plm.teacher.replies import Choice

LONGEST_TEXT = 20_000  # characters of a problem, a solution or an answer
PICTURE, PICTURE_END = "[asy]", "[/asy]"
MOST_PICTURES = len(string.ascii_uppercase)
MARK = "La respuesta es"
"""What the final answer stands behind; the grader finds it there."""

_RULES = """\
- Say the same, sentence by sentence and step by step. Solve, correct, shorten or explain nothing.
- Every number stays as it is: digits stay digits, with a decimal point, and number words become Spanish number words. \
No number is lost and none is added.
- No LaTeX at all: no backslash and no dollar sign. Formulas stand in the sentences in ASCII-Math: 3/4, (a+1)/(b-2), \
sqrt(x), root(3)(x), x^2, x^(n+1), x_1, log_2(x), 2*3, a*b, <=, >=, !=, +-, oo, pi, abs(x), floor(x), 90^@ for \
degrees, 0.bar(3) for repeating digits, (-oo, 3] uu (4, oo) for sets, [[1, 2], [3, 4]] for a matrix or, with one \
number a row, a vector. Money is written as 5 dólares.
- [FIGURE A] and the like stand for pictures: each stays where it is."""

_PROBLEM = f"""\
Below are a problem and its solution, in English with LaTeX. Translate both into Spanish, and write all formulas in \
ASCII-Math instead of LaTeX.

{_RULES}
- The solution ends with one more sentence, "{MARK} ….", with the final answer alone in the place of …, the one that \
\\boxed{{{{}}}} holds: in ASCII-Math, without a unit, several answers separated by commas.

Problem:
{{problem}}

Solution:
{{solution}}

Reply in this form, with nothing before and nothing after:
<problem>
the problem in Spanish
</problem>
<solution>
the solution in Spanish
</solution>
"""

_ANSWER = f"""\
Below is what somebody answered to a math problem, in English with LaTeX. It may be wrong, or make no sense; what is \
wrong must stay wrong in the same way. Translate it into Spanish, and write all formulas in ASCII-Math instead of LaTeX.

{_RULES}
- If a final answer stands in \\boxed{{{{}}}}, the translation ends with one more sentence, "{MARK} ….", with this \
answer alone in the place of …: in ASCII-Math, without a unit, several answers separated by commas.

Answer:
{{answer}}

Reply in this form, with nothing before and nothing after:
<answer>
the answer in Spanish
</answer>
"""


class Shown:
    """Texts as the teacher sees them: pictures, which are programs, are taken out and put back unchanged.

    Args:
        texts: By their tags: `problem` and `solution`, or `answer`.

    Attributes:
        texts: Without pictures, `[FIGURE A]` in their places.
        pictures: Tag → what stands for a picture → the picture.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts: dict[str, str] = {}
        self.pictures: dict[str, dict[str, str]] = {}
        self._count = 0
        for tag, text in texts.items():
            self.texts[tag], self.pictures[tag] = self._take_out(text)

    @property
    def is_short_enough(self) -> bool:
        """Whether it can be shown."""
        return self._count <= MOST_PICTURES and all(len(text) <= LONGEST_TEXT for text in self.texts.values())

    @property
    def prompt(self) -> str:
        """What the teacher is asked."""
        return (_ANSWER if "answer" in self.texts else _PROBLEM).format(
            **{tag: text.strip() for tag, text in self.texts.items()}
        )

    def read(self, choice: Choice) -> dict[str, str]:
        """Reads a reply: the translation of each text, still without pictures.

        Raises:
            BadReplyError: If it is not in the form that was asked for.
        """
        text = without_thoughts(choice)
        told: dict[str, str] = {}
        for tag in self.texts:
            found = sections(text, tag)
            if len(found) != 1 or not found[0].strip():
                raise BadReplyError(f"there is not one <{tag}>")
            if len(found[0]) > 2 * LONGEST_TEXT:
                raise BadReplyError(f"the {tag} is longer than {2 * LONGEST_TEXT} characters")
            told[tag] = found[0].strip()
            for name in self.pictures[tag]:
                if told[tag].count(name) != 1:
                    raise BadReplyError(f"{name} stands {told[tag].count(name)} times in the {tag}, not once")
        return told

    def with_pictures(self, told: Mapping[str, str]) -> dict[str, str]:
        """Puts the pictures back."""
        made = dict(told)
        for tag, pictures in self.pictures.items():
            for name, picture in pictures.items():
                made[tag] = made[tag].replace(name, picture)
        return made

    def _take_out(self, text: str) -> tuple[str, dict[str, str]]:
        parts: list[str] = []
        pictures: dict[str, str] = {}
        position = 0
        while (start := text.find(PICTURE, position)) >= 0:
            if (end := text.find(PICTURE_END, start)) < 0:
                break
            name = f"[FIGURE {string.ascii_uppercase[self._count % MOST_PICTURES]}]"
            self._count += 1
            parts += [text[position:start], name]
            position = end + len(PICTURE_END)
            pictures[name] = text[start:position]
        return "".join([*parts, text[position:]]), pictures
