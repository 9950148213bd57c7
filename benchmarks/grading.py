"""How many programs a second the grader judges, and how many times faster that is than one by one.

Run `python benchmarks/grading.py`. The peer compiles each program by itself with plain g++ and runs it on each test as
a process, without a sandbox, on as many cores.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from plm.graders.code import CodeGrader
from plm.records import IOTest, Problem

HEAD = "#include <iostream>\n#include <vector>\n#include <string>\n#include <algorithm>\nusing namespace std;\n"
TESTS = 5
# a program with parameters @A, @B, @C, and what it prints
TEMPLATES: list[tuple[str, Callable[[list[int], int, int, int], str]]] = [
    (
        "int main() { int n; cin >> n; long long s = 0;\n"
        "  for (int i = 0, x; i < n; i++) { cin >> x; if (x % @A == @B) s += x; } cout << s + @C << endl; }\n",
        lambda v, a, b, c: str(sum(x for x in v if x % a == b) + c),
    ),
    (
        "int main() { int n; cin >> n; vector<int> v(n); for (auto& x : v) cin >> x;\n"
        "  sort(v.begin(), v.end()); for (int x : v) cout << x * @A + @B * @C << ' '; }\n",
        lambda v, a, b, c: " ".join(str(x * a + b * c) for x in sorted(v)),
    ),
    (
        "int twist(int x) { return x * @A % 97 + @B; }\n"
        "int main() { int n; cin >> n; int best = -@C; while (n--) { int x; cin >> x;\n"
        "  best = max(best, twist(x)); }\n  cout << best; }\n",
        lambda v, a, b, c: str(max(-c, *(x * a % 97 + b for x in v))),
    ),
    (
        "int main() { string s; int n = @C;\n"
        "  while (cin >> s) { reverse(s.begin(), s.end()); n += s.size() * @A + @B; }\n"
        "  cout << n; return 0; }\n",
        lambda v, a, b, c: str(c + sum(len(str(x)) * a + b for x in [len(v), *v])),
    ),
]


def make_task(count: int) -> tuple[list[Problem], list[str]]:
    """Distinct programs, each with five tests that it passes."""
    rng = random.Random(0)
    problems, programs = [], []
    for i in range(count):
        text, solve = TEMPLATES[i % len(TEMPLATES)]
        a, b, c = rng.randrange(2, 50), rng.randrange(2), 1000 + i
        programs.append(HEAD + text.replace("@A", str(a)).replace("@B", str(b)).replace("@C", str(c)))
        values = [[rng.randrange(100) for _ in range(6)] for _ in range(TESTS)]
        tests = [IOTest(f"6\n{' '.join(map(str, row))}\n", solve(row, a, b, c)) for row in values]
        problems.append(Problem(str(i), "", "", "", tuple(tests)))
    return problems, programs


def judge_naively(problem: Problem, program: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        source, executable = Path(folder, "a.cpp"), Path(folder, "a")
        source.write_text(program)
        subprocess.run(["g++", "-w", str(source), "-o", str(executable)], check=True)
        outputs = [
            subprocess.run([executable], input=test.input, capture_output=True, text=True, check=True).stdout
            for test in problem.tests
        ]
    return all(output.split() == test.output.split() for output, test in zip(outputs, problem.tests, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=360)
    parser.add_argument("--peer", type=int, default=24, help="how many of them the peer judges")
    arguments = parser.parse_args()
    problems, programs = make_task(arguments.programs)
    cores = len(os.sched_getaffinity(0))

    start = time.perf_counter()
    with ThreadPoolExecutor(cores) as pool:
        assert all(pool.map(judge_naively, problems[: arguments.peer], programs))
    naive = arguments.peer / (time.perf_counter() - start)

    grader = CodeGrader()
    grader.prepare()
    start = time.perf_counter()
    grades = grader.grade(problems, programs)
    ours = len(programs) / (time.perf_counter() - start)
    assert all(grade.correct for grade in grades)
    print(f"Distinct programs judged in a second, {TESTS} tests each, on {cores} cores.\n")
    print("| plm | one by one with g++ | ratio |\n|---|---|---|")
    print(
        f"| {ours:.1f} ({len(programs)} programs) | {naive:.1f} ({arguments.peer} of them) | **{ours / naive:.1f}** |"
    )


if __name__ == "__main__":
    main()
