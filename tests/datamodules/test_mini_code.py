from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections import Counter
from statistics import mean

import pytest

from plm.datamodules.mini_code import (
    FAMILIES,
    Spec,
    Step,
    build_problems,
    draw_specs,
    group_of,
    intermediate_spec,
    program,
    render,
    solve,
    weak_spec,
    weaken,
)
from plm.datamodules.mini_code.cases import mutants
from plm.datamodules.mini_code.draws import draw_spec, seeded
from plm.datamodules.mini_code.weak import SAMPLES

SUM_ABOVE = Spec("list_sum", Step("greater", 17), (), (Step("times", 3),))


def passes(spec, problem):
    return all(solve(spec, test.input) == test.output for test in problem.tests)


# --- one program, worked by hand


def test_a_program_a_statement_and_its_answers():
    assert program(SUM_ABOVE) == (
        "#include <bits/stdc++.h>\nusing namespace std;\nlong long n, i, x, s;\nint main() {\n"
        "  cin >> n;\n  while (i++ < n) {\n    cin >> x;\n    if (x <= 17) continue;\n    s += x;\n  }\n"
        "  s *= 3;\n  cout << s << endl;\n}\n"
    )
    assert solve(SUM_ABOVE, "4\n17 18 -5 20\n") == "114\n"
    assert solve(SUM_ABOVE, "0\n\n") == "0\n"
    assert "17" in render(SUM_ABOVE).prompt
    assert "3" in render(SUM_ABOVE).prompt


@pytest.mark.parametrize(
    ("family", "given", "expected"),
    [
        ("list_maximum", "3\n-4 -9 -2\n", "-2\n"),
        ("list_maximum", "0\n\n", "0\n"),
        ("list_stretch", "5\n-1 4 -2 5 -9\n", "7\n"),
        ("list_prefix", "3\n-1 4 -2\n", "3\n"),
        ("list_alternating", "3\n5 3 4\n", "6\n"),
        ("list_gap", "3\n1 9 4\n", "8\n"),
        ("list_ascending", "3\n2 -1 2\n", "-1\n2\n2\n"),
        ("list_ascending", "0\n\n", ""),
        ("digits_sum", "907\n", "16\n"),
        ("divisors_list", "6\n", "1\n2\n3\n6\n"),
        ("factors_list", "12\n", "2\n2\n3\n"),
        ("primes_sum", "10\n", "17\n"),
        ("collatz_count", "6\n", "8\n"),
        ("fibonacci_sum", "8\n", "20\n"),
        ("lcm_value", "4 6\n", "12\n"),
        ("word_unique", "banana\n", "ban\n"),
        ("word_dashes", "ab\n", "a-b-\n"),
        ("words_maximum", "a word here\n", "4\n"),
    ],
)
def test_plain_answers(family, given, expected):
    assert solve(Spec(family), given) == expected


# --- the whole task


def test_families_cover_three_domains():
    domains = Counter(family.source.domain for family in FAMILIES.values())
    assert set(domains) == {"arrays", "numbers", "strings"}
    assert len(FAMILIES) >= 40
    assert min(domains.values()) >= 12


def test_problems_are_the_same_in_every_process():
    # whoever changes the task on purpose puts the new digest here, and says in the changelog that numbers move
    text = json.dumps([[p.id, p.prompt, p.domain, p.reference, p.tests, p.group] for p in build_problems(300, 5)])
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "9e42157c949bc8c1"


def test_more_problems_start_like_fewer():
    assert build_problems(60, 3)[:20] == build_problems(20, 3)
    assert build_problems(20, 3) != build_problems(20, 4)


def test_programs_ids_and_texts_are_distinct():
    problems = build_problems(20000, 1, tests=False)
    assert len({problem.reference for problem in problems}) == 20000
    assert len({problem.group for problem in problems}) == 20000
    assert len({problem.id for problem in problems}) == 20000
    assert len({problem.prompt for problem in problems}) == 20000
    assert 60 < sum(len(problem.prompt) for problem in problems) / 20000 < 130
    assert 130 < sum(len(problem.reference) for problem in problems) / 20000 < 250


