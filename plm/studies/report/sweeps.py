"""Figures over the number of demonstrations: 3, 6, 7, 8, 9a, 12 and 13 of the paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from plm.studies.report.arms import Arm
from plm.studies.report.captions import captioned
from plm.studies.report.estimates import estimate
from plm.studies.report.figure import Figure, Panel
from plm.studies.report.view import TASKS, Lock, View, is_plain_sft, levels, lock_panel, starts_at_lock, teacher_role

K = "demonstrations (k; 0 is before)"
NAMES = {
    "references": "high-quality demonstrations",
    "strong": "demonstrations of the strong policy",
    "intermediate": "demonstrations of an intermediate policy",
    "weak": "demonstrations of the weak policy",
}


def figure_3(view: View) -> Figure:
    """SFT on few demonstrations, by task and by whose demonstrations they are."""
    figure = captioned("figure_03", K)
    for task in _tasks(view):
        lock = view.main_lock(task)
        if lock is None:
            figure.missing += _no_lock(task)
            continue
        panel = lock_panel(lock, "right", "none", "second")
        for role in ("references", "intermediate"):
            arms = by_teacher(lock, role)
            panel.series += view.sweep(NAMES[role], arms, lock=lock)
            if not arms:
                figure.missing.append(f"{task}: no {NAMES[role]}")
        shots = [arm for arm in lock.elicitations if arm.facts.shots and starts_at_lock(arm)]
        panel.series += view.sweep("few-shot prompting", shots, lock=lock)
        figure.keep(panel)
    return figure


def figure_6(view: View) -> Figure:
    """Locked by SFT against locked from scratch, on function composition."""
    figure = captioned("figure_06", K)
    _compare_origins(view, figure, "references")
    return figure


def figure_7(view: View) -> Figure:
    """SFT on samples of the strong policy."""
    figure = captioned("figure_07", K)
    for task in _tasks(view):
        lock = view.main_lock(task)
        arms = by_teacher(lock, "strong") if lock else []
        if lock and not arms and _strong_is_reference(lock):
            arms = by_teacher(lock, "references")  # the lock's strong policy are the references themselves
            figure.notes += [f"{task}: the strong policy are the references, so that this is Figure 3."] if arms else []
        if lock is None or not arms:
            figure.missing += _no_lock(task) if lock is None else [f"{task}: no {NAMES['strong']}"]
            continue
        panel = lock_panel(lock)
        panel.series += view.sweep(NAMES["strong"], arms, lock=lock)
        if by_teacher(lock, "strong"):
            panel.series += view.sweep(NAMES["references"], by_teacher(lock, "references"), lock=lock)
        figure.keep(panel)
    return figure


def figure_8(view: View) -> Figure:
    """SFT on high-quality demonstrations, by what the lock imitates without the password."""
    figure = captioned("figure_08", K)
    for task in _tasks(view):
        locks = [lock for lock in _weak_variants(view, task) if by_teacher(lock, "references")]
        if len({lock.facts.weak for lock in locks}) < 2:
            figure.missing.append(
                f"{task}: locks with different weak policies, elicited by SFT (there is {len(locks)})"
            )
        if not locks:
            continue
        stamps = {lock.stamp for lock in locks} - {""}
        panel = Panel(f"{task}: the lock's weak policy", levels=levels(locks[0], "right"), stamp="".join(stamps))
        for lock in locks:
            panel.series += view.sweep(_weak_name(lock), by_teacher(lock, "references"), lock=lock)
        figure.keep(panel)
    return figure


def setting_sweeps(view: View) -> Figure:
    """SFT on locks by setting, the first half of figure 9."""
    figure = captioned("figure_09", K, columns=2)
    locks = [lock for lock in view.locks if lock.facts.kind == "setting"]
    if not locks:
        figure.missing.append("locks of the kind setting")
    for lock in locks:
        panel = lock_panel(lock, title=f"(a) {lock.name}")
        arms = by_teacher(lock, "references")
        panel.series += view.sweep(NAMES["references"], arms, lock=lock)
        if not arms:
            figure.missing.append(f"{lock.name}: SFT")
        figure.keep(panel)
    return figure


def figure_12(view: View) -> Figure:
    """SFT on few samples of the weak policy."""
    figure = captioned("figure_12", K)
    for task in _tasks(view):
        main = view.main_lock(task)
        soft = [lock for lock in view.locks if lock.task == task and lock.facts.method == "soft_label_lock"]
        for lock in [*([main] if main else []), *soft]:
            panel = lock_panel(lock)
            for role in ("references", "weak"):
                panel.series += view.sweep(NAMES[role], by_teacher(lock, role), lock=lock)
            if not by_teacher(lock, "weak"):
                figure.missing.append(f"{lock.name}: no {NAMES['weak']}")
            figure.keep(panel)
        figure.missing += _no_lock(task) if main is None else []
    if not any(lock.facts.method == "soft_label_lock" for lock in view.locks):
        figure.missing.append("mmlu locked with soft labels")
    return figure


def figure_13(view: View) -> Figure:
    """Weak sample unlocking on function composition."""
    figure = captioned("figure_13", K)
    _compare_origins(view, figure, "weak")
    return figure


def by_teacher(lock: Lock, role: str) -> list[Arm]:
    """Plain SFT on demonstrations of somebody, from the locked model."""
    return [arm for arm in lock.elicitations if is_plain_sft(arm) and teacher_role(arm, lock) == role]


def _compare_origins(view: View, figure: Figure, role: str) -> None:
    """A series for each lock: from scratch, and by SFT on its number of rows."""
    tasks = _tasks(view, only=lambda task: task == "composition" or _has_both_origins(view, task))
    for task in tasks or ["composition"]:
        locks = [lock for lock in view.locks if lock.task == task and (lock.facts.from_scratch or lock.is_plain)]
        panel = Panel(f"{task}: how it was locked")
        for lock in sorted(locks, key=lambda lock: (lock.facts.from_scratch, _problems(lock))):
            panel.series += view.sweep(_origin(lock), by_teacher(lock, role), lock=lock)
            panel.stamp = panel.stamp or lock.stamp
        figure.keep(panel)
        for lock in locks:
            if ceiling := estimate(lock.arm, "right") if lock.arm else None:
                figure.notes.append(f"{task}, {_origin(lock)}: {ceiling.value:.2f} with the password.")
        for origin, found in (("from scratch", True), ("by SFT", False)):
            drawn = [lock for lock in locks if lock.facts.from_scratch == found and by_teacher(lock, role)]
            if not drawn:
                figure.missing.append(f"{task}: a model locked {origin}, with {NAMES[role]}")


def _has_both_origins(view: View, task: str) -> bool:
    return {lock.facts.from_scratch for lock in view.locks if lock.task == task and lock.elicitations} == {True, False}


def _origin(lock: Lock) -> str:
    return "locked from scratch" if lock.facts.from_scratch else f"locked by SFT on {_problems(lock):,} problems"


def _problems(lock: Lock) -> int:
    rows = lock.arm.runs[0].rows if lock.arm else []
    own = [row for row in rows if row["phase"] != "probe" and row["method"] != "policy"]
    return int(own[-1].get("demonstrations") or 0) if own else 0


def _weak_variants(view: View, task: str) -> Iterable[Lock]:
    """The main lock of each weak policy of a task."""
    names = sorted({_weak_name(lock) for lock in view.locks if lock.task == task and _is_variant(lock)})
    for name in names:
        found = [lock for lock in view.locks if lock.task == task and _is_variant(lock) and _weak_name(lock) == name]
        yield max(found, key=lambda lock: len(lock.elicitations))


def _is_variant(lock: Lock) -> bool:
    return lock.is_plain or lock.facts.method == "fixed_random_lock"


def _weak_name(lock: Lock) -> str:
    return "weak rule of the task" if lock.facts.weak == "weak" else lock.facts.weak or "unknown"


def _strong_is_reference(lock: Lock | None) -> bool:
    return lock is not None and lock.facts.strong == "references"


def _no_lock(task: str) -> list[str]:
    """Of the paper's tasks alone: another task is not missing because it has no lock of the paper's main kind."""
    return [f"{task}: no lock"] if task in TASKS else []


def _tasks(view: View, only: Callable[[str], bool] | None = None) -> list[str]:
    """The paper's tasks, then others that have a lock; composition has figures of its own."""
    every = list(TASKS) + [task for task in view.tasks() if task not in TASKS]
    return [task for task in every if (task != "composition" if only is None else only(task))]
