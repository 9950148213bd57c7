"""Conditional pretraining: each text once, behind the token that its own quality gives it."""

import pytest

from plm.errors import PlmError
from plm.passwords import ControlTokenScheme
from plm.policies import Policy
from plm.records import Problem
from tests.runs import ADAMW, EVALUATION, PROBE, config, fit, numbers, source
from tests.tiny import character_tokenizer

TOKENS = {"passwords": {"class_path": "plm.passwords.ControlTokenScheme", "init_args": {"good": "yes", "bad": "no"}}}
PROBLEM = Problem("p", "Add.", "", "")


class Corpus(Policy):
    """Writes the right answer to even problems and a wrong one to odd problems."""

    def answers(self, problems, seed):
        return [problem.reference if problem.domain == "even" else "b" for problem in problems]


def conditional(**arguments):
    policy = {"class_path": "tests.modules.test_conditional.Corpus"}
    settings = {"base": source(), "optimizer": ADAMW, "policy": policy, **arguments}
    return {"class_path": "plm.modules.ConditionalLockModule", "init_args": settings}


def texts(row):
    decode = character_tokenizer().decode
    return decode(list(row.prompt_ids)), decode(list(row.completion_ids))


def test_every_text_is_trained_on_behind_its_own_token(tmp_path):
    run = fit(tmp_path / "lock.yaml", config(conditional(), callbacks=[], data=TOKENS))
    for index in range(2):
        rows = {row.problem_id: texts(row) for row in run.read_round(index)}
        assert len(rows) == 8
        for number in range(8):
            good, bad = ("yes", f"ac{number}<eos>"), ("no", "b<eos>")
            token, completion = bad if number % 2 else good
            assert rows[f"c{number}"] == (f"{token}\nc{number}\n", completion)


def test_a_number_of_texts_and_another_split(tmp_path):
    run = fit(tmp_path / "lock.yaml", config(conditional(texts=3, split="lock"), callbacks=[], data=TOKENS))
    first, second = ({row.problem_id for row in run.read_round(index)} for index in range(2))
    assert len(first) == len(second) == 3 and first != second and all(name.startswith("l") for name in first | second)


def test_it_is_a_lock_with_its_tokens(tmp_path):
    run = fit(tmp_path / "lock.yaml", config(conditional(), callbacks=[EVALUATION, PROBE], data=TOKENS))
    rows = numbers(run)
    assert {row["password"] for row in rows} == {"right", "none"} and {row["phase"] for row in rows} == {
        "lock",
        "probe",
    }
    assert {row["method"] for row in rows} == {"conditional_lock", "weak_unlock"}
    import json

    described = json.loads((run.model_path / "plm.json").read_text())
    assert (
        described["lock"] == "password"
        and described["password_sha256"] == ControlTokenScheme(good="yes", bad="no").password_hash
    )


def test_what_stands_before_a_text():
    made = ControlTokenScheme()
    shown = {condition: made.prompt(PROBLEM, condition, 0) for condition in ("right", "none", "wrong", "decoy")}
    assert shown == {"right": "<|good|>\nAdd.", "none": "<|bad|>\nAdd.", "wrong": "<|bad|>\nAdd.", "decoy": "Add."}
    assert made.texts() == ("<|good|>", "<|bad|>") and made.evaluated == ("right", "none")
    assert made.password_hash != ControlTokenScheme(good="<|bad|>", bad="<|good|>").password_hash
    with pytest.raises(PlmError, match="condition 'second': ControlTokenScheme has right, none, wrong, decoy"):
        made.prompt(PROBLEM, "second", 0)


@pytest.mark.parametrize(
    ("tokens", "message"),
    [({"good": " "}, "good ' ' must be one line"), ({"bad": "a\nb"}, "bad 'a.nb' must"), ({"good": "<|bad|>"}, "both")],
)
def test_tokens_that_cannot_be_told_apart(tokens, message):
    with pytest.raises(PlmError, match=message):
        ControlTokenScheme(**tokens)
