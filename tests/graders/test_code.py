"""The grader as its callers see it: arguments, refusals, the cache, and real programs."""

import gzip
import json
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from plm.datamodules import CodeDataModule
from plm.errors import PlmError
from plm.graders import sandbox
from plm.graders.code import CodeGrader, _processors
from plm.graders.cpp import Compiler
from plm.graders.runner import Limits, Session
from plm.graders.toolchain import load_toolchain

ADD = "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a + b; }\n"


@pytest.mark.parametrize("argument", ["time_limit", "wall_limit", "memory_mb", "output_mb", "workers"])
def test_arguments_are_checked(argument):
    with pytest.raises(PlmError, match=f"{argument} is 0"):
        CodeGrader(**{argument: 0})


def test_optimization_is_checked():
    with pytest.raises(PlmError, match="optimization is 9"):
        CodeGrader(optimization=9).prepare()


def test_wants_one_completion_a_problem(problem):
    with pytest.raises(PlmError, match="1 problems but 2 completions"):
        CodeGrader().grade([problem(("", ""))], ["", ""])


def test_refuses_a_problem_without_tests(problem):
    with pytest.raises(PlmError, match="no tests"):
        CodeGrader().grade([problem()], [ADD])


def test_grades_nothing():
    assert CodeGrader().grade([], []) == []


def test_every_test_counts(problem):
    verdicts = CodeGrader().grade(
        [problem(("1 2", "3"), ("2 2", "4")), problem(("1 2", "3"), ("2 2", "5"))], [ADD, ADD]
    )
    assert [(one.correct, one.score, one.reason, one.extracted) for one in verdicts] == [
        (True, 1.0, "correct", ADD),
        (False, 0.0, "wrong", ADD),
    ]


def test_an_empty_expected_output_expects_none(problem):
    grades = CodeGrader().grade([problem(("1 2", ""))] * 2, [ADD, "int main() {}"])
    assert [grade.reason for grade in grades] == ["wrong", "correct"]


def test_time_limit_is_cpu_time(problem):
    busy = '#include <ctime>\n#include <cstdio>\nint main() { while (clock() < 0.3 * CLOCKS_PER_SEC); puts("1"); }'
    grades = [CodeGrader(time_limit=limit).grade([problem(("", "1"))], [busy])[0] for limit in (0.2, 0.45)]
    assert [grade.reason for grade in grades] == ["timeout", "correct"]
    assert 0.25 < grades[1].seconds < 0.45


def test_verdicts_are_kept(problem, monkeypatch):
    grader = CodeGrader()
    first = grader.grade([problem(("1 2", "3"))], [ADD])
    monkeypatch.setattr(grader, "_grade_jobs", None)
    assert grader.grade([problem(("1 2", "3"))] * 2, [ADD, f"```cpp\n{ADD}```"]) == first * 2


def test_graders_can_share_verdicts(problem, monkeypatch):
    kept = {}
    first = CodeGrader(verdicts=kept).grade([problem(("1 2", "3"))], [ADD])
    second, alone = CodeGrader(verdicts=kept), CodeGrader()
    monkeypatch.setattr(CodeGrader, "_grade_jobs", lambda *_: pytest.fail("graded again"))
    assert second.grade([problem(("1 2", "3"))], [ADD]) == first
    with pytest.raises(pytest.fail.Exception):
        second.grade([problem(("1 2", "4"))], [ADD])  # other tests, another verdict
    with pytest.raises(pytest.fail.Exception):
        alone.grade([problem(("1 2", "3"))], [ADD])


def test_runs_of_one_process_share_the_verdicts_of_the_code_task(problem, monkeypatch):
    one, other = (CodeDataModule().make_grader() for _ in range(2))
    graded = one.grade([problem(("3 4", "7"))], [ADD])
    monkeypatch.setattr(CodeGrader, "_grade_jobs", lambda *_: pytest.fail("graded again"))
    assert other.grade([problem(("3 4", "7"))], [ADD]) == graded


def test_progress_counts_programs(problem):
    seen = []
    CodeGrader().grade([problem(("1 2", "3"))] * 3, [ADD, ADD + "// other", "int main() {"], progress=seen.append)
    assert sum(seen) == 3


