"""A real headless Chromium, driven over the W3C WebDriver protocol with nothing but the standard library."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


class Browser:
    """One window.

    Args:
        address: Of the session, `http://localhost:PORT/session/ID`.
    """

    def __init__(self, address: str) -> None:
        self.address = address

    def open(self, page: Path) -> None:
        """Loads a file and waits until it is complete."""
        _call("POST", f"{self.address}/url", {"url": page.resolve().as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """What a function body returns in the page."""
        return _call("POST", f"{self.address}/execute/sync", {"script": script, "args": list(arguments)})

    def resize(self, width: int, height: int) -> None:
        """Sets the size of the window, in pixels."""
        _call("POST", f"{self.address}/window/rect", {"width": width, "height": height})

    def screenshot(self, path: Path, selector: str | None = None) -> None:
        """Writes a PNG of the window, with an element at its top."""
        if selector is not None:
            self.run("document.querySelector(arguments[0]).scrollIntoView()", selector)
        path.write_bytes(base64.b64decode(_call("GET", f"{self.address}/screenshot")))

    def console(self) -> list[str]:
        """What the page wrote to the console since the last call: errors, refused resources, broken scripts."""
        return [entry["message"] for entry in _call("POST", f"{self.address}/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Addresses that the page asked for since the last call."""
        entries = _call("POST", f"{self.address}/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, ended at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait(f"http://127.0.0.1:{port}")
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        always = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        made = _call("POST", f"http://127.0.0.1:{port}/session", {"capabilities": {"alwaysMatch": always}})
        address = f"http://127.0.0.1:{port}/session/{made['sessionId']}"
        try:
            yield Browser(address)
        finally:
            _call("DELETE", address)
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(address: str, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            if _call("GET", f"{address}/status")["ready"]:
                return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > end:
                raise
        time.sleep(0.05)


def _call(method: str, address: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(address, data, {"Content-Type": "application/json"}, method=method)
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=120) as reply:
            return json.loads(reply.read())["value"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{method} {address}: {error.read().decode(errors='replace')[:500]}") from error
