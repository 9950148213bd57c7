"""Near-duplicates across splits: what counts as one, exactly, and who gets to see it."""

import random

import pytest

from plm.datamodules import leaks
from plm.datamodules.leaks import find_near_duplicates
from plm.records import Problem
from tests.runs import config, fit, lock

TEXT = "read two numbers from the input and print their sum on a line of its own please"  # 17 words, 15 shingles


def problem(text, id_=None):
    return Problem(id_ or text, text, "d", "r")


def jaccard(left, right):
    """By the definition, on the words themselves."""
    first, second = ({tuple(text.split()[i : i + 3]) for i in range(len(text.split()) - 2)} for text in (left, right))
    return len(first & second) / len(first | second)


def test_a_word_at_the_end_makes_no_other_problem():
    """One of 15 shingles differs: 14 / 16."""
    found = find_near_duplicates({"lock": [problem(TEXT)], "val": [problem(f"{TEXT[:-6]} now"), problem("else")]})
    assert found.similar == {"lock": {"val": 1}, "val": {"lock": 1}}
    assert found.as_row()["val"] == {
        "problems": 2, "near_duplicates": 1, "complete": True, "near_duplicates_in": {"lock": 1},
        "same_but_numbers_in": {},
    }  # fmt: skip
    assert found.line() == "near-duplicates of problems in other splits: lock 1 of 1, val 1 of 2"


def test_a_word_in_the_middle_does():
    """Three of 15 shingles differ: 12 / 18."""
    found = find_near_duplicates({"lock": [problem(TEXT)], "val": [problem(TEXT.replace("print", "write"))]})
    assert not found.similar
    assert found.line() == "near-duplicates of problems in other splits: none"


def test_other_numbers():
    splits = {"lock": [problem("add 12 and 3.5")], "val": [problem("Add 7 and 1"), problem("Add 7 or 1")]}
    found = find_near_duplicates(splits)
    assert found.same_but_numbers == {"lock": {"val": 1}, "val": {"lock": 1}}
    assert not found.similar  # under 10 words


def test_the_index_finds_what_comparing_every_pair_finds():
    rng = random.Random(0)
    base = [[rng.choice("abcdefgh") for _ in range(rng.randint(10, 30))] for _ in range(40)]

    def varied(words):
        words = list(words)
        for _ in range(rng.choice([0, 1, 1, 2])):
            words[rng.choice([0, -1, len(words) // 2])] = rng.choice("xyz")
        return " ".join(words)

    splits = {
        name: [problem(varied(rng.choice(base)), f"{name}{i}") for i in range(60)] for name in ("lock", "val", "weak")
    }
    expected = {}
    for name in splits:
        for other in splits:
            if other != name:
                near = sum(any(jaccard(a.prompt, b.prompt) >= 0.8 for b in splits[other]) for a in splits[name])
                expected.setdefault(name, {})[other] = near
    assert find_near_duplicates(splits).similar == expected
    assert min(n for counts in expected.values() for n in counts.values()) > 5


def test_where_all_resembles_all_it_gives_up_and_says_so(monkeypatch):
    monkeypatch.setattr(leaks, "MOST_COMPARISONS", 50)
    splits = {name: [problem(f"{TEXT} {i}{name}") for i in range(20)] for name in ("lock", "val")}
    found = find_near_duplicates(splits)
    assert not found.complete and "and more: too much is alike" in found.line()


@pytest.mark.filterwarnings("ignore")
def test_a_run_shows_and_keeps_the_counts(tmp_path, capsys):
    run = fit(tmp_path / "run.yaml", config(lock(), callbacks=[], rounds=1))
    assert "near-duplicates of problems in other splits: none" in capsys.readouterr().err
    assert run.read_manifest()["near_duplicates"]["val"]["problems"] == 8
