"""What a person sees of a study while it runs: the live table on a terminal, lines elsewhere, the time left."""

import io
import re

import pytest
from rich.console import Console

from plm.studies import display as module
from plm.studies.display import Display
from plm.studies.forecast import Forecast
from plm.studies.manifest import Row, StudyFolder


def row(name, status="waiting", seconds=None, error=None):
    return Row(f"{name}/0-seed0", ["fit"], "elicit", 0, cell=name, task="code", method="SFT", status=status,
               seconds=seconds, error=error)  # fmt: skip


@pytest.fixture
def rows():
    found = [row("a", "finished", 10.0), row("b"), row("c"), row("d"), row("e")]
    return {each.id: each for each in found}


def shown(rows, tmp_path, console, monkeypatch, slots=2):
    monkeypatch.setattr(module, "console", console)
    return Display("tiny", rows, slots, StudyFolder(tmp_path / "studies" / "tiny"), Forecast(tmp_path, {}, "tiny"))


def change(display, each, kind, status, **values):
    each.status = status
    for name, value in values.items():
        setattr(each, name, value)
    display.event(kind, each)


def test_one_live_table_says_what_is_done_running_and_failed_and_how_long_it_takes(rows, tmp_path, monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system=None)
    display = shown(rows, tmp_path, console, monkeypatch)
    b, c, d = (rows[f"{name}/0-seed0"] for name in "bcd")
    change(display, b, "started", "running")
    change(display, b, "finished", "finished", seconds=100.0)
    change(display, c, "started", "running")
    change(display, d, "failed", "failed", error="out of memory")
    log = display.folder.log_path(c.id)
    log.parent.mkdir(parents=True)
    log.write_text("round 1 of 4\nround 2 of 4\n")
    display.tick()
    display.close()
    lines = re.split(r"(?:\x1b\[[0-9;?]*[A-Za-z]|[\r\n])+", console.file.getvalue())
    head = next(line for line in lines if "2/5 done" in line)
    assert "1 running" in head and "1 failed" in head and head.rstrip().endswith("left")
    kinds = next(line for line in lines if "SFT · code" in line)
    assert kinds.split()[-4:] == ["2/5", "1", "1", "1"]  # done, running, failed, waiting
    assert any("c, seed 0" in line and "round 2 of 4" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_the_time_left_comes_from_what_runs_took(rows, tmp_path, monkeypatch):
    display = shown(rows, tmp_path, Console(file=io.StringIO(), width=80), monkeypatch)
    assert display.seconds_left() is None  # nothing is known yet
    change(display, rows["b/0-seed0"], "started", "running")
    change(display, rows["b/0-seed0"], "finished", "finished", seconds=100.0)
    assert display.seconds_left() == pytest.approx(3 * 100 / 2)  # three runs that are like it, two at a time
    change(display, rows["c/0-seed0"], "failed", "failed", error="it broke")
    assert display.seconds_left() == pytest.approx(2 * 100 / 2)


def test_elsewhere_every_event_is_a_line(rows, tmp_path, monkeypatch, capsys):
    display = shown(rows, tmp_path, Console(file=io.StringIO(), width=80), monkeypatch)
    b, c, d, e = (rows[f"{name}/0-seed0"] for name in "bcde")
    change(display, b, "finished", "finished", seconds=100.0)
    change(display, c, "retried", "waiting", error="it broke")
    change(display, d, "failed", "failed", error="out of memory")
    change(display, e, "blocked", "blocked", error="d/0-seed0 has failed")
    said = " ".join(capsys.readouterr().err.split())
    for expected in (
        "[2/5] finished b, seed 0 in 2 min, about 2 min left",
        "[2/5] trying again c, seed 0: it broke",
        "[3/5] failed d, seed 0: out of memory",
        "[4/5] left out e, seed 0: d/0-seed0 has failed",
    ):
        assert expected in said
