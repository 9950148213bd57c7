"""Hostile text into HTML: what models write, and what configurations and paths say, is shown and never obeyed."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

# Controls, the marks that turn the direction of text, what has no width, and halves of characters: shown by their
# number, since they would hide text or swap it around.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e0fff]"
)


def text(value: object) -> str:
    """A value as HTML text, also inside of a quoted attribute."""
    return html.escape(UNSEEN.sub(_by_number, str(value)), quote=True)


def cut(value: str, most: int) -> str:
    """A text as HTML, cut after so many characters, which is said."""
    if len(value) <= most:
        return text(value)
    return f'{text(value[:most])}<span class="cut">… {len(value) - most:,} more characters</span>'


def listed(items: Iterable[str]) -> str:
    """A list of texts."""
    return "<ul>" + "".join(f"<li>{text(item)}</li>" for item in items) + "</ul>"


def anchor(value: str) -> str:
    """A name for an element: letters, digits and dashes."""
    return re.sub(r"[^A-Za-z0-9]+", "-", value).strip("-").lower()


def file_name(value: str) -> str:
    """A name for a file: letters, digits and underscores."""
    return re.sub(r"[^A-Za-z0-9]+", "_", value).strip("_")


def _by_number(match: re.Match[str]) -> str:
    return f"⟨U+{ord(match[0]):04X}⟩"
