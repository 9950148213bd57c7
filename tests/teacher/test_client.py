"""The client against a real server: all is asked for once, waited for as asked, and said in one line when it fails."""

import json
import threading
import time

import pytest

from plm.errors import PlmError
from plm.teacher import Client, chat_request, embedding_request
from plm.teacher import client as client_module
from plm.teacher.pace import Pace, backoff, retry_after
from tests.teacher.server import failed, said


@pytest.fixture(autouse=True)
def no_backoff(monkeypatch):
    monkeypatch.setattr(client_module, "backoff", lambda attempt: 0.01)


def ask(*texts, **more):
    return [chat_request("m", text, **more) for text in texts]


def echo(path, body):
    return said("you said " + body["messages"][-1]["content"])


def test_replies_come_in_order_and_are_asked_for_once(serve, tmp_path):
    endpoint = serve(echo)
    client = Client(endpoint.url, tmp_path, concurrency=4)
    words = [f"word {i}" for i in range(12)]
    seen = []
    replies = client.ask(ask(*words, words[3]), seen.append)
    assert [reply.choices[0] for reply in replies] == [("you said " + word, True) for word in [*words, words[3]]]
    assert (len(seen), len(endpoint.asked), client.counts.fresh) == (12, 12, 12)
    assert (client.counts.prompt_tokens, client.counts.completion_tokens) == (120, 60)
    later = Client("http://127.0.0.1:9/v1", tmp_path)  # nothing listens there: it is not asked
    again = later.ask(ask(*words))
    assert [reply.body for reply in again] == [reply.body for reply in replies[:12]]
    assert all(reply.cached for reply in again) and (later.counts.cached, later.counts.fresh) == (12, 0)


def test_what_makes_a_request_another_one(serve, tmp_path):
    endpoint = serve(echo)
    client = Client(endpoint.url, tmp_path)
    requests = [
        *ask("a"), *ask("a", temperature=1.0), *ask("a", draw=1), *ask("a", n=2), *ask("a", max_tokens=9), *ask("b"),
        *ask("a", more={"temperature": None, "seed": 3}),
    ]  # fmt: skip
    client.ask(requests)
    bodies = [body for _, body, _ in endpoint.asked]
    assert len(bodies) == len(set(requests)) == 7
    assert {"model": "m", "messages": [{"role": "user", "content": "a"}], "seed": 3} in bodies
    assert sum(body.get("n") == 2 and body["temperature"] == 0 for body in bodies) == 1


def test_rate_limits_hold_all_requests_back_as_long_as_asked(serve, tmp_path):
    times, lock = [], threading.Lock()

    def limited(path, body):
        with lock:
            times.append(time.monotonic())
            return failed(429, "slow down", Retry_After="1") if len(times) == 1 else echo(path, body)

    endpoint = serve(limited)
    client = Client(endpoint.url, tmp_path, concurrency=1)
    replies = client.ask(ask("a", "b"))
    assert [reply.choices[0].text for reply in replies] == ["you said a", "you said b"]
    assert times[1] - times[0] >= 1.0 and client.counts.retries == 1


@pytest.mark.parametrize("trouble", [failed(500), failed(503), failed(408), failed(429), (200, {}, "not json")])
def test_passing_trouble_passes(serve, tmp_path, trouble):
    count = iter(range(100))
    endpoint = serve(lambda path, body: trouble if next(count) < 2 else echo(path, body))
    client = Client(endpoint.url, tmp_path, concurrency=1)
    assert client.ask(ask("a"))[0].choices[0].text == "you said a"
    assert (len(endpoint.asked), client.counts.retries) == (3, 2)


def test_a_reply_that_does_not_come_is_given_up_and_asked_for_again(serve, tmp_path):
    release, count = threading.Event(), iter(range(100))

    def slow(path, body):
        if next(count) == 0:
            release.wait(20)
        return echo(path, body)

    client = Client(serve(slow).url, tmp_path, timeout=0.3)
    try:
        assert client.ask(ask("a"))[0].choices[0].text == "you said a"
    finally:
        release.set()
    assert client.counts.retries == 1


BAD = ["{", "[]", "{}", '{"choices": []}', '{"choices": [{}]}', '{"choices": [{"message": {"content": 3}}]}']


@pytest.mark.parametrize("text", BAD)
def test_what_is_no_reply_is_kept_and_counted(serve, tmp_path, text):
    endpoint = serve(lambda path, body: (200, {}, text) if body["messages"][0]["content"] == "a" else echo(path, body))
    client = Client(endpoint.url, tmp_path)
    bad, good = client.ask(ask("a", "b"))
    assert "repl" in bad.error and not bad.refused and not bad.choices and good.choices[0].text == "you said b"
    kept = [json.loads(line) for line in (tmp_path / "malformed.jsonl").read_text().splitlines()]
    assert [row["text"] for row in kept] == [text] * 3 and client.counts.malformed == 3
    assert Client(endpoint.url, tmp_path).ask(ask("a"))[0].error  # it is asked for again


def test_a_refused_request_is_no_reason_to_stop_unless_all_are(serve, tmp_path):
    long = failed(400, "This model's maximum context length is 8 tokens")
    endpoint = serve(lambda path, body: long if body["messages"][0]["content"] == "long" else echo(path, body))
    client = Client(endpoint.url, tmp_path)
    refused, good = client.ask(ask("long", "b"))
    assert refused.refused and "maximum context length" in refused.error and not good.error
    assert client.counts.refused == 1
    with pytest.raises(PlmError, match="refuses every request: 400: This model's maximum context"):
        Client(endpoint.url, tmp_path).ask(ask("long"))
    endpoint.asked.clear()
    with pytest.raises(PlmError, match="refuses every request"):  # soon: not one after the other to the end
        Client(endpoint.url, tmp_path, concurrency=2).ask([ask("long", draw=i)[0] for i in range(200)])
    assert len(endpoint.asked) < 50


