"""`python -m plm.studies.worker`: a process that makes one run after the other, so that they share imports and engine.

Requests come on standard input, one JSON object a line; answers go to the descriptor that the first argument names.
What a run prints goes to its log.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from plm.studies.run_log import last_error

Request = Mapping[str, Any]


def main(run: Callable[[list[str]], int] | None = None) -> None:
    """Serves requests until there are no more.

    Args:
        run: What a command line is given to; plm's own where None.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the driver passes it on
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    requests = os.fdopen(os.dup(0), encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        answer = _plan(request, answers) if "plan" in request else _run(request, run or _plm)
        _tell(answers, answer)


def _tell(answers: TextIO, answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


# -- one run ----------------------------------------------------------------------------------------------------------


@functools.cache
def _settle() -> None:
    """Makes this process one that makes many runs, once: with engines, answers and imports that outlive each of them.

    What is imported leaves the sight of the garbage collector, which would look at it in vain.
    """
    import plm.lightning_cli  # noqa: F401
    from plm.engines.keeping import keep_engines
    from plm.engines.memory import remember_calls

    gc.collect()
    gc.freeze()
    keep_engines()
    remember_calls()


def _plm(args: list[str]) -> int:
    _settle()
    from plm.cli import run
    from plm.progress import begin_run

    begin_run()
    return run(args)


def _run(request: Request, run: Callable[[list[str]], int]) -> dict[str, Any]:
    log, start, busy = Path(request["log"]), time.monotonic(), _cpu_seconds()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", buffering=1, encoding="utf-8") as file, _printed_to(file):
        try:
            code = run(list(request["args"]))
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except Exception:
            traceback.print_exc()
            code = 1
    _clean()
    spent = {"seconds": round(time.monotonic() - start, 3), "cpu_seconds": round(_cpu_seconds() - busy, 3)}
    answer = {"run": request["run"], "code": code, **spent}
    return answer if code == 0 else {**answer, "error": last_error(log)}


@contextlib.contextmanager
def _printed_to(file: TextIO) -> Iterator[None]:
    """Everything that is printed goes to a file, also what libraries print on their own."""
    kept = [os.dup(number) for number in (1, 2)]
    for number in (1, 2):
        os.dup2(file.fileno(), number)
    try:
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            yield
    finally:
        for number, old in zip((1, 2), kept, strict=True):
            os.dup2(old, number)
            os.close(old)


def _cpu_seconds() -> float:
    """What this process and its children that have ended have used of the processors."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def _clean() -> None:
    """Gives memory back, on the device too."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


# -- planning ---------------------------------------------------------------------------------------------------------


def _plan(request: Request, answers: TextIO) -> dict[str, Any]:
    """Finds out which runs a grid asks for, and says so now and then on the way."""
    from dataclasses import asdict

    from plm.errors import PlmError
    from plm.studies.planner import plan

    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        rows, files = plan(
            request["plan"],
            Path(request["runs"]),
            Path(request["folder"]),
            lambda n: _tell(answers, {"planned": n}),
        )
    except PlmError as error:
        return {"error": str(error)}
    return {"rows": [asdict(row) for row in rows], "files": files}


if __name__ == "__main__":
    main()
