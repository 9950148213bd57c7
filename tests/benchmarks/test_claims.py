"""benchmarks/claims.py: verdicts by intervals; that each claim asks for what the study measures."""

import sys
from pathlib import Path

import pytest
import yaml

from plm.studies.grid import expand
from plm.studies.report.collect import Collection, collect
from plm.studies.report.view import View
from plm.studies.statistics import Interval
from plm.studies.study import read_study
from tests.studies.report_runs import Planted

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from claims import AGREES, CLAIMS, CRITERIA, DISAGREES, SHOWN, UNKNOWN, Judge, check_line, table, verdict  # noqa: E402

CLAIMED = yaml.safe_load(CLAIMS.read_text())
CHECKS = [check for claim in CLAIMED for check in claim.get("checks", [])]


@pytest.mark.parametrize(
    ("low", "high", "check", "expected"),
    [
        (0.51, 0.9, {"above": 0.5}, AGREES),
        (0.49, 0.9, {"above": 0.5}, UNKNOWN),
        (0.1, 0.49, {"above": 0.5}, DISAGREES),
        (-0.1, 0.09, {"below": 0.1}, AGREES),
        (0.11, 0.2, {"below": 0.1}, DISAGREES),
        (-0.04, 0.04, {"within": [-0.05, 0.05]}, AGREES),
        (-0.06, 0.04, {"within": [-0.05, 0.05]}, UNKNOWN),
        (0.06, 0.2, {"within": [-0.05, 0.05]}, DISAGREES),
        (-0.2, -0.06, {"within": [-0.05, 0.05]}, DISAGREES),
        (-0.01, 0.04, {"above": 0}, DISAGREES),  # an effect of 0.05 is excluded
        (-0.01, 0.06, {"above": 0}, UNKNOWN),
        (0.01, 0.06, {"above": 0}, AGREES),
        (-0.06, 0.01, {"below": 0}, UNKNOWN),
        (-0.04, 0.01, {"below": 0}, DISAGREES),
        (-0.04, -0.01, {"below": 0}, AGREES),
        (0.0, 0.0, {"below": 0.1}, AGREES),
    ],
)
def test_a_verdict_is_made_by_the_whole_interval(low, high, check, expected):
    """Met as a whole, not at all, or in part."""
    assert verdict(Interval((low + high) / 2, low, high, "problems"), check) == expected


def test_every_claim_has_checks_or_says_what_else_is_known():
    """A source, what they found, and one of the two."""
    for claim in CLAIMED:
        assert {"claim", "source", "found"} <= set(claim)
        assert ("checks" in claim) != ("elsewhere" in claim)
        if "elsewhere" in claim:
            assert claim["verdict"] in (AGREES, DISAGREES, UNKNOWN) and claim["why"]
    for check in CHECKS:
        assert check["show"] in SHOWN and len([name for name in CRITERIA if name in check]) == 1
        assert set(check) <= {"show", "of", "less", "round", "domains", "password", "given", *CRITERIA}


def test_every_cell_that_a_claim_names_is_in_the_study():
    """By the cell's name, or by the run's name for what only others need."""
    study = read_study(ROOT / "configs/studies/paper_mini.yaml")
    named = {each.cell for each in expand(study)} | set(study.models)
    assert {check[key] for check in CHECKS for key in ("of", "less") if key in check} <= named


def test_what_was_not_measured_cannot_be_told():
    """Without runs there is no number, and no verdict but one."""
    claim = {"claim": "A", "source": "P", "found": "B", "checks": [{"show": "rise", "of": "C", "above": 0}]}
    text = table([claim], Judge(View(Collection("nothing"))))
    assert "1 checks of 1 claims: 0 agrees, 0 disagrees, 1 cannot tell." in text
    assert "| A (P) | B | not measured (C: nothing of it is among the runs) | cannot tell |  |" in text


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """A lock that was probed, SFT that is best after one round, and SFT on arrays alone; two seeds."""
    planted = Planted(tmp_path_factory.mktemp("claims") / "runs")
    for seed in (0, 1):
        parts = {"arrays": 0.1, "numbers": 0.1, "strings": 0.2}
        lock = planted.lock(seed=seed, right=0.9, none=0.1, probe=0.3, domains=parts)
        planted.elicit(lock, {0: 0.1, 1: 0.6, 2: 0.5}, k=16)
        parts = {"arrays": 0.9, "numbers": 0.7, "strings": 0.5}
        planted.elicit(lock, {0: 0.1, 2: 0.7}, name="elicit_arrays", only="arrays", domains=parts)
    return Judge(View(collect([planted.root])))


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ({"show": "correct", "of": "lock_code", "password": "right"}, 0.9),
        ({"show": "recovered", "of": "elicit_sft_code"}, 0.625),
        ({"show": "recovered", "of": "elicit_sft_code", "round": "last"}, 0.5),
        ({"show": "rise", "of": "elicit_sft_code"}, 0.5),
        ({"show": "rise", "of": "elicit_sft_code", "round": 2}, 0.4),
        ({"show": "overshoot", "of": "elicit_sft_code"}, 0.1),
        ({"show": "probe", "of": "lock_code"}, 0.2),
        ({"show": "correct", "of": "elicit_arrays", "less": "elicit_sft_code"}, 0.1),
        ({"show": "recovered", "of": "elicit_arrays", "less": "elicit_sft_code"}, 0.125),
        ({"show": "correct", "of": "elicit_arrays", "domains": "others"}, 0.6),
        ({"show": "correct", "of": "elicit_arrays", "domains": "strings"}, 0.5),
        ({"show": "rise", "of": "elicit_arrays", "domains": "others"}, 0.45),
    ],
)
def test_numbers_are_what_the_runs_measured(judge, check, expected):
    """Of the right rounds, conditions, domains and cells, inside of their own interval."""
    found = judge.number(check)
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(("premise", "expected"), [(0.3, AGREES), (0.7, UNKNOWN)])
def test_nothing_is_said_of_what_reduces_an_effect_that_is_not_there(judge, premise, expected):
    """The premise is judged first; both are over the same two seeds."""
    given = {"show": "rise", "of": "elicit_sft_code", "above": premise}
    check = {"show": "rise", "of": "elicit_arrays", "less": "lock_code", "above": -0.5, "given": given}
    text, result = check_line(check, judge)
    assert result == expected
    assert ("nothing to compare with" in text) == (expected == UNKNOWN)
    assert "one seed" not in text
