"""Endpoints that are closed after the test, or after all tests of a file."""

import contextlib

import pytest

from tests.teacher.server import Endpoint

ELSEWHERE = ("OPENAI_API_KEY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@contextlib.contextmanager
def serving():
    pytest.importorskip("openai")
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as started:
        for name in ELSEWHERE:
            patch.delenv(name, raising=False)
        yield lambda script: started.enter_context(contextlib.closing(Endpoint(script)))


@pytest.fixture
def serve():
    """Starts servers: `serve(script)`."""
    with serving() as start:
        yield start


@pytest.fixture(scope="module")
def serve_longer():
    """The same, for what the tests of a file share."""
    with serving() as start:
        yield start
