"""The process that reads hostile Python: parses it, counts its statements, and has `pycodestyle` judge its style.

Run as a program it answers a line of JSON with one, under limits of CPU time, memory and files; `StyleGrader` starts
it, and another one where a text has ended it. It runs no text, imports nothing of plm, and knows nothing but texts.
"""

from __future__ import annotations

import ast
import json
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from typing import Any

import pycodestyle

CPU_SECONDS = 2.0  # for one text
MEMORY_BYTES = 512 << 20
MOST_CHARACTERS = 20_000
LONGEST_LINE = 1_000  # characters; far beyond 79, so that nothing that complies is lost
IDLE = (ast.Pass, ast.Import, ast.ImportFrom, ast.Global, ast.Nonlocal)
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def check(text: str) -> dict[str, Any]:
    """Judges one text.

    How a text ends does not count: blank lines there are left out, and the last line gets its end. `# noqa` does not
    excuse a line.

    Args:
        text: Anything.

    Returns:
        `fault`, why it cannot be judged (`parse`, `memory`), else empty; `statements`, how many different lines hold a
        statement that does something; `violations`, codes of `pycodestyle` with their counts, those left out that it
        leaves out by default; `lines` that are not blank, and how many of them are `bad`.
    """
    text = text.rstrip() + "\n"
    lines = [line + "\n" for line in text.split("\n")[:-1]]
    if len(text) > MOST_CHARACTERS or max(map(len, lines)) > LONGEST_LINE:
        return {"fault": "parse"}
    try:
        statements = count_statements(ast.parse(text), lines)
        report = _judge(lines)
    except MemoryError:
        return {"fault": "memory"}
    except Exception:  # parser, tokenizer and pycodestyle have many ways to say that this is no Python
        return {"fault": "parse"}
    full = sum(not line.isspace() for line in lines)
    return {
        "fault": "", "statements": statements, "violations": dict(Counter(code for _, code in report)), "lines": full,
        "bad": min(full, len({line for line, _ in report})),
    }  # fmt: skip


def count_statements(tree: ast.Module, lines: list[str]) -> int:
    """How many different lines a statement starts on that does something.

    Definitions, imports, `pass`, docstrings and other constants do nothing, and a line that is repeated counts once.
    """
    found: set[str] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or isinstance(node, (*IDLE, *DEFINITIONS)):
            continue
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            found.add(lines[node.lineno - 1].strip())
    return len(found)


def _judge(lines: list[str]) -> list[tuple[int, str]]:
    """Line and code of every violation."""
    found: list[tuple[int, str]] = []

    class Report(pycodestyle.BaseReport):  # type: ignore[misc]
        def error(self, line_number: int, offset: int, text: str, check: Any) -> None:
            if not self._ignore_code(text[:4]):
                found.append((line_number, text[:4]))

    pycodestyle.USER_CONFIG = None  # or this user's settings would decide
    pycodestyle.noqa = lambda line: None  # or a comment would excuse anything
    options = pycodestyle.StyleGuide(reporter=Report, quiet=True).options
    pycodestyle.Checker(lines=lines, options=options, report=Report(options)).check_all()
    if any(code.startswith("E9") for _, code in found):  # its tokenizer is stricter than the parser
        raise SyntaxError
    return found


def main() -> None:
    """Answers until standard input ends. What takes too long is ended by the kernel, with SIGPROF."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))
    check("x = 1")  # what is made once is made before the clock runs
    for line in sys.stdin:
        text = json.loads(line)
        start = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
        result = check(text)
        signal.setitimer(signal.ITIMER_PROF, 0)
        print(json.dumps({**result, "seconds": time.process_time() - start}), flush=True)


if __name__ == "__main__":
    main()
