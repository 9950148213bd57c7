"""Published programs of the real data in the sandbox: the verification finds them right."""

from collections import Counter

from plm.datamodules.code_files import read_apps, read_mbpp
from plm.records import IOTest
from plm.teacher.checks import Checks
from plm.teacher.prompts import kept_tests, shown_solution, shown_tests
from plm.teacher.store import Store
from tests.graders.conftest import data_folder  # noqa: F401 (a fixture)


def test_published_programs_give_the_published_outputs(data_folder, tmp_path):  # noqa: F811
    problems = read_apps(str(data_folder / "apps" / "coderl_hf_schema.jsonl.gz"))
    problems += read_apps(str(data_folder / "apps" / "hf_schema.jsonl.gz"))
    jobs = [
        (text, kept_tests(problem)[:2])
        for problem in problems
        if problem.kind == "stdin" and (text := shown_solution(problem))
    ]
    mbpp = read_mbpp(str(data_folder / "mbpp" / "mbpp.jsonl.gz"))[:20]
    asserted = [
        (f"{shown_solution(problem)}\n" + "\n".join(shown_tests(problem)) + "\nprint('ok')\n", (IOTest("", "ok"),))
        for problem in mbpp
    ]
    checks = Checks(Store(tmp_path))
    assert len(jobs) >= 5
    reasons = Counter(verdict.reason for verdict in checks.verify(jobs, lambda n: None))
    assert reasons["disagrees"] == 0 and reasons["agrees"] >= len(jobs) - 1  # Python 2, at most one
    assert {verdict.reason for verdict in checks.verify(asserted, lambda n: None)} == {"agrees"}
