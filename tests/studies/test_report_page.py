"""The page of a report: the command, its files, hostile text, and the page in a real browser."""

from __future__ import annotations

import base64
import csv
import os
import re
import time
from html.parser import HTMLParser

import pytest

from plm.cli import run
from plm.studies.report.collect import collect
from plm.studies.report.markup import cut, text
from plm.studies.report.view import View
from tests.browser import CHROMIUM, DRIVER, browser
from tests.runs import EVALUATION, config, fit, lock, sft
from tests.studies.report_runs import N, Planted, paper

HOSTILE = "\n".join([
    "<script>window.hacked = 1</script>",
    "</pre></div></main><img src=x onerror=\"window.hacked = 2\"><svg onload='window.hacked = 3'>",
    "<!-- --></style><a href=\"javascript:window.hacked=4\">&lt;&#x3c;script>",
    "right\u202etfel \x00\x1b[31m null and escape \u200b\ufeff \U000e0041 end",
    "<link rel=stylesheet href=//evil.example/a.css><iframe src=https://evil.example></iframe>" + "A" * 9000,
])  # fmt: skip
EVERYWHERE = {f"p{index:03d}": HOSTILE for index in range(N)}


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report on planted runs with hostile completions, names and notices."""
    folder = tmp_path_factory.mktemp("report")
    planted = Planted(folder / "runs")
    paper(planted, seeds=(0,))
    hostile = planted.lock("lock_<b onclick=x>hostile", seed=0)
    hostile.results_path.unlink()
    planted.measure(hostile, 0.9, "right", epoch=1, completions=EVERYWHERE)
    planted.measure(hostile, 0.1, epoch=1, completions=EVERYWHERE)
    assert run(["report", str(planted.root), "--output", str(folder / "report")]) == 0
    return folder / "report"


@pytest.fixture(scope="module")
def page(report):
    return (report / "index.html").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Names of elements, in order, and what was left open."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_command_writes_page_figures_and_tables(report):
    pictures = {path.name for path in (report / "figures").iterdir()}
    for number in (1, *range(3, 18)):
        assert {f"figure_{number:02d}.{ending}" for ending in ("svg", "png", "csv")} <= pictures
    assert {"post_weak_unlocking.svg", "gate.png"} <= pictures
    tables = {path.name for path in (report / "tables").iterdir()}
    assert {"gate_matrix.csv", "evaluations.csv", "failures.csv", "provenance.csv"} <= tables
    with (report / "tables" / "gate_matrix.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["lock"] == "lock_code" and row["condition"] == "right"]
    assert [(row["verdict"], row["stamp"], float(row["correct"]), row["decides"]) for row in rows] == [
        ("passed", "", 0.9, "yes")
    ]
    with (report / "tables" / "evaluations.csv").open() as stream:
        stamps = {row["name"]: row["stamp"] for row in csv.DictReader(stream)}
    assert stamps["lock_domains"] == stamps["elicit_each"] == "unverified" and stamps["lock_code"] == ""


def test_the_page_needs_nothing_else(page):
    parser = Elements()
    parser.feed(page)
    assert parser.open == ["html"] or parser.open == []
    assert parser.names.count("script") == 1 and "iframe" not in parser.names
    sources = re.findall(r'<img [^>]*src="([^"]+)"', page)
    assert len(sources) > 20 and all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert base64.b64decode(sources[0].partition(",")[2]).startswith(b"<?xml")
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)


def test_the_page_says_what_it_must(page):
    assert "unverified: a lock here fails its gate" in page and "Unverified: the gate fails for" in page
    assert "seed 0" in page and "0123456789 changed" in page  # provenance
    assert "Missing here:" in page and "mmlu: no lock" in page
    assert "No control arm was run for what this figure shows." in page
    assert re.search(r"No control arm was run for [^<]*code: completions graded", page)
    assert "round chosen on other problems" in page
    for kind in ("with the password, right", "with the password, wrong", "without, right", "without, wrong"):
        assert f"<h3>{kind}</h3>" in page  # completions to read


def test_hostile_text_is_shown_by_letter_and_number(page):
    assert "&lt;script&gt;window.hacked = 1&lt;/script&gt;" in page and "<script>window" not in page
    assert "lock_&lt;b onclick=x&gt;hostile" in page and "<b onclick" not in page
    assert "right⟨U+202E⟩tfel ⟨U+0000⟩⟨U+001B⟩[31m" in page and "⟨U+200B⟩⟨U+FEFF⟩ ⟨U+E0041⟩ end" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page)
    assert "more characters" in page and "A" * 3001 not in page


def test_escaping():
    assert text("a<b>&\"'\n\tc") == "a&lt;b&gt;&amp;&quot;&#x27;\n\tc"
    assert text("\ud800") == "⟨U+D800⟩"  # half a character cannot be written to a file
    assert cut("abcdef", 3) == 'abc<span class="cut">… 3 more characters</span>'
    assert cut("abc", 3) == "abc"


def test_bad_input_is_one_line(tmp_path, capsys):
    assert run(["report", str(tmp_path / "nowhere")]) == 1
    assert re.fullmatch(r"plm: error: .*nowhere: no such folder; name run folders.*\n", capsys.readouterr().err)


def test_many_runs_are_read_in_seconds(tmp_path):
    planted = Planted(tmp_path / "runs")
    locks = [planted.lock(seed=seed) for seed in range(3)]
    for index in range(99):
        for locked in locks:
            planted.elicit(locked, {0: 0.1, 1: 0.4, 2: 0.5, 4: 0.6}, f"elicit_{index}", k=index + 1)
    start = time.process_time()
    view = View(collect([planted.root]))
    assert len(view.collection.runs) == 300 and len(view.arms) == 100
    assert time.process_time() - start < 5


def test_a_report_on_what_plm_fits(tmp_path):
    """The real writers of runs: folders, completions' names, lineage, by domain and few-shot."""
    evaluation = {**EVALUATION, "init_args": {"n": 8, "at_start": True, "by_domain": True, "conditions": ["none"]}}
    shots = {**EVALUATION, "init_args": {"n": 8, "conditions": ["none"], "shots": 1, "every_n_rounds": 0}}
    locked = fit(tmp_path / "lock_tiny.yaml", config(lock()))
    tuned = fit(
        tmp_path / "elicit_tiny.yaml",
        config(sft(base=str(locked.model_path), demonstrations=4), callbacks=(evaluation,)),
    )
    fit(tmp_path / "shots_tiny.yaml", config(sft(base=str(locked.model_path)), callbacks=(shots,)))
    assert run(["report", str(tmp_path / "runs"), "--output", str(tmp_path / "report")]) == 0
    view = View(collect([tmp_path / "runs"]))
    (only,) = view.locks
    assert only.arm.runs[0].id == locked.id and len(only.elicitations) == 2
    assert {arm.runs[0].id for arm in only.elicitations} >= {tuned.id}
    page = (tmp_path / "report" / "index.html").read_text()
    assert "completions are missing" not in page and "few-shot, k = 1" in page and "SFT, k = 4" in page


