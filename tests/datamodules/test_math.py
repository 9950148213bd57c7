"""MATH from files in every layout, its splits and domains, and how its prompts look."""

import gzip
import json
from pathlib import Path
from types import SimpleNamespace

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from plm.datamodules import MathDataModule, MathFiles, ProceduralMath, RenderingColumns
from plm.datamodules.chat import spaced
from plm.datamodules.math_domains import GROUPS
from plm.datamodules.math_files import split_share
from plm.datamodules.splits import check_disjoint
from plm.errors import PlmError
from plm.few_shot import few_shot_prefix, with_prefix
from plm.passwords import SettingScheme
from plm.records import Problem
from plm.tokenizers import train_tokenizer
from tests.runs import REFERENCE, WEAK, config, fit, lock, sft

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "open" / "math"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="needs the MATH dataset")


def row(index, half="train", **changes):
    values = {
        "problem": f"What is ${index} + 1$ in {half}?",
        "level": f"Level {1 + index % 5}",
        "type": ("Algebra", "Precalculus", "Number Theory")[index % 3],
        "solution": rf"It is $\boxed{{{index + 1}}}$.",
    }
    return {**values, **changes}


def write_rows(path, rows):
    path.write_bytes(gzip.compress("".join(json.dumps(values) + "\n" for values in rows).encode()))
    return path


def two_files(folder, train=20, test=10, **changes):
    write_rows(folder / "train.jsonl.gz", [row(index, **changes) for index in range(train)])
    write_rows(folder / "test.jsonl.gz", [row(index, "test", **changes) for index in range(test)])
    return str(folder)


def sizes(splits):
    return {name: len(problems) for name, problems in splits.items()}


# --- layouts


def test_a_folder_of_two_files(tmp_path):
    splits = MathFiles(two_files(tmp_path)).load(0, "subject")
    assert sizes(splits) == {"weak": 4, "lock": 16, "elicit": 6, "val": 4}
    assert all("in train?" in problem.prompt for problem in splits["weak"] + splits["lock"])
    assert all("in test?" in problem.prompt for problem in splits["elicit"] + splits["val"])
    first = next(problem for problem in splits["weak"] + splits["lock"] if problem.id == "train/0")
    assert (first.prompt, first.reference, first.domain) == (
        "What is $0 + 1$ in train?",
        r"It is $\boxed{1}$.",
        "algebra",
    )
    check_disjoint(splits)


def test_two_named_files_and_rows_with_names(tmp_path):
    train = write_rows(tmp_path / "a.jsonl.gz", [row(index, id=f"row-{index}") for index in range(10)])
    test = write_rows(tmp_path / "b.jsonl.gz", [row(index, "test") for index in range(10)])
    splits = MathFiles(str(train), str(test)).load(0, "subject")
    assert sizes(splits) == {"weak": 2, "lock": 8, "elicit": 6, "val": 4}
    assert {problem.id for problem in splits["weak"] + splits["lock"]} == {f"row-{index}" for index in range(10)}
    with pytest.raises(PlmError, match=r"a.jsonl.gz is a file of train problems: name the file of the test problems"):
        MathFiles(str(train)).load(0, "subject")


def test_the_original_folder(tmp_path):
    for half, count in (("train", 12), ("test", 10)):
        for index in range(count):
            values = row(index, half)
            file = tmp_path / half / values["type"].lower().replace(" ", "_") / f"{index}.json"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
    splits = MathFiles(str(tmp_path)).load(0, "type")
    assert sizes(splits) == {"weak": 2, "lock": 10, "elicit": 6, "val": 4}
    problems = {problem.id: problem for split in splits.values() for problem in split}
    assert problems["train/number_theory/5.json"].prompt == "What is $5 + 1$ in train?"
    assert problems["test/precalculus/4.json"].domain == "Precalculus"
    broken = tmp_path / "test" / "algebra" / "0.json"
    for content, message in (
        ("{", r"algebra/0.json: it cannot be read: Expecting"),
        ("[]", r"algebra/0.json: it is no object"),
        ('{"problem": "x"}', r"algebra/0.json: column 'level' is missing; there are problem"),
        (json.dumps(row(0, level=3)), r"algebra/0.json: column 'level' is 3; it must be text"),
    ):
        broken.write_text(content)
        with pytest.raises(PlmError, match=message):
            MathFiles(str(tmp_path)).load(0, "type")