def test_one_family_alone_has_a_million_programs():
    rng = seeded("many")
    specs = [draw_spec(rng, FAMILIES["list_sum"]) for _ in range(4000)]
    two_steps = [spec for spec in specs if spec.keep and len(spec.finish) == 2]
    assert len(set(two_steps)) == len(two_steps)
    # conditions x (kinds of finish x constants) x (other kinds x constants), constants of two digits
    assert 5 * 90 * 4 * 98 * 3 * 98 > 10**6


def test_excluded_programs_never_occur():
    taken = {problem.group for problem in build_problems(300, 2, tests=False)}
    fresh = build_problems(300, 2, exclude_groups=taken, tests=False)
    assert len(fresh) == 300
    assert taken.isdisjoint(problem.group for problem in fresh)


@pytest.mark.parametrize("domain", ["arrays", "numbers", "strings"])
def test_a_domain_alone(domain):
    assert {problem.domain for problem in build_problems(40, 0, domain=domain, tests=False)} == {domain}


def test_phrasings_share_program_and_tests():
    problems = [render(SUM_ABOVE, phrasing) for phrasing in range(60)]
    assert {problem.group for problem in problems} == {group_of(SUM_ABOVE)}
    assert len({problem.tests for problem in problems}) == 1
    assert len({problem.prompt for problem in problems}) >= 20
    assert len({problem.prompt.split()[0] for problem in problems}) >= 5
    assert len({problem.id for problem in problems}) == len({problem.prompt for problem in problems})


def test_a_text_has_one_program():
    programs: dict[str, set[str]] = {}
    for spec in draw_specs(3000, 8):
        for phrasing in range(3):
            problem = render(spec, phrasing, tests=False)
            programs.setdefault(problem.prompt, set()).add(problem.group)
    assert {len(groups) for groups in programs.values()} == {1}


# --- weak policy and tests


def test_the_weak_policy_forgets_condition_and_finish():
    spec = Spec("list_sum", Step("odd", 0), (Step("plus", 5),), (Step("minus", 40),))
    assert weak_spec(spec) == Spec("list_sum", None, (Step("plus", 5),), ())
    assert weaken(spec) == program(weak_spec(spec))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_weak_policy_errs_in_every_family(name):
    rng = seeded("weak", name)
    specs = [draw_spec(rng, FAMILIES[name]) for _ in range(30)]
    assert sum(weaken(spec) != program(spec) for spec in specs) >= 20


def test_the_weak_policy_is_right_for_one_problem_in_ten():
    specs = draw_specs(1500, 21)
    right = [passes(weak_spec(spec), render(spec)) for spec in specs]
    assert 0.04 < sum(right) / 1500 <= 0.15
    by_luck = sum(good for good, spec in zip(right, specs, strict=True) if weak_spec(spec) != spec)
    assert by_luck / 1500 < 0.03


def test_the_careless_policy_is_the_weak_one_by_chance_and_right_for_one_answer_in_five():
    problems = [render(spec, tests=False) for spec in draw_specs(600, 22)]
    answers = [problem.answers["careless"] for problem in problems]
    assert {len(texts) for texts in answers} == {SAMPLES}
    right = [text == problem.reference for problem, texts in zip(problems, answers, strict=True) for text in texts]
    assert 0.17 < mean(right) < 0.25
    usual = [Counter(texts).most_common(1)[0][0] for texts in answers]
    agrees = [text == problem.answers["weak"][0] for text, problem in zip(usual, problems, strict=True)]
    assert mean(agrees) > 0.9


