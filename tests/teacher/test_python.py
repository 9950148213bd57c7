"""Published Python programs in the sandbox, by both isolations."""

import pytest

from plm.graders.runner import Limits
from plm.graders.sandbox import works
from plm.graders.toolchain import load_toolchain
from plm.records import IOTest
from plm.teacher.checks import Checks
from plm.teacher.python import PythonRunner
from plm.teacher.store import Store

LIMITS = Limits(cpu_seconds=0.5, wall_seconds=5.0, memory_bytes=256 << 20)


@pytest.fixture(scope="module", params=["bubblewrap", "namespaces"])
def runner(request):
    if not works(request.param, load_toolchain().launcher):
        pytest.skip(f"{request.param} does not work on this machine")
    made = PythonRunner(LIMITS)
    made._isolation = request.param
    return made


def ends(runner, program, *inputs):
    return [(outcome.reason, outcome.output) for outcome in runner.run(program, inputs or [""])]


def test_programs_read_and_write(runner):
    assert ends(runner, "print(sum(map(int, input().split())))", "1 2", "3 4\n") == [
        ("exit", b"3\n"), ("exit", b"7\n"),
    ]  # fmt: skip
    usual = "import sys, math, collections, itertools, heapq, bisect, re, random, decimal, fractions\n"
    assert ends(runner, usual + "print(sys.stdin.read()[::-1], open(0).read())", "añb") == [("exit", "bña \n".encode())]


def test_programs_that_fail_end_the_inputs(runner):
    assert ends(runner, "print(1 // int(input()))", "1", "0", "1") == [("exit", b"1\n"), ("crash", b"")]
    assert [reason for reason, _ in ends(runner, "while True: pass")] == ["timeout"]
    assert [reason for reason, _ in ends(runner, "x = [0] * 10**9")] == ["crash"]
    assert [reason for reason, _ in ends(runner, "while True: print('x' * 10**6)")] == ["output"]
    assert [reason for reason, _ in ends(runner, "print 1")] == ["crash"]


ATTACK = """
import os, socket, threading
def tries(what):
    try:
        what()
        return "did"
    except Exception as error:
        return type(error).__name__
print(tries(lambda: os.fork()), tries(lambda: socket.socket()), tries(lambda: os.system("true") and 1 / 0))
print(tries(lambda: os.execv("/bin/sh", ["sh"])), tries(threading.Thread(target=print).start))
print(os.path.exists("/home"), os.path.exists("/proc/1"), os.path.exists("/usr/bin/env"), sorted(os.environ))
"""


def test_nothing_else_can_be_reached(runner):
    ((reason, output),) = ends(runner, ATTACK)
    assert reason == "exit"
    assert output.decode().splitlines() == [
        "PermissionError PermissionError ZeroDivisionError",
        "PermissionError RuntimeError",
        "False False False ['LC_CTYPE']",  # which Python sets itself
    ]
    for writing in ("open('x', 'w')", "import os; os.remove('/program')", "import os; os.mkdir('/io/x')"):
        assert [reason for reason, _ in ends(runner, writing)] == ["file"]


def test_verdicts_are_those_of_the_grader_and_are_kept(tmp_path):
    checks = Checks(Store(tmp_path))
    tests = (IOTest("2\n", "1.4142\n"), IOTest("9\n", "3.0000\n"))
    jobs = [
        ("print(math.sqrt(int(input())))", tests),  # what is imported everywhere need not be, three decimals count
        ("print(int(input()))", tests),
        ("print(nothing)", tests),
        ("from __future__ import annotations\nprint('1.4142' if input() == '2' else 3.0)", tests),
    ]
    seen = []
    verdicts = checks.verify(jobs, seen.append)
    assert [verdict.reason for verdict in verdicts] == ["agrees", "disagrees", "fails", "agrees"] and sum(seen) == 4
    assert verdicts[1].detail == "test 1, input '2\\n': the Python program writes '2\\n', the test wants '1.4142\\n'"
    assert verdicts[2].detail == "test 1: the Python program ends with crash"
    checks._python = None  # what is known is not run again
    assert checks.verify(jobs, seen.append) == verdicts
