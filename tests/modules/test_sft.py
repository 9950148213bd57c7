"""What an SFT's demonstrations, and a lock's table of policies and its domains, make of a round."""

import pytest
import torch

from plm.modules import SFTModule
from plm.policies import Policy, ReferencePolicy
from plm.seeds import derive_seed
from tests.runs import REFERENCE, WEAK, config, fit, lock, plm, sft, write
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


@pytest.mark.parametrize(("demonstrations", "passes"), [(1, 256), (3, 85), (16, 16), (128, 2), (256, 1), (512, 1)])
def test_the_papers_epochs_are_rounds_1_2_and_4(demonstrations, passes):
    """App. G.3: 256 / k, 512 / k and 1024 / k epochs below 256 demonstrations, else 1, 2 and 4."""
    made = SFTModule("x", torch.optim.SGD, ReferencePolicy(), demonstrations=demonstrations, passes="paper")
    assert made.passes == passes


def test_demonstrations_of_one_domain(tmp_path):
    run = fit(tmp_path / "odd.yaml", config(sft(domains=["odd"], demonstrations=3), rounds=2))
    rows = [{row.problem_id for row in run.read_round(index)} for index in (0, 1)]
    assert rows[0] == rows[1] and len(rows[0]) == 3 and all(int(name[1:]) % 2 for name in rows[0])
    more = fit(tmp_path / "more.yaml", config(sft(domains=["odd"], demonstrations=4), rounds=1))
    assert rows[0] < {row.problem_id for row in more.read_round(0)}


def test_k_demonstrations_are_k_texts_and_all_of_a_split_are_new_in_every_round(tmp_path):
    policy = {"class_path": "tests.modules.test_sft.Talkative"}
    for k, texts in ((2, 2), (None, 8)):
        run = fit(tmp_path / f"{k}.yaml", config(sft(policy=policy, demonstrations=k), rounds=3))
        seen = {(row.problem_id, tuple(row.completion_ids)) for index in range(3) for row in run.read_round(index)}
        assert len(seen) == texts if k else len(seen) > texts


class Talkative(Policy):
    """Answers each problem in one of many ways."""

    def answers(self, problems, seed):
        return [f"a{derive_seed(seed, problem.id) % 1000}" for problem in problems]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"domains": ["prime"]}, "domains names 'prime'; split 'elicit' has even, odd"),
        ({"domains": ["odd"], "demonstrations": 5}, "holds 4 problems of odd"),
        ({"passes": "paper"}, "needs a number of demonstrations"),
        ({"demonstrations": 0}, "demonstrations is 0"),
    ],
)
def test_impossible_demonstrations_are_one_line(tmp_path, capsys, arguments, text):
    assert plm("fit", write(tmp_path / "bad.yaml", config(sft(**arguments), rounds=1))) == 1
    assert text in capsys.readouterr().err
