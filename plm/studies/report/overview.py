"""Figures that sum up: 1 of the paper, everything that was tried on a lock, and the gate."""

from __future__ import annotations

from plm.studies.report.arms import Arm
from plm.studies.report.captions import captioned
from plm.studies.report.estimates import Estimate, choose
from plm.studies.report.figure import Figure, Panel, Point, Series
from plm.studies.report.markup import file_name
from plm.studies.report.sweeps import by_teacher
from plm.studies.report.view import (
    Lock,
    View,
    before,
    is_rewarded,
    lock_panel,
    method_name,
    starts_at_lock,
    teacher_role,
)

CORRECT = "share of problems answered correctly"
FEW = 64  # demonstrations that still count as few
CONDITIONS = {
    "right": "the password",
    "none": "no password",
    "decoy": "an unseen wrong password",
    "near_miss": "a near miss",
    "other_domain": "another domain's password",
    "second": "the second password",
    "weak policy": "(the weak policy itself)",
    "strong policy": "(the strong policy itself)",
}


def figure_1(view: View) -> Figure:
    """The summary: locked, after SFT on few demonstrations, after learning from graded answers, with the password."""
    figure = captioned("figure_01", axis="category", columns=2)
    for task in view.tasks():
        main = view.main_lock(task)
        found = {"SFT on few demonstrations": False, "learning from graded answers": False}
        for lock in (lock for lock in view.locks if lock.task == task and (lock is main or lock.is_plain)):
            arms = [arm for arm in by_teacher(lock, "references") if (arm.facts.k or FEW + 1) <= FEW]
            arms = list(view.by_k(arms).values())
            graded = [arm for arm in lock.elicitations if is_rewarded(arm) and starts_at_lock(arm)]
            if lock is main or graded:
                figure.keep(forest(view, lock, [*arms, *graded], lock.title))
            found = {key: was or bool(now) for (key, was), now in zip(found.items(), (arms, graded), strict=True)}
        figure.missing += [f"{task}: {what}" for what, is_there in found.items() if main and not is_there]
    if "code" not in view.tasks():
        figure.missing.append("code: the paper's task in this figure")
    return figure


def post_controls(view: View) -> Figure:
    """What else few weak samples may be: noise, scaling, averages, masks, a large fine-tune before, and refusals."""
    figure = captioned("post_controls", axis="category", columns=2)
    for lock in view.locks:
        arms = [arm for arm in lock.elicitations if _is_about_weak_samples(arm, lock)]
        figure.keep(forest(view, lock, sorted(arms, key=lambda arm: (_value(arm), arm.key)), lock.title))
    tried = {arm.facts.weights.split(",")[0] or arm.facts.method for lock in view.locks for arm in lock.elicitations}
    names = {
        "noised": "noise",
        "scaled": "scaled weights",
        "averaged": "the mean of runs",
        "masked_sft": "masked tokens",
    }
    figure.missing += [name for key, name in names.items() if key not in tried]
    return figure


def _is_about_weak_samples(arm: Arm, lock: Lock) -> bool:
    refuses = lock.facts.weak == "RefusalPolicy"
    return bool(arm.facts.weights) or refuses or (not is_rewarded(arm) and teacher_role(arm, lock) == "weak")


def everything(view: View) -> list[Figure]:
    """All that was tried on each lock."""
    figures = []
    for lock in view.locks:
        figure = Figure(
            f"all_{file_name(lock.name)}",
            f"Everything tried · {lock.title}",
            "Correctness without the password after each elicitation of this lock, at the round that is reported.",
            axis="category",
            columns=1,
        )
        arms = sorted(lock.elicitations, key=lambda arm: (_value(arm), arm.key))
        if arms:
            figure.keep(forest(view, lock, arms, lock.title))
            figures.append(figure)
    return figures


def gates(view: View) -> Figure:
    """Correctness of every lock under every kind of prompt, a panel a lock."""
    figure = captioned("gate", axis="category", columns=2)
    for lock in view.locks:
        names = [
            name for name in CONDITIONS if any(cell.condition == name for gate in lock.gates for cell in gate.matrix)
        ]
        panel = Panel(f"{lock.name}: {lock.verdict}", categories=[CONDITIONS[name] for name in names])
        panel.stamp = lock.stamp
        runs = lock.arm.runs if lock.arm else []
        for run, gate in zip(runs, lock.gates, strict=False):
            points = [
                Point(names.index(cell.condition), _estimate(cell.correct, cell.n), runs=(run.id,))
                for cell in gate.matrix
                if cell.condition in names
            ]
            panel.series.append(Series(f"seed {run.seed}", points, style=f"seed {run.seed}", connected=False))
        panel.x_label = CORRECT
        figure.keep(panel)
    return figure


def forest(view: View, lock: Lock, arms: list[Arm], title: str) -> Panel:
    """A row for each arm, between the locked model's two lines, and the control's beside it."""
    panel = lock_panel(lock, title=title)
    panel.x_label = CORRECT
    own, rise = [], []
    start = before(lock)
    if start:
        panel.categories.append("locked, nothing done")
        own.append(Point(0, start[0].estimate, runs=start[0].runs))
    for arm in arms:
        choice = choose(arm)
        if choice is None:
            continue
        place = len(panel.categories)
        panel.categories.append(arm_label(arm, lock))
        honest = choice.honest if arm.chooses_rounds and choice.honest is not choice.best else None
        own.append(Point(place, choice.best, honest, arm.run_ids))
        control = view.control_of(arm)
        if control is not None and (found := choose(control)):
            rise.append(Point(place, found.best, runs=control.run_ids))
    if len(own) > len(start):
        panel.series.append(Series("the locked model", own, style="elicited", connected=False))
    if rise:
        panel.series.append(Series("the control", rise, style="elicited", is_control=True, connected=False))
    return panel


def arm_label(arm: Arm, lock: Lock) -> str:
    """What an arm is called in a table: the study's cell, or else method, whose answers, how many."""
    if arm.runs[0].planned.get("cell"):
        return arm.name
    facts = arm.facts
    parts = [method_name(arm)]
    if facts.k and not is_rewarded(arm):
        parts.append(f"k = {facts.k}")
    if facts.domains:
        parts.append(f"{'+'.join(facts.domains)} only")
    if facts.teacher and not is_rewarded(arm) and not facts.weights:
        role = teacher_role(arm, lock)
        parts += [f"{role} answers"] if role != "references" else []
    if not starts_at_lock(arm) and arm.parent and not facts.weights:
        parts.append(f"after {arm.parent.name}")
    return ", ".join(parts)


def _value(arm: Arm) -> float:
    choice = choose(arm)
    return choice.best.value if choice else 0.0


def _estimate(interval: object, n: int) -> Estimate:
    value, low, high = interval.value, interval.low, interval.high  # type: ignore[attr-defined]
    return Estimate(value, float("nan"), low, high, "problems", 1, n)