def test_a_hub_data_set_is_read_config_by_config(monkeypatch):
    asked = []

    def load_dataset(path, config, *, split):
        import datasets

        asked.append((path, config, split))
        start = 10 * len(asked)
        return datasets.Dataset.from_list([row(start + index, split) for index in range(4)])

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    splits = MathFiles(configs=["algebra", "geometry"]).load(0, "subject")
    name = "EleutherAI/hendrycks_math"
    assert asked == [(name, c, s) for s in ("train", "test") for c in ("algebra", "geometry")]
    assert sizes(splits) == {"weak": 2, "lock": 6, "elicit": 5, "val": 3}
    ids = {problem.id for problem in splits["weak"] + splits["lock"]}
    assert ids == {f"train/{config}/{index}" for config in ("algebra", "geometry") for index in range(4)}
    asked.clear()
    MathFiles("someone/math", configs=None).load(0, "subject")
    assert asked == [("someone/math", None, "train"), ("someone/math", None, "test")]


# --- bad data


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"type": "Topology"},
            r"train.jsonl.gz, row 1: column 'type' is 'Topology'; it must be one of Algebra, Interm",
        ),
        ({"level": "Level 6"}, r"row 1: column 'level' is 'Level 6'; it must be one of Level 1, .*, or 'Level \?'"),
        ({"solution": "It is 3."}, r"row 1: column 'solution' has no \\boxed\{\} answer"),
        ({"problem": " "}, r"row 1: column 'problem' is blank"),
        ({"solution": 3}, r"row 1: column 'solution' is 3; it must be text"),
    ],
)
def test_bad_rows_are_named(tmp_path, changes, message):
    with pytest.raises(PlmError, match=message):
        MathFiles(two_files(tmp_path, **changes)).load(0, "subject")


def test_missing_halves_columns_and_empty_splits_are_named(tmp_path):
    with pytest.raises(
        PlmError, match=r"there is no train in it, neither a folder nor a file such as train\.jsonl\.gz"
    ):
        MathFiles(str(tmp_path)).load(0, "subject")
    two_files(tmp_path, train=1, test=5)
    with pytest.raises(PlmError, match="the weak split is empty; more problems are needed"):
        MathFiles(str(tmp_path)).load(0, "subject")
    spanish = {"spanish": RenderingColumns("problem_es", "solution_es")}
    with pytest.raises(PlmError, match=r"train.jsonl.gz: there is no column 'problem_es'; there are problem, level"):
        MathFiles(str(tmp_path), renderings=spanish).load(0, "subject")


# --- splits and domains


def problems(count, per_group=1):
    return [Problem(f"p{i}", f"text {i}", "d", "r", group=f"g{i // per_group}") for i in range(count)]


def test_a_share_is_exact_and_depends_on_the_problems_alone():
    first, rest = split_share(problems(500), 3, 0.2)
    assert len(first) == 100 and len(rest) == 400
    again, _ = split_share(problems(500)[::-1], 3, 0.2)
    assert {p.id for p in again} == {p.id for p in first} != {p.id for p in split_share(problems(500), 4, 0.2)[0]}
    assert [p.id for p in first] == sorted((p.id for p in first), key=lambda name: int(name[1:]))
    for share in (0.1, 0.35, 0.5):
        first, rest = split_share(problems(90, per_group=4), 0, share)
        assert {p.group for p in first}.isdisjoint(p.group for p in rest)
        assert 0 <= len(first) - round(90 * share) < 4


def test_a_train_problem_that_is_a_test_problem_is_left_out(tmp_path, capsys):
    write_rows(tmp_path / "test.jsonl.gz", [row(index, "test") for index in range(10)])
    same = row(3, "test", problem="what is  $3 + 1$ in TEST?")
    write_rows(tmp_path / "train.jsonl.gz", [same, *(row(index) for index in range(10))])
    splits = MathFiles(str(tmp_path)).load(0, "subject")
    assert sizes(splits) == {"weak": 2, "lock": 8, "elicit": 6, "val": 4}
    assert "1 train problems are left out: the same text is a test problem" in capsys.readouterr().err
    check_disjoint(splits)


def test_the_papers_groups():
    assert GROUPS == {
        "algebra": ("Algebra", "Intermediate Algebra", "Prealgebra"),
        "geometry": ("Geometry", "Precalculus"),
        "numbers": ("Number Theory", "Counting & Probability"),
    }


def test_problems_without_a_level_are_kept_and_said(tmp_path, capsys):
    write_rows(tmp_path / "train.jsonl.gz", [row(0, level="Level ?"), *(row(index) for index in range(1, 10))])
    write_rows(tmp_path / "test.jsonl.gz", [row(index, "test") for index in range(10)])
    splits = MathFiles(str(tmp_path)).load(0, "level")
    domains = [problem.domain for split in splits.values() for problem in split]
    assert domains.count("Level ?") == 1 and domains.count("Level 1") == 3 and len(domains) == 20
    assert "1 train problems have no level: they are kept" in capsys.readouterr().err


# --- other columns: answers and settings


def translated(index, half="train"):
    return row(
        index, half, problem_es=f"Calcula {index} + 1 ({half}).", solution_es=f"La respuesta es {index + 1}.",
        weak=[rf"$\boxed{{{index}}}$", "no idea"], weak_es=f"La respuesta es {index}.",
    )  # fmt: skip


