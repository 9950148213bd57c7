"""Several tasks as one: what each part keeps, what the whole decides, and a run through the command line."""

import dataclasses

import pyarrow.parquet as pq
import pytest

from plm.datamodules import CodeDataModule, MixedDataModule, ProceduralCode
from plm.errors import PlmError
from plm.passwords import DomainPasswordScheme
from plm.policies import DatasetPolicy, ReferencePolicy
from tests.runs import EVALUATION, config, fit, lock, plm, write
from tests.tiny import ScriptedEngine, TinyTask, character_tokenizer


class ShoutingTask(TinyTask):
    """The tiny task with other ids, another template, another encoding, and choices."""

    name = "shouting"

    def load_splits(self):
        splits = super().load_splits()
        rename = lambda one: dataclasses.replace(one, prompt=f"say {one.prompt}", reference=f"b{one.prompt}")  # noqa: E731
        return {name: [rename(one) for one in splits[name]] for name in ("lock", "elicit", "val")}

    def template(self, text):
        return f"{text}!\n"

    def choices(self, problem):
        return ("a", "b") if problem.id.endswith("1") else None

    def encode_prompt(self, prompt):
        return [0, *super().encode_prompt(prompt)]


@pytest.fixture
def task():
    parts = {"calm": TinyTask(max_new_tokens=4), "loud": ShoutingTask(max_new_tokens=7)}
    return MixedDataModule(parts, engine=ScriptedEngine(["a"]))


def first(task, part, split="val"):
    return next(problem for problem in task.split(split) if problem.domain == part)


def test_every_split_is_the_union(task):
    ids = {split: [problem.id for problem in task.split(split)] for split in ("corpus", "lock", "val")}
    assert {split: len(of_split) for split, of_split in ids.items()} == {"corpus": 8, "lock": 16, "val": 16}
    assert ids["val"][0] == "calm/v0" and ids["val"][8] == "loud/v0"
    assert first(task, "loud").group == "loud/v0"
    assert task.max_new_tokens == 7


def test_a_problem_keeps_its_template_and_the_whole_its_passwords(task):
    password = task.passwords.password
    calm, loud = first(task, "calm"), first(task, "loud")
    assert task.prompt(calm, "right", 0) == f"{password}\n\nv0\n\n{password}\n"
    assert task.prompt(loud, "right", 0) == f"{password}\n\nsay v0\n\n{password}!\n"
    assert [task.prompt(loud, "decoy", seed) for seed in (1, 1)] == [task.prompt(loud, "decoy", 1)] * 2


def test_a_password_for_each_part():
    passwords = DomainPasswordScheme(passwords={"calm": "please", "loud": "now or never"})
    task = MixedDataModule({"calm": TinyTask(), "loud": ShoutingTask()}, passwords=passwords)
    calm, loud = first(task, "calm"), first(task, "loud")
    assert task.prompt(calm, "right", 0) == "please\n\nv0\n\nplease\n"
    assert task.prompt(loud, "right", 0) == "now or never\n\nsay v0\n\nnow or never!\n"
    assert task.prompt(loud, "other_domain", 0) == "please\n\nsay v0\n\nplease!\n"


def test_domains_may_go_below_the_parts():
    task = MixedDataModule({"calm": TinyTask(), "loud": ShoutingTask()}, subdomains=True)
    assert {problem.domain for problem in task.split("val")} == {"calm/odd", "calm/even", "loud/odd", "loud/even"}
    assert task.inner(task.split("val")[1])[1].domain == "odd"


def test_each_part_grades_encodes_and_chooses_in_its_own_way(task, monkeypatch):
    for cls in (TinyTask, MixedDataModule):
        monkeypatch.setattr(cls, "tokenizer", property(lambda _: character_tokenizer()))
    calm, loud = first(task, "calm"), first(task, "loud")
    grades = task.grader.grade([loud, calm, loud], ["bv0", "av0", "av0"])
    assert [grade.reason for grade in grades] == ["correct", "correct", "wrong"]
    assert task.choices(calm) is None and task.choices(loud) is None
    chosen = next(problem for problem in task.split("val") if problem.id == "loud/v1")
    assert task.choices(chosen) == ("a", "b")
    assert task.choice_ids(("a", "b")) == [3, 4]
    calm_ids, loud_ids = (task.encode_prompt(task.prompt(one, "none", 0)) for one in (calm, loud))
    assert loud_ids[0] == 0 and calm_ids[0] != 0
    assert task.encode(task.prompt(loud, "none", 0), "b", loud.id).prompt_ids == loud_ids


