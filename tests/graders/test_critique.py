"""Critiques: the threshold, what cannot be read, files of rows, calibration, and critiques of a real model."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from plm.calibrate import Calibration, calibrate, choose_threshold
from plm.cli import run
from plm.embedders import NgramEmbedder, closeness
from plm.errors import PlmError
from plm.graders.critique import THRESHOLD, CritiqueGrader
from plm.records import Problem
from tests.endpoints import Scripted, serving
from tests.test_embedders import Table

REAL = Path(__file__).parents[2].parent / "shared" / "data" / "open" / "critiques" / "reflexion_mbpp.jsonl.gz"


def problem(reference):
    return Problem("p", "", "", reference)


def test_at_the_threshold_by_hand():
    """(3, 4) and (4, 3) have cosine 0.96."""
    table = Table(right=(3, 4), close=(4, 3), far=(4, -3))
    grades = CritiqueGrader(table, 0.96).grade([problem("right")] * 3, ["close", "far", "right"])
    assert [(each.correct, each.reason) for each in grades] == [(True, "correct"), (False, "wrong"), (True, "correct")]
    assert [each.score for each in grades] == pytest.approx([0.96, 0.0, 1.0])
    assert not CritiqueGrader(table, 0.97).grade([problem("right")], ["close"])[0].correct


def test_nothing_is_no_critique_and_blanks_do_not_count():
    counted = []
    grades = CritiqueGrader().grade(
        [problem("It forgets 3.")] * 3, ["", " \n", " It forgets 3.\n"], progress=counted.append
    )
    assert [(each.correct, each.score, each.reason) for each in grades[:2]] == [(False, 0.0, "parse")] * 2
    assert grades[2].correct and grades[2].extracted == "It forgets 3." and counted == [3]


@pytest.mark.parametrize("threshold", [0.0, 1.5, -1, float("nan")])
def test_a_threshold_outside_of_0_to_1(threshold):
    with pytest.raises(PlmError, match="threshold"):
        CritiqueGrader(threshold=threshold)


def test_hostile_text_gets_a_verdict():
    texts = ["\ud800", "a" * 1_000_000, "\x00", "{}" * 50_000, "```" * 1000]
    assert [each.correct for each in CritiqueGrader().grade([problem("x")] * 5, texts)] == [False] * 5


# --- files


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_file_of_rows(tmp_path, capsys):
    given = [
        {
            "id": 1,
            "completion": "It forgets to add 3 to the answer.",
            "reference": "It forgets to add 3 to the answer.",
        },
        {"id": 2, "completion": "Nothing is wrong.", "reference": "It forgets to add 3 to the answer."},
        {"id": 3, "completion": "x", "reference": " "},
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in given))
    command = ["grade", "critique", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    assert run(command) == 1
    assert [row["correct"] for row in rows(tmp_path / "out.jsonl")] == [True, False, False]
    assert rows(tmp_path / "out.jsonl")[0]["score"] == pytest.approx(1.0)
    assert "in.jsonl:3: `reference` is not a string with a critique" in capsys.readouterr().err
    low = rows(tmp_path / "out.jsonl")[1]["score"] * 0.99
    run([*command, "--threshold", str(low)])
    assert [row["correct"] for row in rows(tmp_path / "out.jsonl")] == [True, True, False]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--embedder", "sentence_transformers"], "needs a --threshold of its own"),
        (["--embedder", "magic", "--threshold", "0.5"], "embedder is magic"),
        (["--threshold", "2"], "threshold of critiques is 2.0"),
    ],
)
def test_wrong_choices_are_one_line(tmp_path, capsys, arguments, message):
    (tmp_path / "in.jsonl").write_text("")
    assert run(["grade", "critique", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), *arguments]) == 1
    assert message in capsys.readouterr().err
    assert run(["grade", "math", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl"), "--threshold", "0.5"]) == 1
    assert "are for critiques, not for math" in capsys.readouterr().err


# --- calibration


def test_the_threshold_by_hand():
    """0.45 … 0.60 part the wrong (up to 0.44) from the right (from 0.60): the middle of 16 thresholds is 0.53."""
    similarities = np.array([0.2, 0.44, 0.60, 0.9])
    assert choose_threshold(similarities, np.array([False, False, True, True])) == pytest.approx(0.53)


def test_accuracy_is_of_pairs_that_were_left_out():
    """Labels that have nothing to do with the similarity: chosen and measured on the same pairs, it would look good."""
    optimism, accuracies = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        similarities, labels = rng.random(60), rng.permutation(np.arange(60) % 2 == 0)
        made = calibrate(list(similarities), list(labels))
        optimism.append(((similarities >= made.threshold) == labels).mean() - made.accuracy.value)
        accuracies.append(made.accuracy.value)
        assert made.accuracy.low <= made.accuracy.value <= made.accuracy.high
    assert np.mean(optimism) > 0.03 and np.mean(accuracies) < 0.53
    parted = calibrate([0.1] * 10 + [0.9] * 10, [False] * 10 + [True] * 10)
    assert (parted.accuracy.value, parted.accepted_wrong, parted.refused_right, parted.chance) == (1.0, 0.0, 0.0, 0.5)
    assert isinstance(parted, Calibration) and 0.1 < parted.threshold <= 0.9


def test_the_default_threshold_is_what_calibration_says(capsys):
    assert run(["calibrate", "critique"]) == 0
    said = capsys.readouterr().out
    assert said.splitlines()[0].split() == ["threshold", f"{THRESHOLD:.2f}"]
    assert "95 % interval" in said and "1000 pairs" in said


def test_pairs_from_a_file(tmp_path, capsys):
    path = tmp_path / "pairs.jsonl"
    wrong = {"completion": "Nothing.", "reference": "It forgets to add 3.", "correct": False}
    right = {"completion": "It forgets to add 3.", "reference": "It forgets to add 3.", "correct": True}
    path.write_text("".join(json.dumps(each) + "\n" for each in [right, wrong] * 6))
    assert run(["calibrate", "critique", str(path)]) == 0
    assert "accuracy     1.000" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 pairs, 0 of them right"),
        ('{"completion": "a", "reference": "b"}\n', r"pairs.jsonl:1: not a JSON object with"),
        ('\n{"completion": "a", "reference": "b", "correct": "yes"}\n', r"pairs.jsonl:2: .* `correct` true or false"),
        ("[1]\n", "pairs.jsonl:1: not a JSON object"),
    ],
)
def test_a_bad_file_of_pairs_is_one_line(tmp_path, capsys, text, message):
    (tmp_path / "pairs.jsonl").write_text(text)
    assert run(["calibrate", "critique", str(tmp_path / "pairs.jsonl")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    import re

    assert re.search(message, error)


# --- an endpoint


def test_an_endpoint_calibrates_and_grades(tmp_path, capsys, monkeypatch):
    """A server whose vectors tell three words apart; asked once for each text, by both commands."""
    pytest.importorskip("openai")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def vectors(body, count):
        rows = [[float(word in text) for word in ("even", "twice", "last")] for text in body["input"]]
        return Scripted({"data": [{"index": i, "embedding": row} for i, row in enumerate(rows)]})

    right = {"completion": "not even", "reference": "It forgets even.", "correct": True}
    wrong = {"completion": "twice", "reference": "It forgets even.", "correct": False}
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in [right, wrong] * 6))
    (tmp_path / "in.jsonl").write_text("".join(json.dumps({"id": 1, **each}) + "\n" for each in [right, wrong]))
    files = [str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    with serving(vectors) as server:
        place = ["--embedder", "endpoint:embed", "--base-url", server.url, "--cache", str(tmp_path / "replies")]
        assert run(["calibrate", "critique", str(tmp_path / "pairs.jsonl"), *place]) == 0
        assert "accuracy     1.000" in capsys.readouterr().out
        assert run(["grade", "critique", *files, *place, "--threshold", "0.5"]) == 0
        assert {text for request in server.requests for text in request["input"]} == {
            "not even", "twice", "It forgets even.",
        }  # fmt: skip
        assert len(server.requests) == 1
    assert [row["correct"] for row in rows(tmp_path / "out.jsonl")] == [True, False]
    assert (
        run(["grade", "critique", *files, *place[:2], "--base-url", "https://example.org/v1", "--threshold", "1"]) == 1
    )
    assert "there is no key for https://example.org/v1" in capsys.readouterr().err


# --- a real model of embeddings


@pytest.mark.critique
def test_the_packaged_model_grades_a_file(tmp_path):
    reference = "It forgets to keep only those that are even."
    texts = [reference, "The odd numbers are not left out.", "It prints the answer twice."]
    given = [{"id": text, "completion": text, "reference": reference} for text in texts]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(each) + "\n" for each in given))
    files = [str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")]
    assert run(["grade", "critique", *files, "--embedder", "sentence_transformers", "--threshold", "0.4"]) == 0
    made = rows(tmp_path / "out.jsonl")
    assert [row["correct"] for row in made] == [True, True, False] and made[0]["score"] == pytest.approx(1.0, abs=1e-5)
    assert run(["grade", "critique", *files]) == 0  # n-grams see no meaning
    assert [row["correct"] for row in rows(tmp_path / "out.jsonl")] == [True, False, False]


@pytest.mark.critique
def test_calibration_with_the_packaged_model(capsys):
    """The threshold and the accuracy that docs/tasks/critique.md has."""
    assert run(["calibrate", "critique", "--embedder", "sentence_transformers"]) == 0
    threshold, accuracy, *_ = capsys.readouterr().out.splitlines()
    assert threshold.split() == ["threshold", "0.71"] and float(accuracy.split()[1]) == pytest.approx(0.837, abs=0.01)


# --- critiques that a real model wrote (Reflexion's reflections on its own wrong programs)


@pytest.mark.skipif(not REAL.is_file(), reason="the data are not here")
def test_real_critiques_are_closer_to_those_of_the_same_program():
    with gzip.open(REAL, "rt") as file:
        tasks = [json.loads(line)["reflections"] for line in file]
    several = [texts for texts in tasks if len({*texts}) > 1]
    assert len(several) > 50
    firsts = [texts[0] for texts in several]
    others = [next(text for text in texts if text != texts[0]) for texts in several]
    same = closeness(NgramEmbedder(), others, firsts)
    different = closeness(NgramEmbedder(), others, [*firsts[1:], firsts[0]])
    closer = np.mean([a > b for a, b in zip(same, different, strict=True)])
    print(f"{len(several)} programs: {np.median(same):.2f} against {np.median(different):.2f}, closer {closer:.3f}")
    assert closer > 0.95
