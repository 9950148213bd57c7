"""The client and the command against `vllm serve` with a tiny model: the real protocol, and a teacher of nothing."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from plm.cli import run
from plm.errors import PlmError
from plm.models import FromScratch
from plm.teacher import Client, chat_request
from tests.teacher import test_prepare_critique
from tests.teacher.test_prepare import command

pytestmark = pytest.mark.vllm
TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    pytest.importorskip("vllm")
    folder = tmp_path_factory.mktemp("served")
    model, tokenizer = FromScratch(vocab_size=300, max_length=8192).load(
        [f"print the number {i} and then stop" for i in range(500)]
    )
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    (folder / "template.jinja").write_text(TEMPLATE)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--model", folder / "model", "--served-model-name", "tutor", "--host", "127.0.0.1", "--port", port]
    options += ["--dtype", "float32", "--enforce-eager", "--chat-template", folder / "template.jinja"]
    log = (folder / "log").open("wb")
    server = subprocess.Popen(
        [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *map(str, options)],
        stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
        env={**os.environ, "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 900
        while not is_up(port):
            assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-4000:]
            time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(30)
        finally:
            if server.poll() is None:
                os.killpg(server.pid, signal.SIGKILL)


def is_up(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as reply:
            return reply.status == 200
    except OSError:
        return False


def test_chat(url, tmp_path):
    client = Client(url, tmp_path)
    greedy = chat_request("tutor", "print the number", max_tokens=8)
    several = chat_request("tutor", "print the number", max_tokens=8, temperature=1.0, n=3)
    long = chat_request("tutor", "print the number " * 20_000, max_tokens=8)
    one, three, refused = client.ask([greedy, several, long])
    assert len(one.choices) == 1 and len(three.choices) == 3 and one.completion_tokens <= 8
    assert one.prompt_tokens == three.prompt_tokens > 0
    assert refused.refused and refused.error.startswith("400: ")
    assert client.ask([greedy])[0].cached
    with pytest.raises(PlmError, match=r"has no model 'tuto' .did you mean 'tutor'"):
        client.ask([chat_request("tuto", "x")])


def test_the_command_counts_what_cannot_be_used(url, tmp_path, capsys):
    assert run(command(tmp_path, url, "--max-tokens", 32)) == 1
    assert "no problem is left" in capsys.readouterr().err
    report = json.loads((tmp_path / "code.jsonl.report.json").read_text())
    reasons = report["dropped_by_reason"]  # some are refused the second time, too long for its context
    assert reasons.get("unusable", 0) + reasons.get("refused", 0) == 7
    assert report["this_run"]["fresh"] >= 1 and report["unusable"][0]["fault"]
    assert report["tokens"]["completion"] > 0 and report["replies_without_token_counts"] == 0


def test_a_teacher_of_nothing_breaks_nothing(url, tmp_path, capsys):
    """Seven programs that pass their tests, two attempts each, and no reply that has a program in it."""
    args = test_prepare_critique.command(tmp_path, url, "--max-tokens", 32)
    assert run(args) == 1
    assert "no problem is left" in capsys.readouterr().err
    report = json.loads((tmp_path / "critiques.jsonl.report.json").read_text())
    assert report["dropped_by_reason"] == {"no break": 7, "reference": 1}
    assert report["this_run"]["fresh"] == len(report["unusable"]) == 14
    assert report["tokens"]["prompt"] > 14 * 500 and report["replies_without_token_counts"] == 0
    assert run(args) == 1
    again = json.loads((tmp_path / "critiques.jsonl.report.json").read_text())
    assert (again["this_run"]["fresh"], again["this_run"]["cached"]) == (0, 14)
