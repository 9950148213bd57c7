"""A run's identity covers the code that it needs, and no other."""

import sys

import pytest

from plm import code_digest
from plm.code_digest import PACKAGE, class_paths
from plm.code_digest import code_digest as digest

CODE = ("plm.modules.SFTModule", "plm.datamodules.CodeDataModule", "torch.optim.AdamW")


def needed(*classes):
    return {str(file.relative_to(PACKAGE)) for file in code_digest._needed(frozenset(classes))}


def test_what_a_class_needs_is_found_one_import_after_the_other():
    files = needed(*CODE)
    assert {
        "modules/sft.py",
        "modules/base.py",
        "losses.py",
        "datamodules/mini_code/cores.py",
        "data/decoys.txt",
    } <= files
    assert {"rounds.py", "inner_loop.py"} <= files  # the task imports them
    assert {"passwords/single.py", "policies/data.py", "optim/schedule.py"} <= needed(
        *CODE, "plm.passwords.PasswordScheme", "plm.policies.DatasetPolicy"
    )
    assert all((PACKAGE / name).exists() for name in code_digest.NUMERIC)


def test_other_methods_and_what_only_measures_do_not_count():
    files = needed(*CODE)
    assert not any(name.startswith(("graders/", "callbacks/", "engines/")) for name in files)
    assert not files & {"modules/dpo.py", "modules/grpo.py", "table.py", "runs.py", "lightning_cli.py"}
    assert "modules/grpo.py" in needed("plm.modules.GRPOModule")
    assert "callbacks/spike_guard.py" in needed("plm.callbacks.SpikeGuardCallback")


def test_installed_packages_have_no_files_of_their_own():
    assert needed("torch.optim.AdamW") == set()
    assert digest(["torch.optim.AdamW", "no.such.Class"]) == digest([])


def test_a_users_own_method_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    values = []
    for text in ("x = 1", "x = 1  # a comment", "x = 2"):
        (tmp_path / "own_method.py").write_text(f'"""Docs {text}."""\nclass Own: {text}\n')
        sys.modules.pop("own_method", None)
        code_digest._needed.cache_clear()
        code_digest._file_digest.cache_clear()
        values.append(digest(["own_method.Own"]))
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    ("config", "expected"),
    [({"a": [{"class_path": "x.Y", "init_args": {"b": {"class_path": "z"}}}]}, ["x.Y", "z"]), (None, [])],
)
def test_class_paths(config, expected):
    assert list(class_paths(config)) == expected
