"""Embedders: vectors by hand, the packaged model, an endpoint on loopback."""

import math

import numpy as np
import pytest

from plm.embedders import Embedder, EndpointEmbedder, NgramEmbedder, SentenceTransformerEmbedder, closeness, unit
from plm.errors import PlmError
from tests.endpoints import Scripted, serving


class Table(Embedder):
    """Vectors from a table."""

    def __init__(self, **rows):
        self.rows = rows
        self.asked = []

    def embed(self, texts, *, progress=None):
        self.asked += texts
        return unit(np.array([self.rows[text] for text in texts], dtype=float))


def test_cosines_by_hand_and_clipped():
    """(3, 4) and (4, 3): 24 / 25; opposite directions are clipped to 0; nothing has no direction."""
    table = Table(a=(3, 4), b=(4, 3), c=(-3, -4), d=(0, 0))
    assert closeness(table, ["a", "a", "a", "a"], ["b", "a", "c", "d"]) == pytest.approx([0.96, 1.0, 0.0, 0.0])
    assert table.asked == ["a", "b", "c", "d"]
    assert closeness(table, [], []) == []


def test_two_words_of_ngrams_by_hand():
    """`ab` gives <ab>, <ab, ab>; `abc` gives <abc>, <ab, abc, bc>, <abc, abc>: one of 3 and of 6 is shared."""
    embedder = NgramEmbedder(dimensions=1 << 20)
    assert closeness(embedder, ["ab", "ab ab"], ["abc", "AB"]) == pytest.approx([1 / math.sqrt(18), 1.0], abs=1e-6)


def test_numbers_weigh_more_and_nothing_is_0():
    right, other_number, other_word = "add 17 to each", "add 18 to each", "add 17 to both"
    plain, weighted = NgramEmbedder(number_weight=1.0), NgramEmbedder()
    assert closeness(weighted, [other_number], [right])[0] < closeness(plain, [other_number], [right])[0]
    assert closeness(weighted, [right, "", " \n", "\ud800"], [right, right, right, right])[1:] == [0.0, 0.0, 0.0]
    assert closeness(weighted, [right], [other_word])[0] > closeness(weighted, [right], [other_number])[0]


def test_ngrams_are_the_same_in_every_process():
    """<ab>, <ab and ab> at places 2, 5 and 6 of 8, by CRC-32."""
    row = NgramEmbedder(dimensions=8).embed(["zz", "ab"])[1]
    assert (row * math.sqrt(3)).tolist() == pytest.approx([0, 0, 1, 0, 0, -1, 1, 0])


def test_a_long_text_is_cut_and_arguments_are_checked():
    base = "a b " * 5000
    assert closeness(NgramEmbedder(), [base + "zebra" * 100_000], [base]) == pytest.approx([1.0])
    with pytest.raises(PlmError, match="dimensions is 0"):
        NgramEmbedder(dimensions=0)


@pytest.mark.critique
def test_the_packaged_model_knows_meanings():
    embedder = SentenceTransformerEmbedder()
    same, other, empty = closeness(
        embedder,
        ["it skips the even integers", "the answer is multiplied by 3", ""],
        ["it leaves the even numbers out"] * 3,
    )
    assert same > 0.75 and other < 0.4 and empty == 0.0
    assert embedder.embed(["a", "b"]).shape == (2, 384)


@pytest.mark.critique
def test_a_model_that_does_not_exist():
    with pytest.raises(PlmError, match="the embedding model '/nowhere' cannot be loaded"):
        SentenceTransformerEmbedder("/nowhere").embed(["a"])


# --- an endpoint


def endpoint(url, tmp_path):
    pytest.importorskip("openai")
    from plm.teacher.client import Client

    return EndpointEmbedder("embed", Client(url, cache=tmp_path / "replies"))


@pytest.fixture
def no_pauses(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setattr("plm.teacher.client.backoff", lambda attempt: 0.01)


def vectors(body, count):
    rows = [{"index": i, "embedding": [float(len(text)), 1.0]} for i, text in enumerate(body["input"])]
    return Scripted({"object": "list", "data": rows[::-1], "model": "embed"})


def test_an_endpoint_embeds_each_text_once_in_order(tmp_path):
    with serving(vectors) as server:
        made = endpoint(server.url, tmp_path).embed(["abc", "", "a", "abc"])
        assert made[1].tolist() == [0.0, 0.0]
        assert made[0] == pytest.approx(np.array([3, 1]) / math.sqrt(10)) and made[0].tolist() == made[3].tolist()
        assert [request["input"] for request in server.requests] == [["abc", "a"]]
        assert server.requests[0]["path"] == "/embeddings" and server.requests[0]["encoding_format"] == "float"
        endpoint(server.url, tmp_path).embed(["abc", "a"])
        assert len(server.requests) == 1


def test_many_texts_go_in_parts_and_a_bad_part_gives_zeros(tmp_path, no_pauses, capsys):
    def script(body, count):
        return Scripted({"data": []}) if "t0" in body["input"] else vectors(body, count)

    with serving(script) as server:
        made = endpoint(server.url, tmp_path).embed([f"t{index}" for index in range(100)])
    assert not made[:64].any() and made[64:].all()
    assert "1 of 2 replies of embed cannot be used" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pauses")
@pytest.mark.parametrize(
    ("body", "message"), [({"data": "x"}, "no reply of embed can be used: "), ("<html>", "is not JSON")]
)
def test_an_endpoint_without_embeddings(tmp_path, body, message):
    with serving(lambda _, count: Scripted(body)) as server, pytest.raises(PlmError, match=message):
        endpoint(server.url, tmp_path).embed(["a"])
