"""What the sources claim, beside what the paper in miniature shows: judges benchmarks/claims.yaml by a study's runs.

    plm study run configs/studies/paper_mini.yaml
    python benchmarks/claims.py                             # of runs/studies/paper_mini
    python benchmarks/claims.py --output docs/claims.md     # writes the page's part between its markers

Each check is a number with a 95 % interval and a criterion that was written beforehand. It *agrees* if the whole
interval meets the criterion, *disagrees* if none of it does, and *cannot tell* in between. That there is an effect at
all (above or below 0) *disagrees* where one of 0.05 or more is excluded. Intervals generalise over problems and seeds
(`plm.studies.statistics`); of differences between locks they are put together from both (Newcombe 1998, method 10).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from plm.bench import describe_machine, write_part
from plm.studies.counts import gap_interval
from plm.studies.report.arms import Arm, last_row
from plm.studies.report.collect import Row, Run, collect
from plm.studies.report.domains import domains_of, over_domains
from plm.studies.report.estimates import choose, estimate, recovered, stacked
from plm.studies.report.view import View
from plm.studies.statistics import Interval, difference_interval

ROOT = Path(__file__).parent.parent
CLAIMS = Path(__file__).with_suffix(".yaml")
STUDY = ROOT / "runs" / "studies" / "paper_mini"
AGREES, DISAGREES, UNKNOWN = "agrees", "disagrees", "cannot tell"
SHOWN = {
    "correct": "correct",
    "recovered": "recovered",
    "rise": "rise",
    "probe": "rise in the probe",
    "overshoot": "best − last round",
}
CRITERIA = ("above", "below", "within")
SMALLEST = 0.05  # the smallest effect that would count as one


class Missing(Exception):
    """A number that the study's runs do not give."""


class Point(NamedTuple):
    """One measurement of an arm: after a round (None is the last), on all problems or on the mean of some domains."""

    arm: Arm
    epoch: int | None
    password: str = "none"
    phase: str | None = None
    domains: tuple[str, ...] = ()

    def interval(self) -> Interval:
        """Correctness.

        Raises:
            Missing: If it was not measured.
        """
        if self.domains:
            found = over_domains(self.arm, self.domains, self.password, self.epoch)
        else:
            found = estimate(self.arm, self.password, epoch=self.epoch, phase=self.phase)
        if found is None:
            raise Missing(f"{self.arm.name}: not measured {self}")
        return Interval(found.value, found.low, found.high, "problems and seeds" if found.seeds > 1 else "problems")

    def above(self, other: Point) -> Interval:
        """By how much it is above another: paired by problem and seed where the two have these in common."""
        seeds = [[run.seed for run in point.arm.runs] for point in (self, other)]
        if seeds[0] == seeds[1] and not self.domains:
            scores = stacked([point._rows() for point in (self, other)])
            if scores:
                return difference_interval(scores[0], scores[1])[0]
        return _gap(self.interval(), other.interval())

    def _rows(self) -> list[tuple[Run, Row | None]]:
        return [(run, last_row(run, self.password, epoch=self.epoch, phase=self.phase)) for run in self.arm.runs]


class Judge:
    """Finds the numbers of checks among a study's arms, by cell or, for what only others need, by the run's name."""

    def __init__(self, view: View) -> None:
        self.arms = {arm.name: arm for arm in reversed(view.arms)}
        self._stamps = {lock.arm: lock.stamp for lock in view.locks if lock.arm}

    def number(self, check: Mapping[str, Any]) -> Interval:
        """What a check shows, or by how much more its first cell shows than its second.

        Raises:
            Missing: If it was not measured, or is undefined.
        """
        first = self._arm(check["of"])
        if "less" not in check:
            return self._shown(first, check)
        second = self._arm(check["less"])
        if check["show"] == "correct":
            return self._point(first, check).above(self._point(second, check))
        return _gap(self._shown(first, check), self._shown(second, check))

    def unverified(self, check: Mapping[str, Any]) -> list[str]:
        """The locks that a check is about and that fail their gate."""
        arms = [self.arms[check[key]] for key in ("of", "less") if check.get(key) in self.arms]
        locks = dict.fromkeys(arm if arm.role == "lock" else arm.lock for arm in arms)
        return [lock.name for lock in locks if lock and self._stamps.get(lock)]

    def _shown(self, arm: Arm, check: Mapping[str, Any]) -> Interval:
        point = self._point(arm, check)
        if check["show"] == "correct":
            return point.interval()
        if check["show"] == "rise":
            return point.above(self._start(point))
        if check["show"] == "overshoot":
            return point.above(point._replace(epoch=None))
        if check["show"] == "probe":
            return point._replace(phase="probe").above(point)
        share, why = recovered(arm, point.epoch)
        if share is None:
            raise Missing(f"{arm.name}: {why}")
        return share

    def _point(self, arm: Arm, check: Mapping[str, Any]) -> Point:
        asked = check.get("round", "best" if arm.chooses_rounds else "last")
        choice = choose(arm) if asked == "best" else None
        epoch = choice.epoch if choice else None if isinstance(asked, str) else int(asked)
        return Point(arm, epoch, check.get("password", "none"), domains=self._domains(check))

    def _domains(self, check: Mapping[str, Any]) -> tuple[str, ...]:
        """The domains that are asked for; `others` are those that the check's first cell was not shown."""
        if check.get("domains") != "others":
            return (check["domains"],) if "domains" in check else ()
        first = self._arm(check["of"])
        return tuple(each for each in domains_of(first) if each not in first.facts.domains)

    def _start(self, point: Point) -> Point:
        """The lock without the password; the arm itself before its first step where it descends from no lock."""
        lock = point.arm.lock
        if lock is not None and not (point.domains and not domains_of(lock)):
            return Point(lock, None, domains=point.domains)
        return point._replace(epoch=0)

    def _arm(self, cell: str) -> Arm:
        if cell not in self.arms:
            raise Missing(f"{cell}: nothing of it is among the runs")
        return self.arms[cell]


