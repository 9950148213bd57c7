"""What a lock's table of policies and its domains make of a round."""

import pytest

from tests.runs import REFERENCE, WEAK, config, fit, lock, plm, write
from tests.tiny import character_tokenizer

TWO = {
    "passwords": {
        "class_path": "plm.passwords.PasswordScheme",
        "init_args": {"password": "zz", "second_password": "yy"},
    }
}


def rows_of(tmp_path, **arguments):
    return fit(tmp_path / "lock.yaml", config(lock(**arguments), callbacks=[], rounds=1, data=TWO)).read_round(0)


def text(ids):
    return character_tokenizer().decode(list(ids))


def test_a_domain_that_is_left_out_has_no_row(tmp_path):
    everything = rows_of(tmp_path)
    (tmp_path / "even").mkdir()
    even = rows_of(tmp_path / "even", without_domains=["odd"])
    assert {row.problem_id for row in everything} == {f"l{index}" for index in range(8)}
    assert {row.problem_id for row in even} == {"l0", "l2", "l4", "l6"} and len(even) == 8


def test_every_password_has_its_own_policy(tmp_path):
    policies = {"right": REFERENCE, "second": WEAK, "wrong": WEAK}
    rows = rows_of(tmp_path, policies=policies, kind="two_passwords")
    first = [row for row in rows if text(row.prompt_ids).startswith("zz")]
    second = [row for row in rows if text(row.prompt_ids).startswith("yy")]
    assert len(rows) == 24 and len(first) == len(second) == 8
    assert {text(row.completion_ids) for row in first} == {f"al{index}<eos>" for index in range(8)}
    assert {text(row.completion_ids) for row in second} == {"b<eos>"}


@pytest.mark.parametrize(
    ("domains", "message"),
    [(["odd", "nowhere"], "names 'nowhere'; split 'lock' has even, odd"), (["odd", "even"], "leaves no problem")],
)
def test_domains_that_cannot_be_left_out_are_one_line(tmp_path, capsys, domains, message):
    content = config(lock(without_domains=domains), callbacks=[])
    assert plm("fit", write(tmp_path / "bad.yaml", content)) == 1
    assert message in capsys.readouterr().err