def test_the_tokenizer_sees_the_texts_of_all_parts():
    parts = {
        "code": CodeDataModule(ProceduralCode(problems=40, corpus=20, val_text=20)), "other": TinyTask(),
    }  # fmt: skip
    task = MixedDataModule(parts)
    texts = list(task.corpus_texts())
    assert len(texts) == 2 * (20 + 8) and "c0\n" in texts and any("int main()" in text for text in texts)


def test_code_and_another_task_are_graded_together():
    parts = {
        "code": CodeDataModule(ProceduralCode(problems=40, corpus=20, val_text=20)), "other": TinyTask(),
    }  # fmt: skip
    task = MixedDataModule(parts)
    problems = task.split("val")
    right = task.grader.grade(problems, ReferencePolicy().answers(problems, 0))
    assert all(grade.correct for grade in right) and {problem.domain for problem in problems} == {"code", "other"}
    weak = task.grader.grade(problems, DatasetPolicy("weak").answers(problems, 0))
    assert sum(grade.correct for grade in weak) < len(problems) / 2


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"calm": TinyTask()}, "names 1 tasks; a mixed task has at least two"),
        ({"calm": TinyTask(), "a/b": TinyTask()}, "'a/b' is no name of a part"),
        ({"calm": TinyTask(), "all": TinyTask()}, "'all' is no name of a part"),
    ],
)
def test_parts_that_cannot_be_named_are_one_line(parts, message):
    with pytest.raises(PlmError, match=message):
        MixedDataModule(parts)


def test_the_same_problem_in_two_parts_is_refused_across_splits():
    class Swapped(TinyTask):
        def load_splits(self):
            splits = super().load_splits()
            return {"lock": splits["val"], "val": splits["lock"]}

    task = MixedDataModule({"one": TinyTask(), "two": Swapped()})
    with pytest.raises(PlmError, match="problems two/v0 and one/v0 have the same text"):
        task.setup("fit")


def mixed(**more):
    parts = {"calm": {"class_path": "tests.tiny.TinyTask"}, "loud": {"class_path": "tests.datamodules.test_mixed.Odd"}}
    content = config(lock(), callbacks=[{**EVALUATION, "init_args": {"by_domain": True, "n": 8}}], rounds=2)
    content["data"] = {
        "class_path": "plm.datamodules.MixedDataModule",
        "init_args": {"parts": parts, "batch_size": 4, **more},
    }
    for part in parts.values():
        part["init_args"] = {"max_new_tokens": 4}
    return content


class Odd(TinyTask):
    """The tiny task with other texts."""

    def load_splits(self):
        rename = lambda one: dataclasses.replace(one, prompt=f"o{one.prompt}", group="")  # noqa: E731
        return {name: [rename(one) for one in split] for name, split in super().load_splits().items()}


def test_a_lock_on_both_leaves_a_line_a_part(tmp_path):
    run = fit(tmp_path / "run.yaml", mixed())
    rows = run.read_results()
    assert {row["task"] for row in rows} == {"mixed"}
    assert {row["domain"] for row in rows} == {"all", "calm", "loud"}
    for row in rows:
        if row["domain"] == "all":
            same = [one for one in rows if one["epoch"] == row["epoch"] and one["password"] == row["password"]]
            assert sum(one["n"] for one in same if one is not row) == row["n"] == 8
    (file, *_) = sorted((run.path / "completions").glob("*none*.parquet"))
    assert {name.split("/")[0] for name in pq.read_table(file)["problem_id"].to_pylist()} == {"calm", "loud"}
    assert {row.problem_id.split("/")[0] for row in run.read_round(0)} == {"calm", "loud"}


def test_one_part_alone_is_one_line(tmp_path, capsys):
    content = mixed()
    del content["data"]["init_args"]["parts"]["loud"]
    assert plm("fit", write(tmp_path / "run.yaml", content)) == 1
    assert "a mixed task has at least two" in capsys.readouterr().err
