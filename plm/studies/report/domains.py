"""Figures on demonstrations of one domain: 4, 10, 11 and 17 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from plm.studies.report.arms import SAME, Arm, last_row
from plm.studies.report.captions import captioned
from plm.studies.report.estimates import Estimate, average, choose, estimate, halves_of, verdicts
from plm.studies.report.figure import Figure, Level, Panel, Point, Series
from plm.studies.report.sweeps import K, by_teacher
from plm.studies.report.view import Lock, View, lock_panel, starts_at_lock

ONE, EACH = "one password for all", "a password for each domain"


def figure_11(view: View) -> Figure:
    """Correctness averaged over domains, by the domain of the demonstrations."""
    figure = captioned("figure_11", axis="category", columns=2)
    for title, lock in _by_passwords(view):
        figure.keep(_averages(view, lock, f"{lock.name}: {title}"))
    figure.missing += _not_tried(view)
    return figure


def figure_4(view: View) -> Figure:
    """The same as figure 11, each panel's axis on what it shows."""
    whole = figure_11(view)
    panels = [
        replace(panel, y_range=_range(panel), levels=[level for level in panel.levels if level.style != "none"])
        for panel in whole.panels
    ]
    return replace(
        whole, key="figure_04", title="Figure 4 · Demonstrations of one domain", panels=panels,
        notes=["Axes are broken: each panel shows only the range that its points lie in (Figure 11: all of it)."],
    )  # fmt: skip


def figure_10(view: View) -> Figure:
    """Correctness on the other domains over k."""
    figure = captioned("figure_10", K)
    pairs = _by_passwords(view)
    for task, domain in sorted({(lock.task, domain) for _, lock in pairs for domain in _trained_domains(lock)}):
        panel = Panel(f"{task}: shown {domain}, measured on the others")
        for title, lock in pairs:
            if lock.task != task:
                continue
            series = _over_k(view, lock, title, domain)
            if series and not panel.levels:
                panel.levels = _levels(lock, _others(lock, domain))
            panel.series += series
            panel.stamp = panel.stamp or (lock.stamp if series else "")
        figure.keep(panel)
    figure.missing += _not_tried(view)
    return figure


def figure_17(view: View) -> Figure:
    """A domain that was left out of locking."""
    figure = captioned("figure_17", K)
    locks = [lock for lock in view.locks if lock.facts.without_domains]
    if not locks:
        figure.missing.append("a lock with a domain left out")
    for lock in locks:
        for domain in lock.facts.without_domains:
            panel = lock_panel(lock, title=f"{lock.task}: {domain}, shown and measured", domain=domain)
            arms = [arm for arm in _on_domain(lock) if arm.facts.domains == (domain,)]
            panel.series += view.sweep(f"{domain} left out of locking", arms, lock=lock, domain=domain)
            regular = view.main_lock(lock.task, lambda each, domain=domain: _shows(each, domain))  # type: ignore[misc]
            if regular:
                arms = [arm for arm in _on_domain(regular) if arm.facts.domains == (domain,)]
                panel.series += view.sweep(f"{domain} locked too", arms, lock=regular, domain=domain)
            else:
                figure.missing.append(f"{lock.task}: the regular lock, shown {domain} alone")
            figure.keep(panel)
    return figure


def domains_of(arm: Arm, password: str = "none") -> list[str]:
    """Domains that an arm was measured on."""
    found = {
        row["domain"] for run in arm.runs for row in run.rows if SAME.get(row["password"], row["password"]) == password
    }
    return sorted(found - {"all"})


def over_domains(
    arm: Arm, domains: Sequence[str], password: str = "none", epoch: int | None = None,
    only: frozenset[str] | None = None,
) -> Estimate | None:  # fmt: skip
    """Average correctness on some domains, with the combined error of App. B.1.4; None where one is missing.

    Args:
        arm: The runs.
        domains: Which.
        password: The condition.
        epoch: After which round; the last that was measured where None.
        only: Only these problems, by id.
    """
    estimates = [estimate(arm, password, domain=name, epoch=epoch, only=only) for name in domains]
    found = [each for each in estimates if each is not None]
    if not domains or len(found) < len(domains):
        return None
    scores = [verdicts(arm, password, domain=name, epoch=epoch, only=only) for name in domains]
    stacks = [each for each in scores if each is not None]
    if len(stacks) == len(domains) and len({len(each) for each in stacks}) == 1:
        return average(found, stacks)
    rows = [[last_row(run, password, domain, epoch) for domain in domains] for run in arm.runs]
    shares = [[float(row["correct"]) for row in each if row is not None] for each in rows]
    return average(found, by_seed=[sum(each) / len(each) for each in shares if len(each) == len(domains)])


def _averages(view: View, lock: Lock, title: str) -> Panel:
    """A row for each domain of demonstrations, at the largest k that most were shown."""
    panel = Panel(title, stamp=lock.stamp, x_label="correct, average over domains")
    arms = _on_domain(lock)
    if not arms:
        return panel
    ks = [arm.facts.k for arm in arms]
    k = max(set(ks), key=lambda each: (ks.count(each), each or 0))
    domains = domains_of(arms[0])
    shown = [arm for arm in arms if arm.facts.k == k]
    panel.categories = sorted({arm.facts.domains[0] for arm in shown})
    style = f"SFT on k = {k} of one domain"  # another k of the same figure looks different
    for name, is_control in ((style, False), (f"control, {style}", True)):
        points = []
        for arm in shown:
            place = panel.categories.index(arm.facts.domains[0])
            if point := _point(place, view.control_of(arm) if is_control else arm, domains):
                points.append(point)
        if points:
            panel.series.append(Series(name, points, style=style, is_control=is_control, connected=False))
    panel.levels = _levels(lock, domains) + _every_domain(lock, k, domains)
    return panel


