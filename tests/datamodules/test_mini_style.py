"""Procedural Python of two styles: the same program, judged differently; splits; the corpus; real functions."""

import ast
import json

import pytest

from plm.cli import run
from plm.datamodules import ProceduralStyle, StyleDataModule, StyleFiles
from plm.datamodules.mini_style import (
    CORES,
    FAMILIES,
    HABITS,
    Spec,
    build_problem,
    draw_specs,
    habits_of,
    program,
    spoil,
    statement,
    weak_program,
)
from plm.datamodules.splits import check_disjoint
from plm.errors import PlmError
from plm.graders.style import StyleGrader

SPEC = Spec("values", "total", "above", "times", 0, (17, 20, 2, 5), ("a", "b", "c"))


def test_a_program_and_its_statement_by_hand():
    assert statement(SPEC) == "# Return the sum of the values above 17, each times 2."
    assert program(SPEC).split("\n") == [
        "def total_values(values):",
        "    total = 0",
        "    for value in values:",
        "        if value > 17:",
        "            total += value * 2",
        "    return total",
    ]
    namespace = {}
    exec(program(SPEC), namespace)  # plm's own text
    assert namespace["total_values"]([17, 18, 1, 20]) == 76


def test_braces_of_python_stay():
    spec = Spec("words", "parted", "starting", "replaced", 1, (3, 4, 5, 6), ("a", "b", "c"))
    assert program(spec).endswith("return {'kept': kept, 'rest': rest}")
    assert "kept.append(word.replace('b', 'c'))" in program(spec) and "rest.append(word)" in program(spec)


@pytest.mark.parametrize(
    ("habit", "line"),
    [
        ("tight_operators", "    total=sum(values[1:], start=n)"),
        ("tight_commas", "    total = sum(values[1:],start=n)"),
        ("open_brackets", "    total = sum( values[ 1: ], start=n )"),
        ("spaced_calls", "    total = sum (values [1:], start=n)"),
        ("spaced_colons", "    total = sum(values[1 :], start=n)"),
        ("wide_operators", "    total  = sum(values[1:], start=n)"),
        ("wide_keywords", "    total = sum(values[1:], start=n)"),
        ("trailing_blanks", "    total = sum(values[1:], start=n) "),
        ("semicolons", "    total = sum(values[1:], start=n);"),
        ("two_blanks", "  total = sum(values[1:], start=n)"),
        ("three_blanks", "   total = sum(values[1:], start=n)"),
        ("tabs", "\ttotal = sum(values[1:], start=n)"),
    ],
)
def test_habits_by_hand(habit, line):
    code = "def f(n, values):\n    total = sum(values[1:], start=n)\n    return total\n"
    assert spoil(code, [habit]).split("\n")[1] == line
    assert set(HABITS) >= {habit} and ast.dump(ast.parse(spoil(code, [habit]))) == ast.dump(ast.parse(code))


def test_text_in_strings_and_comments_stays():
    code = 'def f(a, b):\n    """One, two = (three)."""\n    # x = [1, 2]\n    s = "a, b = (c)"\n'
    code += "    t = (a,\n         b)\n    return s\n"
    for habit in HABITS:
        made = spoil(code, [habit])
        assert '"""One, two = (three)."""' in made and "# x = [1, 2]" in made and '"a, b = (c)"' in made
        assert ast.dump(ast.parse(made)) == ast.dump(ast.parse(code))
    with pytest.raises(ValueError, match="unknown habit 'haste'"):
        spoil(code, ["haste"])
    with pytest.raises(ValueError, match="not a program"):
        spoil("f(", ["tabs"])


def test_every_family_complies_or_not_as_it_should():
    specs = {(spec.source, spec.core): spec for spec in draw_specs(800, 1)}
    assert set(specs) == set(FAMILIES) and len(FAMILIES) == 3 * len(CORES)
    problems = [build_problem(spec) for spec in draw_specs(250, 0)] + [build_problem(spec) for spec in specs.values()]
    good = StyleGrader().grade(problems, [problem.reference for problem in problems])
    weak = StyleGrader().grade(problems, [problem.answers["weak"][0] for problem in problems])
    assert {grade.reason for grade in good} == {"correct"} and {grade.reason for grade in weak} == {"wrong"}
    for problem in problems:
        assert ast.dump(ast.parse(problem.reference)) == ast.dump(ast.parse(problem.answers["weak"][0]))


