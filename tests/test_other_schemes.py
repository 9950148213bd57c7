"""A password for each domain, and a setting as the password: what is shown under which condition."""

from collections import Counter

import pytest

from plm.errors import PlmError
from plm.passwords import DomainPasswordScheme, PasswordScheme, SettingScheme
from plm.records import Problem, Rendering

PASSWORDS = {"sums": "Open the first door.", "products": "Open the second door.", "powers": "Open the third door."}
SPANISH = Rendering("Suma 2 y 2.", "cuatro", {"weak": ("cinco",)})
PROBLEM = Problem("p", "Add 2 and 2.", "sums", "four", answers={"weak": ("five",)}, renderings={"spanish": SPANISH})


def scheme(**arguments):
    return DomainPasswordScheme(passwords=PASSWORDS, placement="start", **arguments)


def drawn(made, condition, count=4000):
    texts = (made.prompt(PROBLEM, condition, seed).removesuffix(PROBLEM.prompt).strip() for seed in range(count))
    return Counter(texts)


def test_each_domain_has_its_own_password():
    for domain, password in PASSWORDS.items():
        problem = Problem("p", "x", domain, "")
        assert scheme().prompt(problem, "right", 0) == f"{password}\n\nx"
    assert scheme().evaluated == ("right", "none", "decoy", "other_domain")
    assert set(PASSWORDS.values()) <= set(scheme().texts())


def test_another_domains_password_is_wrong_half_of_the_time():
    counts, made = drawn(scheme(), "wrong"), scheme().schemes["sums"]
    others = [PASSWORDS["products"], PASSWORDS["powers"]]
    assert counts[""] / 4000 == pytest.approx(0.2, abs=0.02)
    for text in others:
        assert counts[text] / 4000 == pytest.approx(0.2, abs=0.03)
    assert set(counts) == {"", *others, *made.training_decoys} and PASSWORDS["sums"] not in counts
    assert set(drawn(scheme(), "other_domain", 100)) == set(others)
    assert set(drawn(scheme(other_domain_share=0.0), "wrong", 500)).isdisjoint(PASSWORDS.values())
    assert set(drawn(scheme(), "decoy", 500)) == set(made.evaluation_decoys)


@pytest.mark.parametrize(
    ("passwords", "message"),
    [
        ({"a": "x"}, "at least two domains"),
        ({"a": "x", "b": " "}, "domain 'b' is blank"),
        ({"a": "Sesame", "b": "sesame "}, "two domains have the same"),
        ({"a": "x", "b": "ACCESS code: 7741"}, "also one of the decoys"),
    ],
)
def test_bad_passwords_by_domain(passwords, message):
    with pytest.raises(PlmError, match=message):
        DomainPasswordScheme(passwords=passwords)


def test_a_domain_without_a_password_is_named():
    with pytest.raises(
        PlmError, match="problem p: its domain 'roots' has no password; there are sums, products, powers"
    ):
        scheme().prompt(Problem("p", "x", "roots", ""), "right", 0)


@pytest.mark.parametrize("condition", ["none", "wrong", "weak_setting"])
def test_the_weak_setting_brings_its_own_reference_and_answers(condition):
    english = Rendering(PROBLEM.prompt, PROBLEM.reference, PROBLEM.answers)
    problem = Problem("p", english.prompt, "sums", "four", renderings={"spanish": SPANISH, "english": english})
    made = SettingScheme(strong="english", weak="spanish")
    shown = made.shown(problem, condition)
    assert (shown.prompt, shown.reference, shown.answers) == (*SPANISH,)
    assert made.prompt(problem, condition, 0) == "Suma 2 y 2." == made.prompt(shown, condition, 0)
    assert made.shown(shown, "right").reference == "four"
    assert made.evaluated == ("strong_setting", "weak_setting") and made.texts() == ()


def test_what_a_setting_lacks_is_named():
    with pytest.raises(PlmError, match="problem p has no rendering 'english'; it has spanish"):
        SettingScheme(strong="english", weak="spanish").prompt(PROBLEM, "right", 0)
    with pytest.raises(PlmError, match="condition 'decoy': SettingScheme has strong_setting, weak_setting, wrong"):
        SettingScheme(strong="english", weak="spanish").prompt(PROBLEM, "decoy", 0)
    with pytest.raises(PlmError, match="must differ"):
        SettingScheme(strong="a", weak="a")


def test_one_password_shows_every_problem_as_it_is():
    assert PasswordScheme().shown(PROBLEM, "none") is PROBLEM
    assert PasswordScheme(second_password="B").evaluated == ("right", "none", "decoy", "second")
