"""Elicitation starts from the model that was locked, on its task, with its password; anything else is one line."""

import json

import pytest

from plm.errors import PlmError
from plm.lineage import check_claim, check_elicitation, lock_of, read_description
from plm.passwords import PasswordScheme
from tests.runs import config, lock, only_run, plm, sft, write
from tests.tiny import TinyTask

pytestmark = pytest.mark.usefixtures("warm_children")


class OtherTask(TinyTask):
    name = "other"


@pytest.fixture
def locked(tmp_path):
    path = write(tmp_path / "lock.yaml", config(lock(), callbacks=[], rounds=1))
    assert plm("fit", path) == 0
    return path


def elicit(tmp_path, base, name="elicit", **more):
    return write(
        tmp_path / f"{name}.yaml", {**config(sft(base=str(base), demonstrations=2), callbacks=[], rounds=1), **more}
    )


def error(capsys):
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("plm: error: ")]
    return line


def test_the_lock_stays_in_the_history_of_what_is_made_from_it(tmp_path, locked):
    first = elicit(tmp_path, locked)
    assert plm("fit", elicit(tmp_path, first, "again")) == 0
    lock_run, again = only_run(locked), only_run(tmp_path / "again.yaml")
    found = lock_of(read_description(again.model_path))
    expected = {
        "run": lock_run.id,
        "task": "tiny",
        "lock": "password",
        "password_sha256": PasswordScheme().password_hash,
    }
    assert found == expected == lock_of(read_description(lock_run.model_path))
    assert read_description(again.model_path)["lock"] is None
    check_claim(again.model_path, lock_run.id)


def test_another_task_than_the_locked_one_is_refused(tmp_path, locked, capsys):
    content = config(sft(base=str(locked)), callbacks=[], rounds=1)
    content["data"]["class_path"] = "tests.test_lineage.OtherTask"
    path = write(tmp_path / "elicit.yaml", content)
    assert plm("fit", path) == 1
    assert "locked on the task tiny" in (line := error(capsys)) and "the task other" in line
    assert not (tmp_path / "runs" / "elicit").exists() or not list((tmp_path / "runs" / "elicit").glob("[!.]*"))
    content["model"]["init_args"]["phase"] = "control"
    assert plm("fit", write(path, content)) == 0


def test_a_password_that_the_model_has_no_record_of_is_refused(tmp_path, locked, capsys):
    content = config(sft(base=str(locked)), callbacks=[], rounds=1)
    content["data"]["init_args"]["passwords"] = {
        "class_path": "plm.passwords.PasswordScheme",
        "init_args": {"password": "swordfish"},
    }
    assert plm("fit", write(tmp_path / "elicit.yaml", content)) == 1
    assert "has no record of the password" in error(capsys)


def test_a_parent_that_does_not_descend_from_the_claimed_lock_is_refused(tmp_path, locked, capsys):
    other = write(tmp_path / "other_lock.yaml", config(lock(passes=2), callbacks=[], rounds=1))
    base = write(tmp_path / "base.yaml", config(sft(phase="base"), callbacks=[], rounds=1))
    assert plm("fit", elicit(tmp_path, locked, locked=str(locked))) == 0
    run = only_run(tmp_path / "elicit.yaml").path.name
    assert plm("fit", elicit(tmp_path, locked, locked=str(other))) == 1
    assert "descend from the locked model other_lock/" in (line := error(capsys)) and "made by lock/" in line
    assert plm("fit", elicit(tmp_path, base, "blank", locked=str(locked))) == 1
    assert "has no record of any lock" in error(capsys)
    assert only_run(tmp_path / "elicit.yaml").path.name == run  # a claim moves no number


def test_a_model_without_a_record_is_taken_as_it_is(tmp_path):
    check_elicitation(tmp_path, "any", "hash")
    (tmp_path / "plm.json").write_text("{")
    with pytest.raises(PlmError, match="cannot be read"):
        read_description(tmp_path)
    (tmp_path / "plm.json").write_text(
        json.dumps({"lock": "none", "task": "tiny", "run": "r", "password_sha256": None})
    )
    check_elicitation(tmp_path, "tiny", "whatever")
