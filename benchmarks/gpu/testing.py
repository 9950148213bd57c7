"""plm's own tests that need a GPU."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from measuring import Row, Setting

ROOT = Path(__file__).resolve().parents[2]
MARK = "pytest.mark.gpu"


def marked_files() -> list[Path]:
    """The files with such tests, apart from those that run these checks."""
    files = [file for file in sorted((ROOT / "tests").rglob("test_*.py")) if MARK in file.read_text()]
    return [file for file in files if file.parent.name != "benchmarks"]


def marked_tests(setting: Setting) -> None:
    """Runs them, where pytest is installed; a file that cannot be imported here is no failure of plm's."""
    if setting.device != "cuda" or find_spec("pytest") is None:
        missing = "needs CUDA" if setting.device != "cuda" else "pytest is not installed"
        setting.write(Row("tests", f"with {MARK}", missing))
        return
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", *map(str, marked_files())]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    said = done.stdout.strip().splitlines() or [f"pytest ended with {done.returncode}"]
    met = {0: True, 1: False}.get(done.returncode)  # 2 and more: it could not run them
    setting.write(Row("tests", f"with {MARK}", said[-1].strip("= "), "all pass", met))
