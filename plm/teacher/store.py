"""Results kept on disk under the content of what was asked, so that nothing is asked or computed twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plm.errors import PlmError
from plm.files import write_text_atomic


class Store:
    """A folder with one small JSON file for each question, whole or absent, in 256 folders.

    Several processes may use one store; the worst that happens is that both work on the same question.

    Args:
        folder: The folder; made when something is written.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def get(self, question: Mapping[str, Any]) -> dict[str, Any] | None:
        """The answer that was put there for a question, None if there is none.

        Raises:
            PlmError: If its file cannot be read or is damaged.
        """
        path = self._path(question)
        try:
            answer = json.loads(path.read_bytes())["answer"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise PlmError(f"{path} is damaged ({error}); delete it, and it is asked for again") from error
        if not isinstance(answer, dict):
            raise PlmError(f"{path} is damaged; delete it, and it is asked for again")
        return answer

    def put(self, question: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Keeps an answer; it is on disk when this returns.

        Raises:
            PlmError: If the folder cannot be written to or is full.
        """
        text = json.dumps({"question": dict(question), "answer": dict(answer)}, ensure_ascii=False, indent=1)
        write_text_atomic(self._path(question), _no_surrogates(text) + "\n")

    def _path(self, question: Mapping[str, Any]) -> Path:
        text = json.dumps(question, sort_keys=True, allow_nan=False)
        key = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / key[:2] / f"{key[2:34]}.json"


def _no_surrogates(text: str) -> str:
    """Half a surrogate pair, which JSON may carry, cannot be written as UTF-8."""
    return text.encode("utf-8", "replace").decode()
