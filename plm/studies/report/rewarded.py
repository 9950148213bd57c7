"""Figures on learning from graded answers: 5, 9b, 14 and 16 of the paper, and what everything cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from plm.studies.report.arms import Arm, last_row
from plm.studies.report.captions import captioned
from plm.studies.report.estimates import choose, estimate
from plm.studies.report.facts import METHOD_NAMES
from plm.studies.report.figure import Figure, Panel, Series
from plm.studies.report.markup import file_name
from plm.studies.report.sweeps import setting_sweeps
from plm.studies.report.view import (
    TASKS,
    Lock,
    View,
    chosen_point,
    is_rewarded,
    lock_panel,
    method_name,
    starts_at_lock,
    teacher_role,
)

METHODS = ("expert_iteration", "filtered_sft", "dpo", "iterated_dpo")  # of Figure 5
GRADED = "solutions generated and graded"
FEWEST = 3  # elicitations of a lock from which on a figure of their costs says more than the table
COSTS = {
    "demonstrations": "demonstrations",
    "generations": "completions generated",
    "graded": "completions graded",
    "trained_tokens": "tokens trained on",
    "seconds": "seconds of training",
}


def figure_5(view: View) -> Figure:
    """Learning from graded answers, by method, task and weak policy."""
    figure = captioned("figure_05", GRADED, "linear")
    for lock in view.locks:
        figure.keep(_panel(view, lock, lock.title, _from_the_lock(lock)))
    for task in TASKS[:3]:
        locks = [lock for lock in view.locks if lock.task == task and _from_the_lock(lock)]
        done = {arm.facts.method for lock in locks for arm in _from_the_lock(lock)}
        if absent := [METHOD_NAMES[name] for name in METHODS if name not in done]:
            figure.missing.append(f"{task}: {', '.join(absent)}")
        if len({lock.facts.weak for lock in locks}) < 2:
            figure.missing.append(f"{task}: locks with different weak policies (the paper has two or three)")
    return figure


def figure_14(view: View) -> Figure:
    """Discrete against continuous rewards."""
    figure = captioned("figure_14", GRADED, "linear")
    for lock in view.locks:
        arms = _from_the_lock(lock)
        if any(arm.facts.reward for arm in arms):
            figure.keep(_panel(view, lock, lock.title, arms, _reward_name))
    if not figure.panels:
        figure.missing.append("any run with a continuous reward (model.init_args.reward)")
    return figure


def figure_16(view: View) -> Figure:
    """SFT on an intermediate policy, then learning from graded answers."""
    figure = captioned("figure_16", GRADED, "linear")
    for lock in view.locks:
        after = [arm for arm in lock.elicitations if is_rewarded(arm) and not starts_at_lock(arm)]
        if not after:
            continue
        figure.keep(_panel(view, lock, f"{lock.name}: no SFT before", _from_the_lock(lock)))
        for key in sorted({arm.parent.key for arm in after if arm.parent}):
            arms = [arm for arm in after if arm.parent and arm.parent.key == key]
            parent = arms[0].parent
            shown = parent.facts.k if parent and parent.facts.k else "all"
            who = teacher_role(parent, lock) if parent else "other"
            title = f"{lock.name}: after SFT on {shown} ({who})"
            figure.keep(_panel(view, lock, title, arms))
    if not figure.panels:
        figure.missing.append("learning from graded answers that starts from SFT on an intermediate policy")
    return figure


def figure_9(view: View) -> Figure:
    """A variation of the setting as the password: (a) SFT, (b) learning from graded answers."""
    figure = setting_sweeps(view)
    for lock in view.locks:
        if lock.facts.kind != "setting":
            continue
        panel = _panel(view, lock, f"(b) {lock.name}", _from_the_lock(lock))
        panel.x_label = GRADED
        if not figure.keep(panel):
            figure.missing.append(f"{lock.name}: learning from graded answers")
    return figure


def budgets(view: View) -> list[Figure]:
    """Correctness against each kind of cost, a figure for each lock (EVL-5)."""
    figures = []
    for lock in view.locks:
        arms = [arm for arm in lock.elicitations if not arm.facts.weights]
        if len(arms) < FEWEST:
            continue
        figure = Figure(
            f"budget_{file_name(lock.name)}",
            f"What it cost · {lock.title}",
            "Correctness without the password against what was spent, cumulative in each run, evaluations and probes "
            "not counted.",
            axis="count",
        )
        for cost, label in COSTS.items():
            figure.keep(_cost_panel(view, lock, arms, cost, label))
        if figure.panels:
            figures.append(figure)
    return figures


def _panel(view: View, lock: Lock, title: str, arms: list[Arm], name: Callable[[Arm], str] = method_name) -> Panel:
    panel = lock_panel(lock, title=title)
    drawn: set[str] = set()
    for arm in sorted(arms, key=lambda arm: (-len(arm.runs), -len(arm.epochs()), arm.key)):
        label = name(arm)
        if label in drawn:
            view.tell(f"{arm.name} ({arm.runs[0].id}): not drawn, another arm of {label} stands there")
            continue
        drawn.add(label)
        panel.series += view.trajectory(label, arm, lambda each, epoch: spent(each, epoch, "graded"))
    return panel


def spent(arm: Arm, epoch: int, cost: str) -> float:
    """What an arm had spent after a round, the mean of its seeds; nothing before the first."""
    if epoch == 0 and not arm.facts.shots:
        return 0.0
    rows = [row for run in arm.runs if (row := last_row(run, "none", epoch=epoch)) is not None]
    return sum(float(row.get(cost) or 0) for row in rows) / max(len(rows), 1)


def _cost_panel(view: View, lock: Lock, arms: list[Arm], cost: str, label: str) -> Panel:
    """A series a method: where k was varied, the reported rounds over k; else the course of training."""
    panel = lock_panel(lock, title=f"{lock.task}: {label}")
    panel.x_label = label
    groups: dict[str, list[Arm]] = defaultdict(list)
    for arm in arms:
        groups[method_group(arm, lock)].append(arm)
    for name, group in sorted(groups.items()):
        if not is_rewarded(group[0]):
            panel.series += _over_k(view, name, group, cost)
        elif cost != "demonstrations":
            longest = max(group, key=lambda arm: (len(arm.runs), len(arm.epochs()), arm.key))
            panel.series += view.trajectory(name, longest, lambda arm, epoch: spent(arm, epoch, cost))
    panel.series = [series for series in panel.series if any(point.x > 0 for point in series.points)]
    return panel


def _over_k(view: View, name: str, group: list[Arm], cost: str) -> list[Series]:
    """What each k cost up to the round that is reported; and the same of the controls."""
    by_k = view.by_k(group).values()
    controls = [control for arm in by_k if (control := view.control_of(arm))]
    series = []
    is_curve = cost == "demonstrations"  # of what else was spent, k is no function
    for label, arms, is_control in ((name, list(by_k), False), (f"control, {name}", controls, True)):
        points = []
        for arm in arms:
            point = chosen_point(0.0, arm)
            if point and (choice := choose(arm)):
                points.append(point._replace(x=spent(arm, choice.epoch, cost)))
        points.sort(key=lambda point: point.x)
        if points:
            series.append(
                Series(label, points, style=name, is_control=is_control, connected=is_curve and len(points) > 1)
            )
    return series


def method_group(arm: Arm, lock: Lock) -> str:
    """Method and whose answers: what curves of costs and comparisons of methods are told apart by."""
    if is_rewarded(arm):
        return method_name(arm) if starts_at_lock(arm) else f"{method_name(arm)} after SFT"
    if arm.facts.shots:
        return "few-shot"
    parts = [method_name(arm)]
    parts += [role] if (role := teacher_role(arm, lock)) != "references" else []
    parts += [f"{', '.join(arm.facts.domains)} alone"] if arm.facts.domains else []
    parts += [] if starts_at_lock(arm) else ["second stage"]
    return ", ".join(parts)


def _from_the_lock(lock: Lock) -> list[Arm]:
    return [arm for arm in lock.elicitations if is_rewarded(arm) and starts_at_lock(arm) and estimate(arm)]


def _reward_name(arm: Arm) -> str:
    """The method's own name, since a study's may say the reward already."""
    name = METHOD_NAMES.get(arm.facts.method, arm.facts.method)
    return f"{name}, continuous" if arm.facts.reward else f"{name}, discrete"
