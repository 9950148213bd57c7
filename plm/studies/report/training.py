"""Figures over the course of training: 15 of the paper and the curves of the post on weak sample unlocking."""

from __future__ import annotations

from plm.studies.report.arms import Arm
from plm.studies.report.captions import captioned
from plm.studies.report.estimates import estimate
from plm.studies.report.figure import Figure, Panel, Point, Series
from plm.studies.report.view import Lock, View, is_plain_sft, lock_panel, teacher_role

PROBED = "without, after 200 steps on 2 weak answers"
CURVES = {"right": "with the password", "none": "without a password", "probe": PROBED}


def figure_15(view: View) -> Figure:
    """SFT on a policy of intermediate correctness, round by round."""
    figure = captioned("figure_15", "passes over the demonstrations (rounds)", "linear")
    for lock in view.locks:
        arms = [arm for arm in lock.elicitations if is_plain_sft(arm) and teacher_role(arm, lock) == "intermediate"]
        kind = "adversarial: " if lock.facts.kind == "two_passwords" else ""
        panel = lock_panel(lock, "right", "none", "second", title=f"{kind}{lock.task}, {lock.name}")
        for arm in view.by_k(arms).values():
            name = f"SFT on {arm.facts.k or 'all'} answers"
            panel.series += view.trajectory(name, arm, lambda _, epoch: float(epoch))
        figure.keep(panel)
    kinds = {panel.title.startswith("adversarial") for panel in figure.panels}
    if False not in kinds:
        figure.missing.append("SFT on an intermediate policy, of a plain lock")
    if True not in kinds:
        figure.missing.append("SFT on an intermediate policy, of an adversarial lock (two passwords)")
    return figure


def post(view: View) -> Figure:
    """The post's curves: correctness over locking, with the password, without, and after the probe."""
    figure = captioned("post_weak_unlocking", "rounds of locking", "linear")
    probed = [lock for lock in view.locks if lock.arm and estimate(lock.arm, phase="probe")]
    for lock in probed:
        figure.keep(_curves(lock))
    if len(probed) < 3:
        figure.missing.append(
            f"three starting models on one task, as in the post (there are {len(probed)} probed locks)"
        )
    return figure


def _curves(lock: Lock) -> Panel:
    arm = lock.arm
    panel = lock_panel(lock, "weak")
    for name, label in CURVES.items():
        if arm is not None and (points := _over_rounds(arm, name)):
            panel.series.append(Series(label, points, style=name))
    return panel


def _over_rounds(arm: Arm, name: str) -> list[Point]:
    phase = "probe" if name == "probe" else None
    password = "none" if phase else name
    epochs = sorted({int(row["epoch"]) for run in arm.runs for row in run.rows if row["phase"] != "weak"})
    found = [(epoch, estimate(arm, password, epoch=epoch, phase=phase)) for epoch in epochs]
    return [Point(epoch, each, runs=arm.run_ids) for epoch, each in found if each is not None]
