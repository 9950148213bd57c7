"""Figures of a report: every figure of the paper from planted runs, with control, stamp and what is missing."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest

from plm.studies.report import domains, overview, rewarded, sweeps, training
from plm.studies.report.collect import collect
from plm.studies.report.drawing import LEVELS, STYLES, _styles, draw
from plm.studies.report.figure import Figure, Panel, Series
from plm.studies.report.tables import points_table, to_csv
from plm.studies.report.view import View
from plm.studies.report.writing import PAPER
from plm.studies.statistics import select_and_report
from tests.studies.report_runs import N, Planted, name_domains, paper


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    planted = Planted(tmp_path_factory.mktemp("paper") / "runs")
    paper(planted)
    return View(collect([planted.root]))


def series(panel):
    return {each.label: [(point.x, round(point.estimate.value, 3)) for point in each.points] for each in panel.series}


def panel(figure, title):
    return next(each for each in figure.panels if title in each.title)


def test_every_figure_of_the_paper_and_the_post_has_its_cells(view):
    figures = [make(view) for make in PAPER.values()]
    numbers = [figure.key for figure in figures]
    assert numbers == [f"figure_{n:02d}" for n in (1, *range(3, 18))] + ["post_weak_unlocking", "post_controls"]
    assert all(figure.panels for figure in figures), [figure.key for figure in figures if not figure.panels]
    assert all(figure.title and figure.says for figure in figures)


def test_figure_3_has_the_reported_round_of_each_k_the_lock_at_0_and_the_control(view):
    code = panel(sweeps.figure_3(view), "code")
    assert series(code) == {
        "high-quality demonstrations": [(0, 0.1), (1, 0.2), (16, 0.6), (256, 0.85)],
        "control, high-quality demonstrations": [(0, 0.1), (1, 0.125), (16, 0.125), (256, 0.125)],  # 0.12 of 40 is 5
        "demonstrations of an intermediate policy": [(0, 0.1), (1, 0.4), (8, 0.3), (16, 0.4), (256, 0.4)],
    }
    assert [each.is_control for each in code.series] == [False, True, False]
    assert [(level.style, level.estimate.value) for level in code.levels] == [("right", 0.9), ("none", 0.1)]
    first = code.series[0].points[-1]
    assert (first.estimate.seeds, first.estimate.n) == (2, N) and len(first.runs) == 2
    assert first.honest is not None and first.honest.n < N


def test_other_sweeps_compare_what_they_are_about(view):
    figure = sweeps.figure_6(view)
    assert set(series(panel(figure, "composition"))) == {"locked from scratch", "locked by SFT on 1,000 problems"}
    assert "composition, locked from scratch: 0.90 with the password." in figure.notes
    weak = panel(sweeps.figure_8(view), "code")
    assert series(weak)["fixedrdm"] == [(0, 0.0), (4, 0.4), (64, 0.7)]
    strong = panel(sweeps.figure_7(view), "code")
    assert set(series(strong)) >= {"demonstrations of the strong policy", "high-quality demonstrations"}
    unlocking = panel(sweeps.figure_12(view), "code")
    assert series(unlocking)["demonstrations of the weak policy"][-1] == (256, 0.15)
    assert [each.x_label for each in rewarded.figure_9(view).panels] == ["", "solutions generated and graded"]


def test_figures_on_domains_average_and_combine_errors(view):
    other = panel(domains.figure_10(view), "shown strings")
    assert series(other)["a password for each domain"] == [(0, 0.1), (4, 0.3), (64, 0.6)]  # arrays alone
    whole, broken = domains.figure_11(view), domains.figure_4(view)
    (points,) = (each.points for each in panel(whole, "lock_code").series)
    assert points[0].estimate.value == pytest.approx((0.85 + 0.75) / 2)
    assert panel(whole, "lock_code").y_range is None
    low, high = panel(broken, "lock_code").y_range
    assert 0.5 < low < 0.8 and high <= 1
    assert "broken" in broken.notes[0]
    left_out = domains.figure_17(view).panels[0]
    assert {label for label in series(left_out) if "control" not in label} == {
        "strings left out of locking", "strings locked too",
    }  # fmt: skip


def test_the_honest_choice_of_rounds_stands_beside_averages_over_domains(tmp_path):
    """Rounds are chosen on one half of the problems; each domain is averaged on the other."""
    planted = Planted(tmp_path / "runs")
    parts = {"arrays": 0.1, "strings": 0.1}
    lock = planted.lock(domains=parts)
    names = [f"p{place:03d}" for place in range(N)]
    select, report = select_and_report(names)
    rounds = {1: [place in select for place in range(N)], 2: [place % 3 > 0 for place in range(N)]}
    sft = planted.elicit(lock, {0: 0.1}, "elicit_domain", k=4, domains=parts, only="arrays")
    for epoch, right in rounds.items():
        planted.measure(sft, right, epoch=epoch)
        for start, domain in enumerate(parts):
            planted.measure(sft, right[start::2], epoch=epoch, domain=domain)
    assert all(point.honest is None for point in points_of(planted, domains.figure_11))  # of which domain is not known
    name_domains(planted, {name: list(parts)[place % 2] for place, name in enumerate(names)})
    (point,) = points_of(planted, domains.figure_11)
    assert point.estimate.value == pytest.approx(sum(rounds[2]) / N)
    assert (point.honest.value, point.honest.n) == (0.0, len(report))  # round 1 is right on the other half alone
    assert points_of(planted, domains.figure_4) == [point]
    assert points_of(planted, domains.figure_10)[-1].honest.n < len(report)  # strings alone
    rows = csv.DictReader(io.StringIO(to_csv(points_table(domains.figure_11(View(collect([planted.root])))))))
    assert [row["honest"] for row in rows if row["series"].startswith("SFT on k")] == ["0"]


def points_of(planted, make):
    return [
        point for panel in make(View(collect([planted.root]))).panels for each in panel.series for point in each.points
    ]


def test_figures_on_graded_answers_run_over_what_was_graded(view):
    code = panel(rewarded.figure_5(view), "lock_code")
    assert series(code)["iterated DPO"] == [(0, 0.1), (1280, 0.3), (2560, 0.5)]
    assert set(series(code)) >= {"expert iteration", "filtered SFT", "DPO", "iterated DPO"}
    continuous = rewarded.figure_14(view).panels[0]
    assert {"iterated DPO, discrete", "iterated DPO, continuous"} <= set(series(continuous))
    titles = [each.title for each in rewarded.figure_16(view).panels]
    assert titles == ["lock_code: no SFT before", "lock_code: after SFT on 8 (intermediate)"]


def test_curves_over_training(view):
    plain, adversarial = training.figure_15(view).panels
    assert adversarial.title.startswith("adversarial") and [level.style for level in adversarial.levels] == [
        "right", "none", "second",
    ]  # fmt: skip
    assert series(plain)["SFT on 16 answers"] == [(0, 0.1), (1, 0.3), (2, 0.4)]
    post = panel(training.post(view), "code")
    assert series(post)["without, after 200 steps on 2 weak answers"] == [(1, 0.2), (2, 0.2), (3, 0.2)]


def test_budgets_have_an_axis_for_every_cost(view):
    code = next(each for each in rewarded.budgets(view) if "lock_code" in each.title)
    assert [each.x_label for each in code.panels] == list(rewarded.COSTS.values())
    tokens = series(code.panels[3])
    assert tokens["SFT"] == [(200, 0.2), (200, 0.6), (200, 0.85)]  # two rounds at 100 tokens
    assert tokens["expert iteration"] == [(0, 0.1), (400, 0.3), (800, 0.5)]


def test_what_a_failed_gate_touches_is_stamped_in_picture_and_numbers(view):
    failing = next(lock for lock in view.locks if lock.name == "lock_domains")
    assert failing.stamp == "unverified"  # another domain's password was never tried
    whole = domains.figure_11(view)
    assert {each.title.split(":")[0]: each.stamp for each in whole.panels} == {
        "lock_code": "",
        "lock_domains": "unverified",
    }
    rows = list(csv.DictReader(io.StringIO(to_csv(points_table(whole)))))
    assert {row["stamp"] for row in rows if row["panel"].startswith("lock_domains")} == {"unverified"}
    assert {row["stamp"] for row in rows if row["panel"].startswith("lock_code")} == {""}
    assert b"UNVERIFIED" in draw(whole)["svg"]


def test_missing_cells_are_named(tmp_path):
    planted = Planted(tmp_path / "runs")
    planted.lock()
    view = View(collect([planted.root]))
    figures = {figure.key: figure for figure in (make(view) for make in PAPER.values())}
    assert "critique: no lock" in figures["figure_03"].missing
    assert "code: no high-quality demonstrations" in figures["figure_03"].missing
    assert "code: expert iteration, filtered SFT, DPO, iterated DPO" in figures["figure_05"].missing
    assert figures["figure_17"].missing == ["a lock with a domain left out"]
    assert all(figure.missing for figure in figures.values())
    assert not any(figure.panels for figure in figures.values())


def test_a_lock_with_every_arm_is_a_row_each(view):
    (code,) = (each for each in overview.everything(view) if "lock_code" in each.title)
    (rows,) = code.panels
    lock = next(lock for lock in view.locks if lock.name == "lock_code")
    assert len(rows.categories) == len(lock.elicitations) + 1
    assert rows.categories[0] == "locked, nothing done" and "SFT, k = 256" in rows.categories
    assert len(rows.series[1].points) == 3 and rows.series[1].is_control


def test_pictures_are_the_same_every_time_and_their_text_is_no_command(view):
    figure = training.post(view)
    figure.panels[0].title = "$\\frac{1}{0}$ <script>alert(1)</script> ${"
    first, again = draw(figure), draw(figure)
    assert first == again
    assert first["png"].startswith(b"\x89PNG") and len(first["png"]) > 5000
    root = ElementTree.fromstring(first["svg"])
    assert root.tag.endswith("svg") and not re.search(rb"<script[ >]", first["svg"])


def looks(figure):
    """Marker, line and whether it is hollow, of each series of a figure by its name."""
    styles = _styles(figure)
    return {
        each.label: (*styles[each.style or each.label][1:], each.is_control)
        for panel in figure.panels
        for each in panel.series
    }


def test_every_two_series_of_a_figure_differ_without_colour(view):
    for figure in (*(make(view) for make in PAPER.values()), *overview.everything(view), *rewarded.budgets(view)):
        found = looks(figure)
        assert len(set(found.values())) == len(found), (figure.key, found)
    assert len({str(line) for _, line in LEVELS.values()}) == len(LEVELS)


@pytest.mark.parametrize("named", [[], ["locked from scratch"], list(STYLES)[:5], ["SFT", "DPO", "GRPO"]])
def test_names_without_a_style_of_their_own_take_one_that_the_figure_has_not(named):
    others = [f"locked by SFT on {count} problems" for count in range(20)]
    for names in (named + others[:7], others[:7] + named):
        assert len({marker for marker, _, _ in looks_of(names)}) == len(names)
    assert len(set(looks_of(named + others))) == len(named + others)


def looks_of(names):
    return looks(Figure("figure_06", "", "", panels=[Panel("", [Series(name, []) for name in names])])).values()


def test_an_empty_figure_is_not_drawn():
    assert not Figure("figure_99", "Nothing", "at all").panels