def test_the_intermediate_policy_forgets_the_finish_alone_and_is_right_half_of_the_time():
    spec = Spec("list_sum", Step("odd", 0), (Step("plus", 5),), (Step("minus", 40),))
    assert intermediate_spec(spec) == Spec("list_sum", Step("odd", 0), (Step("plus", 5),), ())
    specs = draw_specs(600, 23)
    assert render(specs[0]).answers["intermediate"] == (program(intermediate_spec(specs[0])),)
    assert 0.4 < sum(passes(intermediate_spec(spec), render(spec)) for spec in specs) / 600 < 0.55


def test_likely_mistakes_fail_a_test():
    caught = [
        not passes(mutant, problem)
        for spec in draw_specs(800, 22)
        for problem in [render(spec)]
        for mutant in set(mutants(spec)) - {spec}
    ]
    assert len(caught) > 2000
    assert sum(caught) / len(caught) > 0.95


def test_five_tests_with_an_edge_case():
    for problem in build_problems(200, 9):
        assert len(problem.tests) == 5
    edges = {problem.tests[0].input for problem in build_problems(60, 9, domain="arrays")}
    assert edges == {"0\n\n"}
    assert render(SUM_ABOVE, tests=False).tests == ()


# --- the real compiler

DRIVER = """
#include <bits/stdc++.h>
#include <unistd.h>
#include <sys/wait.h>
{programs}
int (*programs[])() = {{{names}}};
const char *inputs[] = {{{inputs}}};
int which[] = {{{which}}};
int main() {{
  for (int i = 0; i < {count}; i++) {{
    if (fork() == 0) {{
      std::istringstream in(inputs[i]);
      std::cin.rdbuf(in.rdbuf());
      programs[which[i]]();
      std::cout << "\\x01" << std::flush;
      _exit(0);
    }}
    wait(nullptr);
  }}
}}
"""


def run_all(programs, tests, folder):
    """Compiles all programs as one file, each in its namespace, and runs `tests`: pairs of program number and input."""
    bodies = [code.replace("#include <bits/stdc++.h>\n", "").replace("\n}\n", "\nreturn 0;}\n") for code in programs]
    source = DRIVER.format(
        programs="\n".join(
            f"namespace p{i} {{ {body.replace('int main()', 'int run()')} }}" for i, body in enumerate(bodies)
        ),
        names=", ".join(f"p{i}::run" for i in range(len(bodies))),
        inputs=", ".join(json.dumps(given) for _, given in tests),
        which=", ".join(str(number) for number, _ in tests),
        count=len(tests),
    )
    (folder / "all.cpp").write_text(source)
    subprocess.run(["g++", "-w", "all.cpp", "-o", "all"], cwd=folder, check=True)
    output = subprocess.run(["./all"], cwd=folder, check=True, capture_output=True, text=True).stdout
    return output.split("\x01")[:-1]


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_python_and_cpp_agree_in_every_family(tmp_path):
    specs = []
    for name, family in FAMILIES.items():
        rng = seeded("compiler", name)
        specs += [draw_spec(rng, family) for _ in range(3)]
    problems = [render(spec) for spec in specs]
    programs = [code for problem in problems for code in (problem.reference, *problem.answers["weak"])]
    tests, expected = [], []
    for i, (spec, problem) in enumerate(zip(specs, problems, strict=True)):
        for test in problem.tests:
            tests += [(2 * i, test.input), (2 * i + 1, test.input)]
            expected += [test.output, solve(weak_spec(spec), test.input)]
    assert run_all(programs, tests, tmp_path) == expected


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")
def test_a_program_compiles_alone(tmp_path):
    problem = render(SUM_ABOVE)
    (tmp_path / "one.cpp").write_text(problem.reference)
    subprocess.run(["g++", "-Wall", "-Werror", "one.cpp", "-o", "one"], cwd=tmp_path, check=True)
    for test in problem.tests:
        done = subprocess.run(["./one"], cwd=tmp_path, input=test.input, capture_output=True, text=True, check=True)
        assert done.stdout == test.output
