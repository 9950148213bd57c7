"""Where the real data is, and a grader for each kind of isolation."""

import os
from pathlib import Path

import pytest

from plm.graders.code import CodeGrader
from plm.records import IOTest, Problem


@pytest.fixture(scope="session")
def data_folder():
    given = os.environ.get("PLM_TEST_DATA")
    folder = Path(given) if given else Path(__file__).parents[2].parent / "shared" / "data" / "open"
    if not folder.is_dir():
        pytest.skip("the real data is not here; PLM_TEST_DATA names its folder")
    return folder


@pytest.fixture(scope="session", params=["bubblewrap", "namespaces"])
def grader(request):
    """Short wall time: no test here depends on more, and sleepers cost that much each."""
    from plm.graders.sandbox import works
    from plm.graders.toolchain import load_toolchain

    if not works(request.param, load_toolchain().launcher):
        pytest.skip(f"{request.param} does not work on this machine")
    return CodeGrader(isolation=request.param, wall_limit=1.5, memory_mb=192)


@pytest.fixture(scope="session")
def problem():
    """Makes a problem of pairs of input and output."""
    return lambda *tests: Problem("x", "", "", "", tuple(IOTest(*test) for test in tests))
