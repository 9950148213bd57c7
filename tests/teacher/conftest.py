"""Endpoints that are closed after the test."""

import pytest

from tests.teacher.server import Endpoint


@pytest.fixture
def serve(monkeypatch):
    """Starts servers: `serve(script)`."""
    pytest.importorskip("openai")
    for name in ("OPENAI_API_KEY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    started = []

    def start(script):
        started.append(Endpoint(script))
        return started[-1]

    yield start
    for endpoint in started:
        endpoint.close()
