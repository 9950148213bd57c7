"""The arms as figures look at them: by lock, each with its gate and its controls."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass, field, replace

from plm.errors import PlmError
from plm.studies.gate import GateResult, gate_of
from plm.studies.report.arms import Arm, make_arms
from plm.studies.report.collect import Collection
from plm.studies.report.estimates import Choice, choose, estimate
from plm.studies.report.facts import METHOD_NAMES, REWARDED, Facts
from plm.studies.report.figure import Level, Panel, Point, Series

TASKS = ("code", "math", "critique", "mmlu")  # of the paper's figures, in their order


@dataclass
class Lock:
    """A locked model, over its seeds, and what was tried on it.

    Attributes:
        name: The study's, or its configuration's, or its run's where it is not among the runs.
        arm: Its runs; None where they are not there.
        gates: A verdict for each run.
        elicitations: Arms that descend from it.
    """

    name: str
    arm: Arm | None
    gates: list[GateResult] = field(default_factory=list)
    elicitations: list[Arm] = field(default_factory=list)

    @property
    def task(self) -> str:
        """The task that is locked."""
        arms = [self.arm] if self.arm else self.elicitations
        return arms[0].facts.task if arms and arms[0] else ""

    @property
    def title(self) -> str:
        """What panels and tables call it."""
        return f"{self.task}: {self.name}"

    @property
    def facts(self) -> Facts:
        """What the lock is; of a lock that is not there, the task alone is known."""
        return self.arm.facts if self.arm else Facts(self.task, "")

    @property
    def verdict(self) -> str:
        """`passed` where every seed passes, `failed` where one fails, else `n/a`."""
        verdicts = {gate.verdict for gate in self.gates}
        return next((each for each in ("failed", "passed") if each in verdicts), "n/a")

    @property
    def stamp(self) -> str:
        """What every output about it is marked with."""
        return "unverified" if self.verdict == "failed" else ""

    @property
    def is_plain(self) -> bool:
        """Whether it is the paper's main kind: one password, a pretrained model, SFT, every domain."""
        facts = self.facts
        return facts.kind == "password" and facts.method == "sft_lock" and not (
            facts.from_scratch or facts.without_domains or facts.relocked
        )  # fmt: skip


