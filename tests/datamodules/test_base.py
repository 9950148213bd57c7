"""plm.datamodules.base: what all tasks share."""

from plm.datamodules import CodeDataModule, CompositionDataModule, MMLUDataModule
from plm.datamodules import base as base_module
from plm.datamodules.code import ProceduralCode
from plm.datamodules.code_files import CodeFiles


def small_code(seed=0, **sizes):
    return CodeDataModule(ProceduralCode(**{"problems": 100, "corpus": 20, **sizes}), seed=seed)


def test_a_process_makes_the_same_problems_once_and_others_anew():
    first, same = small_code(), small_code()
    assert first.split("val") is same.split("val")
    fresh = small_code()
    assert fresh.load_splits()["val"] == first.split("val") and fresh.load_splits()["val"] is not first.split("val")
    assert small_code(problems=101).split("val") is not first.split("val")
    assert small_code(seed=1).split("val") != first.split("val")

    class Fewer(CodeDataModule):
        def load_splits(self):
            return {name: problems[:3] for name, problems in super().load_splits().items()}

    assert len(Fewer(first.source).split("val")) == 3


def test_settings_that_change_the_problems_are_not_confused():
    letters, options = MMLUDataModule(scoring="letters"), MMLUDataModule(scoring="options")
    assert letters.split("val")[0].reference != options.split("val")[0].reference
    keys = {
        CompositionDataModule(corpus=100, lock=10, elicit=10, val=10, **other).splits_key()
        for other in ({}, {"seed": 1}, {"locked": 8}, {"functions": 30, "locked": 15})
    }
    assert len(keys) == 4


def test_problems_from_files_are_not_kept():
    assert CodeDataModule(CodeFiles("problems.jsonl")).splits_key() is None


def test_only_a_few_tasks_are_kept():
    first = small_code(problems=50).split("val")
    for number in range(base_module.MOST_PREPARED):
        small_code(problems=60 + number).setup("fit")
    assert len(base_module._PREPARED) <= base_module.MOST_PREPARED
    again = small_code(problems=50).split("val")
    assert again == first and again is not first