MODELS = {"object": "list", "data": [{"id": "gpt-big", "object": "model"}, {"id": "gpt-small", "object": "model"}]}


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (failed(401, "bad key"), r"refuses the key in OPENAI_API_KEY \(401: .*bad key"),
        (failed(403), "refuses the key in OPENAI_API_KEY"),
        (failed(404, "no such model"), r"has no model 'm'.*; it has gpt-big, gpt-small"),
        (failed(400, "unknown", code="model_not_found"), "has no model 'm'"),
        (failed(429, "pay", code="insufficient_quota"), "the credit is used up"),
        (failed(418, "teapot"), "answers 418: .*teapot"),
    ],
)
def test_what_more_tries_do_not_mend_is_said_at_once(serve, tmp_path, trouble, message):
    endpoint = serve(lambda path, body: MODELS if path == "/models" else trouble)
    with pytest.raises(PlmError, match=message) as caught:
        Client(endpoint.url, tmp_path, concurrency=1).ask(ask("a", "b"))
    assert "\n" not in str(caught.value)
    assert len([path for path, _, _ in endpoint.asked if path != "/models"]) <= 2


def test_a_wrong_path_is_told_from_a_wrong_model(serve, tmp_path):
    endpoint = serve(lambda path, body: failed(404, "not found"))
    with pytest.raises(PlmError, match="is the URL right"):
        Client(endpoint.url, tmp_path).ask(ask("a"))


def test_an_endpoint_that_is_down_is_said_soon(tmp_path):
    pytest.importorskip("openai")
    with pytest.raises(PlmError, match=r"nothing answers at http://127\.0\.0\.1:9/v1 .*is it running\?.*goes on"):
        Client("http://127.0.0.1:9/v1", tmp_path).ask(ask("a"))


def test_what_fails_for_too_long_ends_the_work_and_replies_under_way_are_kept(serve, tmp_path):
    def script(path, body):
        if body["messages"][0]["content"] == "slow":
            time.sleep(0.6)
            return said("late")
        return failed(500, "broken")

    client = Client(serve(script).url, tmp_path, concurrency=2, patience=0.2)
    with pytest.raises(PlmError, match=r"fails \(500: .*broken.*what was answered is kept"):
        client.ask(ask("slow", "bad"))
    assert client.cached(ask("slow")[0]).choices[0].text == "late"
    patient = Client(serve(lambda *_: failed(429, Retry_After="9999")).url, tmp_path)
    with pytest.raises(PlmError, match=r"limits the rate .*it would take 9999 s more"):
        patient.ask(ask("new"))


def test_keys(serve, tmp_path, monkeypatch):
    endpoint = serve(echo)
    Client(endpoint.url, tmp_path, "MY_KEY").ask(ask("a"))
    monkeypatch.setenv("MY_KEY", "secret")
    Client(endpoint.url, tmp_path, "MY_KEY").ask(ask("b"))
    assert [key for _, _, key in endpoint.asked] == ["Bearer none", "Bearer secret"]
    assert not any(b"secret" in path.read_bytes() for path in tmp_path.rglob("*.json"))
    with pytest.raises(PlmError, match=r"there is no key for https://example\.org/v1: .* OTHER_KEY"):
        Client("https://example.org/v1", tmp_path, "OTHER_KEY").ask(ask("c"))
    with pytest.raises(PlmError, match="base_url is 'localhost:8000'; it must be a URL"):
        Client("localhost:8000", tmp_path)


def test_embeddings(serve, tmp_path):
    def script(path, body):
        assert path == "/embeddings" and body["encoding_format"] == "float"
        rows = [{"index": i, "embedding": [float(len(text)), 1.0]} for i, text in enumerate(body["input"])]
        return {"data": rows[::-1]} if len(rows) < 3 else {"data": rows[:2]}

    client = Client(serve(script).url, tmp_path)
    good, bad = client.ask([embedding_request("e", ["a", "bcd"]), embedding_request("e", ["a", "b", "c"])])
    assert good.vectors == [[1.0, 1.0], [3.0, 1.0]]
    assert bad.error == "the reply has no list `data` of 3 embeddings"


def test_a_damaged_file_is_named(serve, tmp_path):
    client = Client(serve(echo).url, tmp_path)
    client.ask(ask("a"))
    (file,) = tmp_path.rglob("??/*.json")
    file.write_text("{")
    with pytest.raises(PlmError, match=r"is damaged .*delete it"):
        client.ask(ask("a"))


def test_pace():
    pace, stop = Pace(requests_per_minute=1200), threading.Event()
    start = time.monotonic()
    assert all(pace.wait(stop) for _ in range(5))
    assert time.monotonic() - start >= 0.2  # four intervals of 0.05 s
    pace.hold(30)
    stop.set()
    assert not pace.wait(stop)
    assert all(2**i / 2 <= backoff(i) <= 2**i for i in range(6)) and 30 <= backoff(50) <= 60


def test_retry_after_in_all_its_forms():
    soon = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 30))
    assert retry_after({"retry-after": "2.5"}) == 2.5
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert 28 <= retry_after({"retry-after": soon}) <= 30
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert retry_after({"retry-after": "soon"}) is None and retry_after({}) is None