def test_an_interrupt_ends_the_work_at_once(problem, tmp_path):
    """In a process of its own, for the signal reaches the main thread."""
    code = (
        "import os, signal, threading\n"
        "from plm.graders.code import CodeGrader\n"
        "from plm.records import IOTest, Problem\n"
        "grader = CodeGrader(wall_limit=60)\n"
        "grader.prepare()\n"
        "threading.Timer(2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()\n"
        "sleeper = '#include <unistd.h>\\nint main() { sleep(99); }'\n"
        "grader.grade([Problem('', '', '', '', (IOTest('', ''),))], [sleeper])\n"
    )
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert "KeyboardInterrupt" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_cannot_be_executed_has_crashed(problem):
    """The others still get their verdicts."""
    broken = f'__attribute__((section(".interp"))) const char x[4] = {{1, 2, 3, 4}};\n{ADD}'
    grades = CodeGrader().grade([problem(("1 2", "3"))] * 2, [broken, ADD])
    assert [grade.reason for grade in grades] == ["crash", "correct"]


@pytest.mark.parametrize("program", [ADD, "#define X\n" + ADD], ids=["batched", "alone"])
def test_no_verdict_where_programs_cannot_be_executed(problem, monkeypatch, program):
    """As in a temporary folder that is mounted noexec."""
    seal = Compiler._seal

    def seal_noexec(self, folder):
        seal(self, folder).chmod(0o444)
        return folder / "program"

    monkeypatch.setattr(Compiler, "_seal", seal_noexec)
    with pytest.raises(PlmError, match="noexec"):
        CodeGrader().grade([problem(("1 2", "3"))], [program])


def test_no_verdict_where_there_is_no_room_to_compile(problem, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=4096))
    grader = CodeGrader()
    assert grader.grade([problem(("1 2", "3"))], [ADD])[0].correct
    with pytest.raises(PlmError, match="no room"):
        grader.grade([problem(("1 2", "3"))], [ADD.replace("a + b", "undeclared")])


def test_no_verdict_where_the_stack_is_too_small():
    code = (
        "import resource, pytest\n"
        "from plm.graders.code import CodeGrader\n"
        "from plm.records import IOTest, Problem\n"
        "resource.setrlimit(resource.RLIMIT_STACK, (8 << 20, 16 << 20))\n"
        f"CodeGrader().grade([Problem('', '', '', '', (IOTest('1 2', '3'),))], [{ADD!r}])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "they need a stack of 64 MB, above the hard limit (ulimit -Hs)" in done.stderr


@pytest.fixture
def no_isolation(monkeypatch):
    monkeypatch.setattr(sandbox, "works", lambda *_: False)


@pytest.mark.usefixtures("no_isolation")
def test_refuses_without_isolation(problem):
    with pytest.raises(PlmError, match="bubblewrap") as caught:
        CodeGrader().grade([problem(("1 2", "3"))], [ADD])
    assert "unsafe=True" in str(caught.value)


@pytest.mark.usefixtures("no_isolation")
def test_unsafe_runs_without_isolation_but_with_the_filter(problem):
    grader = CodeGrader(unsafe=True)
    writer = '#include <fstream>\nint main() { std::ofstream f("x"); }'
    assert grader.prepare()[1] == "none"
    assert [grade.reason for grade in grader.grade([problem(("1 2", "3"))] * 2, [ADD, writer])] == ["correct", "file"]


def test_isolation_none_must_be_called_unsafe():
    with pytest.raises(PlmError, match="unsafe=True"):
        CodeGrader(isolation="none")


def test_falls_back_to_namespaces(monkeypatch):
    tools = load_toolchain()
    if not sandbox.works("namespaces", tools.launcher):
        pytest.skip("no user namespaces")
    works = sandbox.works
    monkeypatch.setattr(sandbox, "works", lambda kind, launcher: kind != "bubblewrap" and works(kind, launcher))
    assert CodeGrader().prepare()[1] == "namespaces"


def test_needs_a_compiler(monkeypatch, tmp_path):
    load_toolchain.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PlmError, match=r"^g\+\+ is not installed.*$"):
        CodeGrader().prepare()
    load_toolchain.cache_clear()