def _gap(left: Interval, right: Interval) -> Interval:
    """Of two measurements that have no problems or seeds in common: it generalises over what both do."""
    over = {left.over, right.over}
    return gap_interval(left, right)._replace(over="problems" if "problems" in over else "problems and seeds")


def verdict(interval: Interval, check: Mapping[str, Any]) -> str:
    """Whether an interval meets a check's criterion as a whole, not at all, or in part."""
    low, high = check.get("within", (check.get("above", -math.inf), check.get("below", math.inf)))
    if low < interval.low and interval.high < high:
        return AGREES
    if low == 0 == check.get("above"):
        low = SMALLEST
    if high == 0 == check.get("below"):
        high = -SMALLEST
    return DISAGREES if interval.low > high or interval.high < low else UNKNOWN


def check_line(check: Mapping[str, Any], judge: Judge) -> tuple[str, str]:
    """What a check shows, in words, and its verdict."""
    try:
        found = judge.number(check)
    except Missing as reason:
        return f"not measured ({reason})", UNKNOWN
    words = SHOWN[check["show"]] + (" with the password" if check.get("password") == "right" else "")
    if "domains" in check:
        words += f" on {'the other domains' if check['domains'] == 'others' else check['domains']}"
    if isinstance(check.get("round"), int):
        words += f" after round {check['round']}"
    cells = f"*{check['of']}*" + (f" − *{check['less']}*" if "less" in check else "")
    signed = "+" if "less" in check or check["show"] not in ("correct", "recovered") else ""
    value, low, high = (f"{round(each, 2) + 0.0:{signed}.2f}" for each in found[:3])  # + 0.0: no minus before a zero
    shown = f"**{value}** [{low}, {high}]"
    asked = next(f"{name} {check[name]}" for name in CRITERIA if name in check)
    seeds = "" if found.over == "problems and seeds" else ", one seed"
    result = verdict(found, check)
    if "given" in check and check_line({**check["given"]}, judge)[1] != AGREES:
        seeds, result = f"{seeds}, nothing to compare with", UNKNOWN
    broken = judge.unverified(check)
    stamp = f"; **unverified**: {', '.join(broken)}" if broken else ""
    return f"{words}, {cells}: {shown}{seeds} (asked: {asked}){stamp}", result


def table(claims: Sequence[Mapping[str, Any]], judge: Judge) -> str:
    """A row a claim, and how many checks ended how."""
    lines = ["| claim | what they found | what the miniature shows | verdict | why |", "|---|---|---|---|---|"]
    counts: Counter[str] = Counter()
    for claim in claims:
        found = [check_line(check, judge) for check in claim.get("checks", [])]
        found = found or [(claim["elsewhere"], claim["verdict"])]
        own = Counter(each for _, each in found)
        counts += own
        shown = "<br>".join(f"{text}: {each}" if len(found) > 1 else text for text, each in found)
        verdicts = next(iter(own)) if len(own) == 1 else ", ".join(f"{many} {each}" for each, many in own.items())
        cells = [f"{claim['claim']} ({claim['source']})", claim["found"], shown, verdicts, claim.get("why", "")]
        lines.append(f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)} |")
    total = ", ".join(f"{counts[each]} {each}" for each in (AGREES, DISAGREES, UNKNOWN))
    return f"{sum(counts.values())} checks of {len(claims)} claims: {total}.\n\n" + "\n".join(lines) + "\n"


def main(args: Sequence[str] | None = None) -> int:
    """Reads the study, judges the claims, prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, default=ROOT / "runs" / "studies" / "paper_mini")
    parser.add_argument("--output", type=Path, help="a Markdown page whose part between the markers is replaced")
    parsed = parser.parse_args(args)
    claims = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    collection = collect([parsed.study])
    text = table(claims, Judge(View(collection)))
    made = sorted({str(run.manifest.get("git", "unknown code"))[:7] for run in collection.runs.values()})
    text = f"{len(collection.runs)} runs, made by {', '.join(made)}.\n\n{text}"
    print(text)
    if parsed.output:
        write_part(parsed.output, "claims", f"{describe_machine(ROOT)}\n\n{text}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
