"""Texts that end a completion, for models that were never taught the task's end token."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence

LOOKED_AT_EVERY = 4  # tokens between two looks at a completion: it is cut afterwards, so this decides cost alone
_SLACK = 8  # tokens that may stand in a stop string without giving text, such as special ones


class StopStrings:
    """Ends a completion where one of some texts comes up first; the same place whichever engine generates.

    An engine may generate beyond it: what counts is decided by `shortened` from the tokens alone.

    Args:
        strings: The texts; one at least, none empty.
        decode: The text of generated tokens, as graders see it.

    Raises:
        ValueError: If there is no text, or an empty one.
    """

    def __init__(self, strings: Sequence[str], decode: Callable[[Sequence[int]], str]) -> None:
        if not strings or not all(strings):
            raise ValueError(f"stop={list(strings)}: must be at least one text, none of them empty")
        self.strings = tuple(strings)
        self._decode = decode
        self._window = max(len(text.encode()) for text in strings) + LOOKED_AT_EVERY + _SLACK

    def cut(self, text: str) -> str:
        """The text before the first stop string; all of it where there is none."""
        places = [place for string in self.strings if (place := text.find(string)) >= 0]
        return text[: min(places)] if places else text

    def reached(self, token_ids: Sequence[int]) -> bool:
        """Whether the tokens so far hold a stop string; looks at the last few first, which is cheap."""
        return self._is_in(token_ids[-self._window :]) and self._is_in(token_ids)

    def shortened(self, token_ids: list[int]) -> list[int] | None:
        """The tokens up to and with the one that completes a stop string; None where none comes up.

        `cut` takes the stop string, and what shares its last token, off their text: they were generated, and count.
        """
        if not self._is_in(token_ids):
            return None
        return token_ids[: bisect_left(range(len(token_ids)), True, key=lambda count: self._is_in(token_ids[:count]))]

    def _is_in(self, token_ids: Sequence[int]) -> bool:
        text = self._decode(token_ids)
        return any(string in text for string in self.strings)