class View:
    """Everything that figures and tables ask for.

    Args:
        collection: What was read.
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.arms = make_arms(collection)
        self.locks = sorted(_locks(self.arms, collection), key=_rank)
        self.controls = [arm for arm in self.arms if arm.role == "control" and not is_control_model(arm)]
        self._told: set[str] = set()

    def part(self, number: str) -> View:
        """What a study's file puts into a figure of that number; everything where it names no cells for it."""

        def belongs(arm: Arm | None) -> bool:
            return arm is not None and number in {str(each) for each in arm.runs[0].planned.get("figures") or ()}

        if not any(belongs(arm) for arm in self.arms):
            return self
        part = copy(self)
        part.locks = []
        for lock in self.locks:
            tried = [arm for arm in lock.elicitations if belongs(arm)]
            if tried or belongs(lock.arm):
                part.locks.append(replace(lock, elicitations=tried))
        return part

    def tasks(self) -> list[str]:
        """Tasks with a lock, the paper's first."""
        found = {lock.task for lock in self.locks}
        return [task for task in TASKS if task in found] + sorted(found - set(TASKS))

    def main_lock(self, task: str, test: Callable[[Lock], bool] | None = None) -> Lock | None:
        """Of a task's plain locks, the one that most was tried on."""
        plain = [lock for lock in self.locks if lock.task == task and (lock.is_plain or lock.arm is None)]
        found = [lock for lock in plain if test is None or test(lock)]
        return max(found, key=lambda lock: (len(lock.elicitations), lock.arm is not None), default=None)

    def control_of(self, arm: Arm) -> Arm | None:
        """The same elicitation of a model that never had the capability."""
        cell = arm.runs[0].planned.get("cell")
        for control in self.controls:
            planned = control.runs[0].planned.get("control_of")
            if planned == cell if planned else recipe(control) == recipe(arm):
                return control
        return None

    def tell(self, text: str) -> None:
        """Puts a notice on the page, once."""
        if text not in self._told:
            self._told.add(text)
            self.collection.notices.append(text)

    def one_each(self, arms: Iterable[Arm], key: Callable[[Arm], float]) -> dict[float, Arm]:
        """One arm for each value of x: the one with most seeds, then most rounds; the reader is told of others."""
        best: dict[float, Arm] = {}
        for arm in sorted(arms, key=lambda arm: (len(arm.runs), len(arm.epochs()), arm.key)):
            place = key(arm)
            if place in best:
                self.tell(f"{best[place].name} ({best[place].runs[0].id}): not drawn where {arm.runs[0].id} stands")
            best[place] = arm
        return dict(sorted(best.items()))

    def by_k(self, arms: Iterable[Arm]) -> dict[float, Arm]:
        """One arm for each number of demonstrations or shots, as `one_each` chooses."""
        return self.one_each(arms, lambda arm: float(arm.facts.k or 0))

    def sweep(self, label: str, arms: Iterable[Arm], *, lock: Lock, domain: str = "all") -> list[Series]:
        """Correctness without the password over k, from the locked model at 0 on; and the same of the controls."""
        by_k = self.by_k(arm for arm in arms if arm.facts.k is not None)
        points = [point for k, arm in by_k.items() if (point := chosen_point(k, arm, domain))]
        controls = [(k, control) for k, arm in by_k.items() if (control := self.control_of(arm))]
        rise = [point for k, arm in controls if (point := chosen_point(k, arm, domain))]
        series = []
        if points:
            # one k alone is no curve: a line from 0 to it would show what was not measured
            series.append(Series(label, [*before(lock, domain), *points], style=label, connected=len(points) > 1))
        if rise:
            start = start_point(controls[0][1], domain)
            series.append(
                Series(f"control, {label}", [*start, *rise], style=label, is_control=True, connected=len(rise) > 1)
            )
        return series

    def trajectory(self, label: str, arm: Arm, x: Callable[[Arm, int], float]) -> list[Series]:
        """Correctness without the password over the course of training; and the same of the control."""
        series = []
        for each, is_control in ((arm, False), (self.control_of(arm), True)):
            if each is None:
                continue
            points = [
                Point(x(each, epoch), found, runs=each.run_ids)
                for epoch in each.epochs()
                if (found := estimate(each, epoch=epoch))
            ]
            name = f"control, {label}" if is_control else label
            series.append(Series(name, points, style=label, is_control=is_control))
        return [each for each in series if each.points]


def recipe(arm: Arm) -> tuple[object, ...]:
    """What was done to a model, whichever model it was."""
    parent = arm.parent.facts if arm.parent and not starts_at_lock(arm) else None
    return (arm.facts._replace(weak="", strong="", kind=""), parent)


def is_plain_sft(arm: Arm) -> bool:
    """Whether it is SFT on demonstrations of every domain, from the locked model itself."""
    facts = arm.facts
    return facts.method == "sft" and not (facts.shots or facts.domains or facts.weights) and starts_at_lock(arm)


def starts_at_lock(arm: Arm) -> bool:
    """Whether the locked model itself is trained, or the control, and not one that was elicited before."""
    parent = arm.parent
    return parent is None or parent.role not in ("elicit", "control") or is_control_model(parent)


def is_control_model(arm: Arm) -> bool:
    """Whether it is the control's own training, which stands for base and lock, and not an elicitation of it."""
    return arm.role == "control" and (arm.facts.method.endswith("_lock") or arm.parent is None)


def is_rewarded(arm: Arm) -> bool:
    """Whether it learns from graded answers."""
    return arm.facts.method in REWARDED


def teacher_role(arm: Arm, lock: Lock) -> str:
    """Whose demonstrations: `references`, `strong`, `weak` or `intermediate`, relative to what the lock imitates."""
    teacher = arm.facts.teacher
    if teacher == "references":
        return "references"
    if teacher in ("weak", "fixedrdm", "uniform") or teacher == lock.facts.weak or teacher.startswith("model weak"):
        return "weak"
    if teacher.startswith("model strong") or (teacher and teacher == lock.facts.strong):
        return "strong"
    return "intermediate"


def method_name(arm: Arm) -> str:
    """What a legend calls its method: the study's word, or the method's own."""
    labels = arm.runs[0].planned.get("labels") or {}
    if labels.get("method"):
        return str(labels["method"])
    facts = arm.facts
    if facts.shots:
        return "few-shot"
    if facts.weights:
        return facts.weights
    name = METHOD_NAMES.get(facts.method, facts.method)
    return f"{name}, {facts.reward}" if facts.reward else name