def _every_domain(lock: Lock, k: int | None, domains: Sequence[str]) -> list[Level]:
    """As many demonstrations of all domains."""
    arms = [arm for arm in by_teacher(lock, "references") if arm.facts.k == k]
    for arm in sorted(arms, key=lambda arm: not domains_of(arm)):  # one that was measured by domain, if there is any
        choice = choose(arm)
        if choice is not None:
            found = over_domains(arm, domains, epoch=choice.epoch) or choice.best
            return [Level(f"SFT on k = {k} of all domains", found, "all", arm.run_ids)]
    return []


def _over_k(view: View, lock: Lock, title: str, domain: str) -> list[Series]:
    arms = view.by_k(arm for arm in _on_domain(lock) if arm.facts.domains == (domain,))
    others = _others(lock, domain)
    series = []
    for name, is_control in ((title, False), (f"control, {title}", True)):
        points = []
        for k, arm in arms.items():
            if point := _point(k, view.control_of(arm) if is_control else arm, others):
                points.append(point)
        if points and (start := _before(lock, next(iter(arms.values())), others, is_control, view)):
            points.insert(0, start)
        if points:
            series.append(Series(name, points, style=title, is_control=is_control, connected=len(arms) > 1))
    return series


def _before(lock: Lock, arm: Arm, domains: Sequence[str], is_control: bool, view: View) -> Point | None:
    """Before the first step, at x = 0: of the lock if it was measured by domain, else of what starts from it."""
    own = view.control_of(arm) if is_control else arm
    measured = [(lock.arm, None)] if lock.arm and not is_control else []
    for each, epoch in [*measured, *([(own, 0)] if own else [])]:
        if found := over_domains(each, domains, epoch=epoch):
            return Point(0, found, runs=each.run_ids)
    return None


def _point(x: float, arm: Arm | None, domains: Sequence[str]) -> Point | None:
    """Average correctness on some domains in the round that is reported, at x."""
    choice = choose(arm) if arm else None
    found = over_domains(arm, domains, epoch=choice.epoch) if arm and choice else None
    if arm is None or choice is None or found is None:
        return None
    was_chosen = choice.honest is not None and choice.honest is not choice.best
    half = halves_of(arm, "none", choice.honest_epoch) if was_chosen else None
    honest = over_domains(arm, domains, epoch=choice.honest_epoch, only=half[1]) if half else None
    return Point(x, found, honest, arm.run_ids)


def _levels(lock: Lock, domains: Sequence[str]) -> list[Level]:
    """The locked model with the password and without, on some domains."""
    return [level for name in ("right", "none") if lock.arm and (level := _level(lock.arm, name, domains))]


def _level(arm: Arm, password: str, domains: Sequence[str]) -> Level | None:
    found = over_domains(arm, domains, password) or estimate(arm, password)
    label = "locked, with the password" if password == "right" else "locked, without"
    return Level(label, found, password, arm.run_ids) if found else None


def _others(lock: Lock, domain: str) -> list[str]:
    arms = _on_domain(lock)
    return [each for each in domains_of(arms[0]) if each != domain] if arms else []


def _trained_domains(lock: Lock) -> list[str]:
    return sorted({arm.facts.domains[0] for arm in _on_domain(lock)})


def _on_domain(lock: Lock) -> list[Arm]:
    """SFT on demonstrations of one domain, from the locked model."""
    return [
        arm
        for arm in lock.elicitations
        if arm.facts.method == "sft" and len(arm.facts.domains) == 1 and starts_at_lock(arm) and domains_of(arm)
        and arm.facts.teacher == "references"
    ]  # fmt: skip


def _shows(lock: Lock, domain: str) -> bool:
    return any(arm.facts.domains == (domain,) for arm in _on_domain(lock))


def _with_one(view: View) -> list[Lock]:
    return [lock for lock in view.locks if (lock.is_plain or lock.arm is None) and _trained_domains(lock)]


def _with_each(view: View) -> list[Lock]:
    return [lock for lock in view.locks if lock.facts.kind == "domain"]


def _by_passwords(view: View) -> list[tuple[str, Lock]]:
    """Locks with what passwords they have, in words."""
    return [(ONE, lock) for lock in _with_one(view)] + [(EACH, lock) for lock in _with_each(view)]


def _not_tried(view: View) -> list[str]:
    """Kinds of locks that are missing in figures 10 and 11."""
    tried = {title for title, lock in _by_passwords(view) if _trained_domains(lock)}
    return [
        f"SFT on one domain of a lock with {title}, measured by domain" for title in (ONE, EACH) if title not in tried
    ]


def _range(panel: Panel) -> tuple[float, float]:
    """What the points and the lines of elicitation need, a little more on both sides."""
    points = [point for series in panel.series for point in series.points]
    found = [each for point in points for each in (point.estimate, point.honest) if each is not None]
    found += [level.estimate for level in panel.levels if level.style != "none"]
    low, high = min(each.low for each in found), max(each.high for each in found)
    return max(0.0, low - 0.03), min(1.0, high + 0.03)
