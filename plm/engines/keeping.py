"""An engine that outlives its run, where several runs share a process: a study's worker starts vLLM once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from plm.engines.base import Engine


class EngineKeeper:
    """Keeps the engine of the last run for the next one that would start the same; at most one at a time."""

    def __init__(self) -> None:
        self._key: str | None = None
        self._engine: Engine | None = None

    def take(self, key: str | None, made: Engine) -> Engine:
        """The engine of a run: the kept one, or the run's own after the kept one has been closed.

        Args:
            key: What an engine is started with: its arguments and the shape of the model; None for nothing to share.
            made: The run's own, which has not started yet.
        """
        if key is not None and key == self._key and self._engine is not None:
            return self._engine
        self.close()
        return made

    def give_back(self, key: str | None, engine: Engine) -> None:
        """Keeps an engine, without the run's weights, or closes it where another one would start as fast."""
        if key is not None and engine.worth_keeping:
            engine.forget()
            self._key, self._engine = key, engine
        else:
            engine.close()

    def close(self) -> None:
        """Closes what is kept."""
        engine, self._key, self._engine = self._engine, None, None
        if engine is not None:
            engine.close()


_keeper: EngineKeeper | None = None


def keep_engines() -> None:
    """From now on engines outlive their runs in this process."""
    global _keeper
    _keeper = _keeper or EngineKeeper()


def take(key: str | None, made: Engine) -> Engine:
    """The engine of a run."""
    return _keeper.take(key, made) if _keeper else made


@contextlib.contextmanager
def in_use(key: str | None, engine: Engine) -> Iterator[None]:
    """Lets a run use its engine; after an error it is closed, whatever it was in the middle of."""
    try:
        yield
    except BaseException:
        if _keeper:
            _keeper.close()
        engine.close()
        raise
    if _keeper:
        _keeper.give_back(key, engine)
    else:
        engine.close()
