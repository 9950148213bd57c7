"""Labels as distributions: any policy's, the data's frequencies, a teacher's file."""

import gzip
import json

import pytest

from plm.errors import PlmError
from plm.policies import FileLabels, ReferencePolicy, SampledLabels, label_distributions, save_labels
from plm.records import Problem


def problem(id_="p", reference="B", **answers):
    return Problem(id_, "Which?", "stem", reference, answers=answers)


def test_the_ground_truth_is_all_on_the_reference():
    assert label_distributions(ReferencePolicy(), [problem(), problem(reference="D")], 0) == [{"B": 1.0}, {"D": 1.0}]


def test_frequencies_of_stored_completions_and_the_most_frequent():
    labels = SampledLabels("teacher")
    problems = [problem(teacher=("C", "A", "C", "B")), problem(teacher=("D", "A"))]
    assert labels.distributions(problems, 0) == [{"A": 0.25, "B": 0.25, "C": 0.5}, {"A": 0.5, "D": 0.5}]
    assert label_distributions(labels, problems, 0) == labels.distributions(problems, 1)
    assert labels.answers(problems, 0) == ["C", "A"]
    with pytest.raises(PlmError, match=r"no completions of a policy named 'teacher' \(problem p; known: weak\)"):
        labels.distributions([problem(weak=("A",))], 0)


def test_a_file_comes_back(tmp_path):
    path = tmp_path / "teacher.jsonl"
    rows = {"p": {"A": 0.1, "B": 0.7, "C": 0.1, "D": 0.1}, "q": {"A": 1.0}}
    save_labels(path, rows)
    labels = FileLabels(path)
    assert labels.distributions([problem("q"), problem("p")], 0) == [rows["q"], pytest.approx(rows["p"])]
    assert labels.answers([problem("q"), problem("p")], 0) == ["A", "B"]
    with pytest.raises(PlmError, match=r"teacher\.jsonl: there are no labels of problem r; it has 2"):
        labels.distributions([problem("r")], 0)
    packed = tmp_path / "teacher.jsonl.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert FileLabels(packed).distributions([problem("q")], 0) == [rows["q"]]


def test_rounded_probabilities_are_normalised(tmp_path):
    save_labels(path := tmp_path / "l.jsonl", {"p": {"A": 0.3333, "B": 0.3333, "C": 0.3333}})
    ((labels),) = FileLabels(path).distributions([problem()], 0)
    assert labels == pytest.approx({"A": 1 / 3, "B": 1 / 3, "C": 1 / 3})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "p", "probabilities": {"A": 0.5, "B": 0.4}}], "row 1: column 'probabilities' adds up to 0.9"),
        ([{"id": "p", "probabilities": {"A": 1.5, "B": -0.5}}], "row 1: column 'probabilities' is .* from 0 to 1"),
        ([{"id": "p", "probabilities": {"A": 1.0}}] * 2, "row 2: column 'id' is 'p', which an earlier row has too"),
        ([{"id": 3, "probabilities": {"A": 1.0}}], "row 1: column 'id' is 3; it must be text"),
        ([{"id": "p", "probabilities": "A"}], "row 1: column 'probabilities' is 'A'; it must be an object"),
        ([{"id": "p"}], "no column 'probabilities'"),
    ],
)
def test_what_is_no_distribution_is_one_line_with_file_and_row(tmp_path, rows, message):
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(PlmError, match=rf"labels\.jsonl.*{message}"):
        FileLabels(path).answers([problem()], 0)