def chosen_point(x: float, arm: Arm, domain: str = "all") -> Point | None:
    """The round that is reported, at x."""
    choice: Choice | None = choose(arm, domain=domain)
    if choice is None:
        return None
    several = len([epoch for epoch in arm.epochs("none", domain) if epoch]) > 1
    honest = choice.honest if several and arm.chooses_rounds else None
    return Point(x, choice.best, honest, arm.run_ids)


def before(lock: Lock, domain: str = "all") -> list[Point]:
    """The locked model without the password, at x = 0."""
    found = estimate(lock.arm, "none", domain=domain) if lock.arm else None
    if found is not None and lock.arm is not None:
        return [Point(0, found, runs=lock.arm.run_ids)]
    starts = [each for each in lock.elicitations if 0 in each.epochs("none", domain) and starts_at_lock(each)]
    return start_point(starts[0], domain) if starts else []


def start_point(arm: Arm, domain: str = "all") -> list[Point]:
    """What an arm was measured at before its first step, at x = 0."""
    found = estimate(arm, "none", domain=domain, epoch=0)
    return [Point(0, found, runs=arm.run_ids)] if found else []


def levels(lock: Lock, *names: str, domain: str = "all") -> list[Level]:
    """Lines to compare with: `right`, `none`, and `weak` for the weak policy's own answers."""
    found = []
    for name in names or ("right", "none"):
        label = {"right": "locked, with the password", "none": "locked, without", "second": "locked, second password"}
        phase = name if name in ("weak", "strong") else None
        measured = estimate(lock.arm, "none" if phase else name, domain=domain, phase=phase) if lock.arm else None
        if measured and lock.arm:
            style = "policy" if phase else name
            found.append(Level(label.get(name, f"the {name} policy"), measured, style, lock.arm.run_ids))
    return found


def lock_panel(lock: Lock, *names: str, title: str = "", domain: str = "all") -> Panel:
    """An empty panel about a lock: its title where none is given, its mark, and the lines that `levels` makes."""
    return Panel(title or lock.title, levels=levels(lock, *names, domain=domain), stamp=lock.stamp)


def _rank(lock: Lock) -> tuple[object, ...]:
    """The paper's tasks first; of a task, plain locks first, then by how much was tried."""
    place = TASKS.index(lock.task) if lock.task in TASKS else len(TASKS)
    return (place, lock.task, not lock.is_plain, -len(lock.elicitations), lock.name)


def _locks(arms: list[Arm], collection: Collection) -> list[Lock]:
    named = Counter(arm.runs[0].name for arm in arms if arm.role == "lock")
    locks = {arm.key: Lock(_lock_name(arm, named), arm, _gates(arm, collection)) for arm in arms if arm.role == "lock"}
    descended: dict[str, list[Arm]] = defaultdict(list)
    for arm in arms:
        if arm.role != "elicit":
            continue
        if arm.lock is not None and arm.lock.key in locks:
            locks[arm.lock.key].elicitations.append(arm)
        elif name := next((each for each in arm.lock_ids if each), None):
            descended[name.split("/")[0]].append(arm)
    for name, elicitations in descended.items():
        collection.notices.append(f"{name}: this lock is not among the runs, so that there is no ceiling and no gate")
        locks[f"missing {name}"] = Lock(name, None, [], elicitations)
    return list(locks.values())


def _lock_name(arm: Arm, named: Counter[str]) -> str:
    """The study's name, or the configuration's; with the cell, or a part of the key, where several locks share that."""
    if name := arm.runs[0].planned.get("model"):
        return str(name)
    name = arm.runs[0].name
    return name if named[name] == 1 else f"{name} ({arm.name if arm.name != name else arm.key[:6]})"


def _gates(arm: Arm, collection: Collection) -> list[GateResult]:
    asked = collection.study.get("gate") or {}
    thresholds = {name: float(asked[name]) for name in ("min_gap", "max_leak") if name in asked}
    gates = []
    for run in arm.runs:
        try:
            gates.append(gate_of(run.folder, **thresholds))
        except PlmError as error:
            collection.notices.append(f"{run.id}: its gate cannot be judged ({error})")
    return gates