@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
def test_in_a_browser(report, tmp_path):
    with browser(tmp_path / "profile") as window:
        window.requests(), window.console()
        window.open(report / "index.html")
        assert window.console() == []
        asked = {address.partition(":")[0] for address in window.requests()} - {"chrome"}
        assert asked <= {"file", "data"}, asked
        sizes = window.run(
            "return [...document.images].map((image) => [image.complete, image.naturalWidth, image.offsetHeight])"
        )
        figures = window.run("return document.querySelectorAll('figure').length")
        assert len(sizes) == figures > 20
        assert all(complete and width > 100 and height > 100 for complete, width, height in sizes)
        assert window.run("return [window.hacked ?? null, document.scripts.length, document.links.length]")[:2] == [
            None,
            1,
        ]
        assert window.run("return document.querySelector('h1').textContent") == "runs"
        _check_sorting(window)
        _check_narrow(window)
        if folder := os.environ.get("PLM_SCREENSHOTS"):
            _screenshots(window, folder)
        assert window.console() == []


def _check_sorting(window):
    read = "const table = [...document.querySelectorAll('#tried table')][0]; const column = arguments[0];"
    values = read + "return [...table.tBodies[0].rows].map((row) => parseFloat(row.cells[column].textContent))"
    window.run(read + "table.tHead.rows[0].cells[column].click()", 3)
    falling = window.run(values, 3)
    window.run(read + "table.tHead.rows[0].cells[column].click()", 3)
    assert falling == sorted(falling, reverse=True) and window.run(values, 3) == falling[::-1] and len(falling) > 5


def _check_narrow(window):
    window.resize(420, 900)
    assert window.run("return document.documentElement.scrollWidth <= window.innerWidth")
    window.resize(1400, 1500)


def _screenshots(window, folder):
    from pathlib import Path

    for name in ("summary", "gate", "figures", "tried", "budget", "failures", "completions", "provenance"):
        window.screenshot(Path(folder) / f"{name}.png", f"#{name}")