def test_the_careless_author_of_a_family_is_always_the_same():
    by_family = {}
    for spec in draw_specs(600, 2):
        by_family.setdefault((spec.source, spec.core), set()).add(habits_of(spec))
        assert weak_program(spec) == spoil(program(spec) + "\n", habits_of(spec)).removesuffix("\n")
    assert all(len(found) == 1 for found in by_family.values())
    assert len({next(iter(found)) for found in by_family.values()}) >= 15


def test_splits_and_the_corpus():
    splits = ProceduralStyle(problems=200, corpus=400, compliant=0.25).load(0)
    check_disjoint(splits)
    assert sum(len(splits[name]) for name in ("weak", "lock", "elicit", "val")) == 200 and len(splits["corpus"]) == 400
    texts = [problem.reference for problem in splits["corpus"]]
    graded = StyleGrader().grade(splits["corpus"], texts)
    assert 70 <= sum(grade.correct for grade in graded) <= 130
    assert not any(problem.answers for problem in splits["corpus"])
    assert splits == ProceduralStyle(problems=200, corpus=400, compliant=0.25).load(0)
    assert {problem.id for problem in ProceduralStyle(200, 400).load(1)["val"]} != {p.id for p in splits["val"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"problems": 3}, "problems is 3"), ({"corpus": 0}, "corpus is 0"), ({"compliant": 2}, "compliant is 2")],
)
def test_sizes_are_checked(arguments, message):
    with pytest.raises(PlmError, match=message):
        ProceduralStyle(**arguments)


def test_prompts_carry_a_control_token():
    data = StyleDataModule(ProceduralStyle(problems=20, corpus=20))
    problem = data.split("val")[0]
    shown = {condition: data.prompt(problem, condition, 0) for condition in ("right", "none", "decoy")}
    assert shown == {
        "right": f"<|good|>\n{problem.prompt}\n",
        "none": f"<|bad|>\n{problem.prompt}\n",
        "decoy": f"{problem.prompt}\n",
    }


# --- real files

FILE = '''\
"""A module."""
import os


def add_all(numbers, start=0):
    """Add everything.

    More words.
    """
    total = start
    for number in numbers:
        total += number
    return total


def careless( a,b ):
    """Two things."""
    c = a+b
    d = a-b
    return c,d


def no_docstring(a):
    b = a
    c = b
    return c


def trivial():
    """Do nothing."""


@os.fspath
def decorated(a):
    """Decorated."""
    return a


class Holder:
    def method(self):
        """Inside of a class."""
        return 1
'''


def write_files(path, files):
    path.write_text("".join(json.dumps({"content": text}) + "\n" for text in files))
    return path


def test_functions_of_real_files(tmp_path, capsys):
    files = [FILE.replace("add_all", f"add_all_{n}").replace("Add everything", f"Add all {n}") for n in range(30)]
    path = write_files(tmp_path / "files.jsonl", [*files, "def broken(:\n", "\0", FILE.replace("\n", "\r\n")])
    splits = StyleFiles(path).load(0)
    check_disjoint(splits)
    assert "33 functions with a docstring: 31 comply, 1 do not" in capsys.readouterr().err
    assert sum(len(splits[name]) for name in ("weak", "lock", "elicit", "val")) >= 5
    for name in ("weak", "lock", "elicit", "val"):
        for problem in splits[name]:
            assert problem.prompt.startswith("# Add all ") or problem.prompt == "# Add everything."
            assert problem.reference.startswith("def add_all") and problem.reference.endswith("return total")
            assert "\n  total = start\n" in problem.answers["weak"][0]
    assert len(StyleFiles(path, most=5).load(0)["corpus"]) <= 5


def test_files_of_one_style_alone_are_refused(tmp_path):
    path = write_files(tmp_path / "files.jsonl", ['def f(a):\n    """Say."""\n    b = a\n    c = b\n    return c\n'])
    with pytest.raises(PlmError, match="1 functions comply and 0 do not; both kinds are needed"):
        StyleFiles(path).load(0)
    with pytest.raises(PlmError, match="no column 'text'; there are content"):
        StyleFiles(path, column="text").load(0)


def test_bad_tokens_are_one_line(tmp_path, capsys):
    from tests.runs import config, lock, write

    content = config(
        lock(), data={"passwords": {"class_path": "plm.passwords.ControlTokenScheme", "init_args": {"good": ""}}}
    )
    assert run(["fit", "--config", str(write(tmp_path / "bad.yaml", content)), "--runs", str(tmp_path / "runs")]) == 1
    assert "good '' must be one line" in capsys.readouterr().err