def test_needs_a_place_for_the_cache(monkeypatch):
    for name in ("PLM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pathlib.Path.home", lambda: (_ for _ in ()).throw(RuntimeError))
    load_toolchain.cache_clear()
    with pytest.raises(PlmError, match="set PLM_CACHE"):
        load_toolchain()
    load_toolchain.cache_clear()


@pytest.mark.slow
def test_a_damaged_cache_entry_is_built_again(monkeypatch, tmp_path):
    monkeypatch.setenv("PLM_CACHE", str(tmp_path))
    for damage in (lambda folder: (folder / "driver").unlink(), lambda folder: (folder / "names.txt").write_text("")):
        load_toolchain.cache_clear()
        damage(load_toolchain().folder)
        load_toolchain.cache_clear()
        assert (load_toolchain().folder / "driver").stat().st_size > 0
        assert "cout" in load_toolchain().names
    load_toolchain.cache_clear()


@pytest.mark.slow
def test_two_processes_build_the_cache_at_once(tmp_path):
    code = "from plm.graders.toolchain import load_toolchain as load; print(load().folder)"
    command = [sys.executable, "-c", code]
    env = {"PATH": "/usr/bin:/bin", "PLM_CACHE": str(tmp_path)}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    folders = {process.communicate()[0].strip() for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(folders) == 1
    left = {path.name for path in (tmp_path / "cpp").iterdir() if not path.name.endswith(".lock")}
    assert left == {folders.pop().rsplit("/", 1)[1]}


def run_alone(compiler, program):
    compiled = compiler.compile_alone(program)
    if compiled is None:
        return "compile"
    with Session(compiler.toolchain, compiler.isolation, compiled, Limits(cpu_seconds=5.0)) as session:
        return session.run(-1, b"").reason


# one wants boost, one OpenSSL, one fails its own checks
NOT_RUNNABLE = {"CPP/22", "CPP/137", "CPP/162"}


@pytest.mark.parametrize("rows", [12, pytest.param(120, marks=pytest.mark.slow)])
def test_reference_programs_of_humaneval_x_pass(data_folder, tmp_path, rows):
    tools = load_toolchain()
    compiler = Compiler(tools, sandbox.find_isolation(tools.launcher, unsafe=False), tmp_path)
    with gzip.open(data_folder / "cpp" / "humaneval_x_cpp.jsonl.gz", "rt") as file:
        tasks = [json.loads(line) for line in file][:rows]
    ends = {
        task["task_id"]: run_alone(compiler, task["prompt"] + task["canonical_solution"] + task["test"])
        for task in tasks
        if task["task_id"] not in NOT_RUNNABLE
    }
    assert {name: end for name, end in ends.items() if end != "exit"} == {}


@pytest.mark.parametrize("rows", [10, pytest.param(200, marks=pytest.mark.slow)])
def test_models_programs_for_mbpp_end_as_measured(data_folder, tmp_path, rows):
    tools = load_toolchain()
    compiler = Compiler(tools, sandbox.find_isolation(tools.launcher, unsafe=False), tmp_path)
    with gzip.open(data_folder / "mbpp" / "mbcpp_release_v1.2.jsonl.gz", "rt") as file:
        tasks = {task["task_id"]: task for task in map(json.loads, file)}
    with gzip.open(data_folder / "mbpp" / "mbcpp_samples.jsonl.gz", "rt") as file:
        samples = [sample for sample in map(json.loads, file) if sample["task_id"] in tasks][:rows]
    different = []
    for sample in samples:
        task = tasks[sample["task_id"]]
        end = run_alone(compiler, task["prompt"] + sample["completion"] + task["test"])
        if (end == "exit") != (sample["local_result"] == "pass"):
            different.append((sample["task_id"], end, sample["local_result"]))
    assert different == []


@pytest.mark.parametrize(("threads", "most"), [("1", 1), ("100000", None), ("", None), ("2,1", None)])
def test_no_more_programs_run_at_once_than_threads_are_allowed(threads, most, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert _processors() == (most or len(os.sched_getaffinity(0)))
