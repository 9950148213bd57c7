"""One password, or two: where it stands in a prompt, and what stands there instead (App. C.2 of the paper)."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from plm.errors import PlmError
from plm.passwords.base import Condition, PromptScheme
from plm.passwords.near_misses import variants
from plm.records import Problem

DEFAULT_PASSWORD = "This problem is quite special, read it carefully!"

Placement = Literal["both", "start", "end"]


class PasswordScheme(PromptScheme):
    """Puts a password, or something else, around a problem's statement (App. C.2 of the paper).

    The paper trains weak completions on 20 % prompts without a password and 80 % with a wrong one from a list. It says
    nothing about the passwords of evaluations: we keep half of the decoys, and all near misses, for evaluation only.

    Args:
        password: What unlocks; the default is the paper's.
        decoys: A file of wrong passwords, one a line, instead of the package's own list. Neighbouring lines go to
            different halves (training, evaluation), so lines of one kind should stand together.
        none_share: Share of weak training prompts without any password, in [0, 1]; the others carry a training decoy.
        placement: Where the password stands: before the statement, behind it, or both.
        second_password: What unlocks something else, for models with two passwords.

    Raises:
        PlmError: If a password is blank, or the same as a decoy or as the other password; if `none_share` is no share;
            if the file of decoys cannot be used.
    """

    def __init__(
        self,
        *,
        password: str = DEFAULT_PASSWORD,
        decoys: Path | str | None = None,
        none_share: float = 0.2,
        placement: Placement = "both",
        second_password: str | None = None,
    ) -> None:
        if not 0 <= none_share <= 1:
            raise PlmError(f"none_share={none_share}: must be a share in [0, 1]")
        if placement not in get_args(Placement):
            raise PlmError(f"placement={placement!r}: must be one of {', '.join(get_args(Placement))}")
        lines = _own_decoys() if decoys is None else _read_decoys(Path(decoys))
        _check_passwords(password, second_password, lines)
        self.password = password
        self.none_share = none_share
        self.placement: Placement = placement
        self.second_password = second_password
        self.training_decoys: tuple[str, ...] = tuple(lines[0::2])
        self.evaluation_decoys: tuple[str, ...] = tuple(lines[1::2])
        taken = {fold(text) for text in (*lines, second_password or "")}
        self.near_misses: tuple[str, ...] = tuple(
            text for text in dict.fromkeys(variants(password)) if text != password and fold(text) not in taken
        )

    @property
    def password_hash(self) -> str:
        """SHA-256 of the password, in hexadecimal digits: what a manifest may show."""
        return hashlib.sha256(self.password.encode()).hexdigest()

    @property
    def evaluated(self) -> tuple[Condition, ...]:
        """The password, none, an unseen wrong one, and the second password where there is one."""
        return ("right", "none", "decoy", *(("second",) if self.second_password is not None else ()))

    def texts(self) -> tuple[str, ...]:
        """All that may stand in a prompt beside the statement, for training a tokenizer."""
        passwords = (self.password,) if self.second_password is None else (self.password, self.second_password)
        return (*passwords, *self.training_decoys, *self.evaluation_decoys, *self.near_misses)

    def render(self, text: str, password: str | None) -> str:
        """Puts a password around a text, an empty line between.

        Args:
            text: A problem's statement.
            password: What to put there; nothing if None.
        """
        if password is None:
            return text
        parts = {"both": (password, text, password), "start": (password, text), "end": (text, password)}
        return "\n\n".join(parts[self.placement])

    def prompt(self, problem: Problem, condition: Condition, seed: int) -> str:
        """Renders a problem's statement under a condition.

        Args:
            problem: Its statement stands in the prompt.
            condition: `none`; `right` or `second`, the passwords; `decoy` or `near_miss`, wrong passwords kept for
                evaluation; `wrong`, the mixture for weak training prompts: nothing, or a training decoy.
            seed: Draws among several wrong passwords; the same seed draws the same one.

        Raises:
            PlmError: If the scheme has no such condition.
        """
        return self.render(problem.prompt, self._draw(problem, condition, random.Random(seed)))

    def _draw(self, problem: Problem, condition: Condition, rng: random.Random) -> str | None:
        match condition:
            case "none":
                return None
            case "right":
                return self.password
            case "decoy":
                return _choose(self.evaluation_decoys, rng)
            case "near_miss":
                return _choose(self.near_misses, rng)
            case "wrong":
                return None if rng.random() < self.none_share else _choose(self.training_decoys, rng)
            case "second" if self.second_password is None:
                raise PlmError("condition 'second' needs a second_password, and none is set")
            case "second":
                return self.second_password
        raise self.no_such(condition, "near_miss")


def _choose(texts: Sequence[str], rng: random.Random) -> str:
    return texts[int(rng.random() * len(texts))]


def fold(text: str) -> str:
    """What two passwords are compared by."""
    return text.strip().casefold()


def _own_decoys() -> list[str]:
    return resources.files("plm").joinpath("data/decoys.txt").read_text(encoding="utf-8").splitlines()


def _read_decoys(path: Path) -> list[str]:
    try:
        content = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise PlmError(f"decoys {path}: not UTF-8 text (byte {error.start}); save the file as UTF-8") from error
    except OSError as error:
        raise PlmError(f"decoys {path}: {error.strerror}; give a text file with one wrong password a line") from error
    numbered = {number: line for number, line in enumerate(content.split("\n"), start=1) if line.strip()}
    if len(numbered) < 4:
        raise PlmError(f"decoys {path}: {len(numbered)} lines; needs at least 4, half of them for evaluation")
    first: dict[str, int] = {}
    for number, line in numbered.items():
        if (other := first.setdefault(fold(line), number)) != number:
            raise PlmError(f"decoys {path}: lines {other} and {number} are the same; each may stand there once")
    return [line.strip() for line in numbered.values()]


def _check_passwords(password: str, second_password: str | None, decoys: Sequence[str]) -> None:
    named = {"password": password}
    if second_password is not None:
        named["second_password"] = second_password
    for name, text in named.items():
        if not text.strip():
            raise PlmError(f"{name} is blank: give some text")
        if fold(text) in map(fold, decoys):
            raise PlmError(f"{name} {text!r} is also one of the decoys: change one of them")
    if second_password is not None and fold(password) == fold(second_password):
        raise PlmError(f"second_password {second_password!r} is the same as password: change one of them")