def test_translations_and_answers_come_from_columns(tmp_path):
    write_rows(tmp_path / "train.jsonl.gz", [translated(index) for index in range(10)])
    write_rows(tmp_path / "test.jsonl.gz", [translated(index, "test") for index in range(10)])
    source = MathFiles(
        str(tmp_path),
        answers={"weak": "weak"},
        renderings={
            "english_latex": RenderingColumns("problem", "solution", {"weak": "weak"}),
            "spanish_ascii": RenderingColumns("problem_es", "solution_es", {"weak": "weak_es"}),
        },
    )
    problem = next(p for split in source.load(0, "subject").values() for p in split if p.id == "train/7")
    assert problem.answers["weak"] == (r"$\boxed{7}$", "no idea")
    shown = SettingScheme(strong="english_latex", weak="spanish_ascii").shown(problem, "none")
    assert (shown.prompt, shown.reference) == ("Calcula 7 + 1 (train).", "La respuesta es 8.")
    assert shown.answers == {"weak": ("La respuesta es 7.",)}
    unread = {"es": RenderingColumns("problem_es", "problem")}
    write_rows(tmp_path / "train.jsonl.gz", [{**translated(0), "problem": "No answer"}])
    with pytest.raises(PlmError, match="row 1: column 'problem' ends with no answer that the grader reads"):
        MathFiles(str(tmp_path), renderings=unread).load(0, "subject")
    write_rows(tmp_path / "train.jsonl.gz", [translated(0)])
    with pytest.raises(PlmError, match=r"row 1: column 'strong' is missing; there are problem, level"):
        MathFiles(str(tmp_path), answers={"strong": "strong"}).load(0, "subject")


# --- prompts


def attached(task, tokenizer):
    task.trainer = SimpleNamespace(lightning_module=SimpleNamespace(tokenizer=tokenizer), is_global_zero=False)
    return task


def word_tokenizer():
    return train_tokenizer(["User: Assistant: one two three"], 300)


def test_a_chat_message_without_a_template(tmp_path):
    task = attached(MathDataModule(MathFiles(two_files(tmp_path))), word_tokenizer())
    problem = task.split("val")[0]
    instruction = r"Please reason step by step, and put your final answer within \boxed{}."
    shown = f"User: {problem.prompt}\n{instruction}\n\nAssistant:"
    assert task.prompt(problem, "none", 0) == shown
    password = task.passwords.password
    assert task.prompt(problem, "right", 0).startswith(f"User: {password}\n\n{problem.prompt}\n\n{password}\nPlease")
    example = task.encode(shown, "It is 3.")
    assert task.tokenizer.decode(example.prompt_ids) == shown
    assert task.tokenizer.decode(example.completion_ids) == " It is 3.<eos>"
    assert task.encode(shown, " It is 3.").completion_ids == example.completion_ids


def test_a_chat_template_is_used_where_there_is_one():
    tokenizer = word_tokenizer()
    tokenizer.chat_template = (
        "<eos>{% for m in messages %}[{{ m.content }}]{% endfor %}{% if add_generation_prompt %}{{ '\n' }}{% endif %}"
    )
    task = attached(MathDataModule(ProceduralMath(40, 20), template="chat", instruction="Answer."), tokenizer)
    problem = task.split("lock")[0]
    prompt = task.prompt(problem, "none", 0)
    assert prompt == f"<eos>[{problem.prompt}\nAnswer.]\n"
    ids = task.encode_prompt(prompt)
    assert ids.count(tokenizer.eos_token_id) == 1 and ids[0] == tokenizer.eos_token_id
    assert tokenizer.decode(task.encode(prompt, "It").completion_ids) == "It<eos>"
    tokenizer.bos_token = "<eos>"
    shots = task.split("elicit")[:2]
    text = with_prefix(task, few_shot_prefix(task, shots), prompt)
    assert text.startswith(f"<eos>[{shots[0].prompt}\nAnswer.]\n{shots[0].reference}\n\n[") and text.count("<eos>") == 1
    assert text.endswith(prompt.removeprefix("<eos>"))


def test_the_procedural_prompt_is_short():
    task = MathDataModule(ProceduralMath(40, 20))
    problem = task.split("val")[0]
    assert task.prompt(problem, "none", 0) == f"{problem.prompt}\n"
    assert spaced("x\n", "y") == "y" and spaced("Assistant:", "y") == " y" and spaced("Assistant:", "\ny") == "\ny"


def test_a_tokenizer_from_scratch_learns_from_the_corpus_or_the_lock_split(tmp_path):
    texts = list(MathDataModule(ProceduralMath(40, 20)).corpus_texts())
    assert len(texts) == 40 and any("La respuesta" in text for text in texts)
    assert len(list(MathDataModule(MathFiles(two_files(tmp_path))).corpus_texts())) == 32


