"""`plm bench`: what it lists, what it refuses, and how tables get into a page."""

import re
from pathlib import Path

import pytest

import plm.bench
from plm.bench import APART, BENCHMARKS, find_scripts, write_part
from plm.cli import run
from plm.errors import PlmError

ROOT = Path(__file__).parents[1]


def test_every_benchmark_is_a_script_that_says_what_it_does_and_every_script_is_a_benchmark(capsys):
    assert run(["bench"]) == 0
    shown = capsys.readouterr().out
    scripts = {benchmark.script for benchmark in {**BENCHMARKS, **APART}.values()}
    assert all(name in shown for name in {**BENCHMARKS, **APART})
    for script in scripts:
        text = (ROOT / "benchmarks" / script).read_text()
        assert text.startswith(('"""', 'r"""')) and '__name__ == "__main__"' in text
    files = {str(path.relative_to(ROOT / "benchmarks")) for path in (ROOT / "benchmarks").rglob("*.py")}
    assert {file for file in files if "__main__" in (ROOT / "benchmarks" / file).read_text()} == scripts


def test_a_benchmark_prints_its_table_and_keeps_it_in_a_page(tmp_path, capfd):
    page = tmp_path / "speed.md"
    page.write_text("# Speed\n\nBefore.\n\n<!-- bench: grading -->\nold\n<!-- end: grading -->\n\nAfter.\n")
    arguments = ["--output", str(page), "--", "--programs", "8", "--peer", "2"]
    assert run(["bench", "grading", *arguments]) == 0
    out, err = capfd.readouterr()
    assert re.search(r"\| [\d.]+ \(8 programs\) \| [\d.]+ \(2 of them\) \|", out) and f"grading → {page}" in err
    text = page.read_text()
    assert text.startswith("# Speed\n\nBefore.\n\n<!-- bench: grading -->\nDistinct programs judged")
    assert text.endswith("<!-- end: grading -->\n\nAfter.\n") and "old" not in text
    assert re.search(r"\n\n\*\d{4}-\d\d-\d\d; .+ cores, load [\d.]+ when it began; plm .+, torch [\d.]+", text)


def test_a_benchmark_that_fails_leaves_the_page_and_says_so(tmp_path, capfd):
    page = tmp_path / "speed.md"
    assert run(["bench", "grading", "--output", str(page), "--", "--no-such-option"]) == 1
    assert "failed: grading" in capfd.readouterr().err and not page.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gradin"], "no benchmark 'gradin' (did you mean 'grading'?)"),
        (["grading", "startup", "--", "--times", "1"], "options after -- are for one benchmark, but 2 were named"),
        (["grading", "--checkout", "/nowhere"], "/nowhere has no benchmarks"),
    ],
)
def test_what_cannot_be_is_one_line(arguments, message, capsys):
    assert run(["bench", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_an_installed_package_says_that_it_needs_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(plm.bench, "__file__", str(tmp_path / "site-packages" / "plm" / "bench.py"))
    monkeypatch.chdir(ROOT)
    assert find_scripts(None) == ROOT / "benchmarks"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlmError, match=r"the installed package has no benchmarks: .* need a checkout"):
        find_scripts(None)


def test_all_is_every_benchmark_above_the_line():
    assert plm.bench._chosen(["grading", "all"]) == ["grading", *[name for name in BENCHMARKS if name != "grading"]]


def test_a_new_part_goes_to_the_end_and_half_a_marker_is_refused(tmp_path):
    page = tmp_path / "new.md"
    write_part(page, "one", "1")
    write_part(page, "two", "2 \\1")
    write_part(page, "one", "3")
    assert re.findall(r"<!-- bench: (\w+) -->\n(.+)\n", page.read_text()) == [("one", "3"), ("two", "2 \\1")]
    page.write_text(page.read_text().replace("<!-- end: two -->", ""))
    with pytest.raises(PlmError, match="one of <!-- bench: two --> and <!-- end: two --> only"):
        write_part(page, "two", "4")