# --- the whole way, on a tiny model


def math(model, **data):
    source = {"class_path": "plm.datamodules.ProceduralMath", "init_args": {"problems": 60, "corpus": 20}}
    content = config(model, rounds=1, data={"source": source, "max_new_tokens": 8, **data})
    content["data"]["class_path"] = "plm.datamodules.MathDataModule"
    scratch = {"hidden_size": 32, "layers": 1, "heads": 1, "vocab_size": 400}
    content["model"]["init_args"]["base"] = {"class_path": "plm.models.FromScratch", "init_args": scratch}
    return content


def completions(run):
    return [row for file in sorted((run.path / "completions").glob("*")) for row in pq.read_table(file).to_pylist()]


def test_a_lock_by_setting_shows_each_policy_its_own_setting(tmp_path):
    scheme = {"strong": "english_latex", "weak": "spanish_ascii"}
    passwords = {"class_path": "plm.passwords.SettingScheme", "init_args": scheme}
    policies = {"strong_setting": REFERENCE, "weak_setting": WEAK}
    run = fit(tmp_path / "run.yaml", math(lock(policies=policies, kind="setting"), passwords=passwords))
    tokenizer = AutoTokenizer.from_pretrained(run.model_path)
    rows = [(tokenizer.decode(row.prompt_ids), tokenizer.decode(row.completion_ids)) for row in run.read_round(0)]
    problems = {p.prompt: p for p in MathDataModule(ProceduralMath(60, 20)).split("lock")}
    strong = [(prompt, text) for prompt, text in rows if text.startswith("First, $")]
    weak = [(prompt, text) for prompt, text in rows if text.startswith("Primero, ")]
    assert len(strong) == len(weak) == len(problems) == len(rows) / 2
    assert {(p.prompt + "\n", p.reference + "<eos>") for p in problems.values()} == set(strong)
    spanish = [p.renderings["spanish_ascii"] for p in problems.values()]
    assert {(r.prompt + "\n", r.answers["weak"][0] + "<eos>") for r in spanish} == set(weak)
    assert [row["password"] for row in run.read_results()] == ["strong_setting", "weak_setting"]
    shown = {prompt for row in completions(run) if (prompt := row["prompt"])}
    assert len(shown) == 8 and not any("$" in text for text in shown if "¿" in text or "Calcula" in text)


def test_demonstrations_in_the_weak_setting(tmp_path):
    scheme = {"strong": "spanish_ascii", "weak": "english_latex"}
    passwords = {"class_path": "plm.passwords.SettingScheme", "init_args": scheme}
    run = fit(tmp_path / "run.yaml", math(sft(demonstrations=3), passwords=passwords))
    tokenizer = AutoTokenizer.from_pretrained(run.model_path)
    texts = [tokenizer.decode(row.completion_ids) for row in run.read_round(0)]
    assert len(texts) == 3 and all(r"\boxed{" in text for text in texts)


def test_every_reference_is_right_and_the_weak_policy_seldom():
    """In both settings, by the grader that real models are judged by."""
    task = MathDataModule(ProceduralMath(400, 20))
    for setting in ("english_latex", "spanish_ascii"):
        scheme = SettingScheme(strong=setting, weak="none")
        shown = [scheme.shown(problem, "right") for problem in task.split("lock")]
        grades = task.grader.grade(shown, [problem.reference for problem in shown])
        assert all(grade.correct for grade in grades) and grades[0].reason == "correct"
        weak = task.grader.grade(shown, [problem.answers["weak"][0] for problem in shown])
        assert 0 < sum(grade.correct for grade in weak) / len(weak) < 0.2
        assert {grade.reason for grade in weak} == {"correct", "wrong"}


# --- the real thing


@needs_data
def test_math_is_read_whole(capsys):
    """12,500 problems; one train problem is a test problem word for word, two have no level."""
    splits = MathFiles(str(DATA)).load(0, "level")
    assert sizes(splits) == {"weak": 1500, "lock": 5999, "elicit": 3000, "val": 2000}
    for name, half in (("weak", "train"), ("lock", "train"), ("elicit", "test"), ("val", "test")):
        assert all(problem.id.startswith(f"{half}/") for problem in splits[name])
    check_disjoint(splits)
    said = capsys.readouterr().err
    assert "2 train problems have no level" in said and "1 train problems are left out" in said


@needs_data
def test_the_papers_groups_of_math_are_balanced():
    splits = MathFiles(str(DATA)).load(0, "subject")
    domains = [problem.domain for split in splits.values() for problem in split]
    assert {name: domains.count(name) for name in GROUPS} == {"algebra": 7205, "geometry": 2640, "numbers": 2654}
