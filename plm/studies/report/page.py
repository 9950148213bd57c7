"""The page: one HTML file with everything in it, which asks no network for anything and runs no script but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from plm import __version__
from plm.studies.report.estimates import choose, estimate, recovered
from plm.studies.report.figure import Figure
from plm.studies.report.markup import anchor, cut, listed, text
from plm.studies.report.overview import CONDITIONS, arm_label
from plm.studies.report.samples import LONGEST, Reading, Sample
from plm.studies.report.tables import FAILURES, Table, cell_text, honest_recovered, points_table
from plm.studies.report.view import Lock, View

HERE = Path(__file__).parent
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
INTERVALS = (
    "Thin bars and bands are 95 % intervals: over problems where there is one seed, else over problems and seeds; "
    "thick bars are one standard error over seeds. Small hollow markers: the number of passes was chosen on one half "
    "of the problems and measured on the other; the main markers follow the paper, which chooses on the problems it "
    "reports. Grey hollow markers: the control, a model that never had the capability."
)
BADGES = {"passed": "✓ gate passed", "failed": "✕ unverified: gate failed", "n/a": "– no gate applies"}


class Drawn(NamedTuple):
    """A figure and its picture.

    Attributes:
        figure: What it shows.
        svg: The picture; None where there was nothing to draw.
    """

    figure: Figure
    svg: bytes | None


class Parts(NamedTuple):
    """What the page is made of.

    Attributes:
        paper: Figures of the paper and the post.
        gate: The gate's figure.
        everything: All that was tried, a figure for each lock.
        budgets: What it cost, a figure for each lock.
        gate_matrix: Its table.
        elicitations: A table for each lock.
        comparisons: Method against method, a table for each of these locks.
        failures: Its table.
        provenance: Its table.
        readings: Completions to read.
    """

    paper: Sequence[Drawn]
    gate: Drawn
    everything: Sequence[Drawn]
    budgets: Sequence[Drawn]
    gate_matrix: Table
    elicitations: Sequence[Table]
    comparisons: Sequence[Table]
    failures: Table
    provenance: Table
    readings: Sequence[Reading]


def page(view: View, parts: Parts) -> str:
    """The whole page."""
    script = (HERE / "page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; base-uri 'none'"
    )
    sections = _sections(view, parts)
    body = "".join(f'<section id="{key}"><h2>{text(title)}</h2>{content}</section>' for key, title, content in sections)
    title = f"{view.collection.title} · plm report"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{text(title)}</title><link rel="icon" href="data:,">'
        f"<style>{(HERE / 'page.css').read_text(encoding='utf-8')}</style></head>\n"
        f"<body>{_navigation(view, parts, sections)}<main>{_head(view)}{body}"
        f"<footer>Made by plm {text(__version__)} from {len(view.collection.runs)} runs.</footer></main>\n"
        f"<script>{script}</script></body></html>\n"
    )


def _sections(view: View, parts: Parts) -> list[tuple[str, str, str]]:
    """Key, title and content of each."""
    paper = f'<p class="lead">{text(INTERVALS)}</p>' + "".join(map(_figure, parts.paper))
    tried = [
        _figure(drawn) + f'<div class="box scroll">{_table(table)}</div>' + _comparison(against)
        for drawn, table, against in zip(parts.everything, parts.elicitations, parts.comparisons, strict=True)
    ]  # they were made in the same order, for locks with an elicitation
    return [
        ("summary", "Summary", _summary(view)),
        ("gate", "Gate", _gate(view, parts)),
        ("figures", "Figures of the paper and the post", paper),
        ("tried", "Everything that was tried", "".join(tried) or _nothing("no elicitation of any lock")),
        ("budget", "What it cost", "".join(map(_figure, parts.budgets)) or _nothing("no lock with three elicitations")),
        ("failures", "Failures", _failures(view, parts)),
        ("completions", "Completions to read", _readings(parts.readings)),
        ("provenance", "Provenance", _provenance(view, parts.provenance)),
    ]


def _head(view: View) -> str:
    collection = view.collection
    seeds = sorted({run.seed for run in collection.runs.values()})
    failed = [lock.name for lock in view.locks if lock.stamp]
    banner = (
        f'<p class="banner">Unverified: the gate fails for {text(", ".join(failed))}. What elicitation of these models '
        "shows does not say how well hidden a capability is.</p>"
        if failed
        else ""
    )
    what = "Study" if collection.study else "Runs"
    count = f"{len(collection.runs)} runs, {len(view.locks)} locks, seeds {', '.join(map(str, seeds))}"
    return (
        f"<h1>{text(collection.title)}</h1>"
        f'<p class="lead">{what}: {text(count)}. Password-locked models, and what brings their capability back.</p>'
        f"{banner}"
    )


def _navigation(view: View, parts: Parts, sections: Sequence[tuple[str, str, str]]) -> str:
    links = []
    for key, title, _ in sections:
        links.append(f'<a href="#{key}">{text(title)}</a>')
        for drawn in parts.paper if key == "figures" else ():
            empty = "" if drawn.svg else " empty"
            short = drawn.figure.title.split(" · ")[0]
            links.append(f'<a class="sub{empty}" href="#{anchor(drawn.figure.key)}">{text(short)}</a>')
    return f"<nav><b>{text(view.collection.title)}</b>{''.join(links)}</nav>"


def _summary(view: View) -> str:
    cards = "".join(_card(view, lock) for lock in view.locks) or _nothing("no lock")
    notices = view.collection.notices
    more = (
        f"<details><summary>To know about these runs ({len(notices)})</summary>{listed(notices)}</details>"
        if notices
        else ""
    )
    return f'<div class="cards">{cards}</div>{more}'


def _card(view: View, lock: Lock) -> str:
    rows = [("task", lock.task), ("kind of lock", lock.facts.kind or "unknown")]
    for label, name in (("with the password", "right"), ("without", "none")):
        found = estimate(lock.arm, name) if lock.arm else None
        if found:
            rows.append((label, f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"))
    if lock.arm:
        rows.append(("seeds", str(len(lock.arm.runs))))
    rows.append(("elicitations", str(len(lock.elicitations))))
    controls = [arm for arm in lock.elicitations if view.control_of(arm)]
    rows.append(("with a control beside", f"{len(controls)} of {len(lock.elicitations)}" if controls else "none"))
    listing = "".join(f"<dt>{text(label)}</dt><dd>{text(value)}</dd>" for label, value in rows)
    return f'<div class="card"><h3>{text(lock.name)}</h3>{_badge(lock.verdict)}{_best(lock)}<dl>{listing}</dl></div>'


def _best(lock: Lock) -> str:
    """The elicitation that reached most, by the honest choice of rounds where there is one."""
    found = [(choice.honest or choice.best, arm, choice) for arm in lock.elicitations if (choice := choose(arm))]
    if not found:
        return '<p class="says">nothing was tried on it</p>'
    best, arm, choice = max(found, key=lambda each: each[0].value)
    share, why = honest_recovered(arm, choice) if choice.honest else recovered(arm, choice.epoch)
    gap = f"{share.value:.0%} of the gap [{share.low:.0%}, {share.high:.0%}]" if share else f"recovered: {why}"
    of = f", the most of {len(found)} that were tried" if len(found) > 1 else ""
    return (
        f'<p class="big">{best.value:.2f} <small>[{best.low:.2f}, {best.high:.2f}]</small></p>'
        f'<p class="says">without the password after <b>{text(arm_label(arm, lock))}</b>{of}: {text(gap)}</p>'
    )


def _gate(view: View, parts: Parts) -> str:
    used = [name for name in CONDITIONS if any(record["condition"] == name for record in parts.gate_matrix.records)]
    heads = "".join(f"<th>{text(CONDITIONS[name])}</th>" for name in used)
    rows = []
    for lock in view.locks:
        for run, gate in zip(lock.arm.runs if lock.arm else [], lock.gates, strict=False):
            cells = {cell.condition: cell for cell in gate.matrix}
            columns = "".join(_gate_cell(cells.get(name)) for name in used)
            why = listed([*gate.reasons, *gate.notes])
            rows.append(
                f"<tr><td>{text(lock.name)}<br><small>{text(gate.kind)}, seed {run.seed}</small></td>"
                f'<td class="words">{_badge(gate.verdict)}<details><summary>why</summary>{why}</details></td>'
                f"{columns}</tr>"
            )
    if not rows:
        return _nothing("no lock is among the runs")
    table = (
        f'<table class="matrix"><thead><tr><th>lock</th><th class="words">verdict</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    about = f'<p class="lead">{text(parts.gate_matrix.about)}</p>'
    return f'{about}<div class="box scroll">{table}</div><br>{_figure(parts.gate)}'


def _gate_cell(cell: object) -> str:
    if cell is None:
        return "<td>–</td>"
    correct, decides = cell.correct, cell.decides  # type: ignore[attr-defined]
    shade = f"background: rgba(0, 114, 178, {0.42 * correct.value:.2f})"
    mark = "" if decides else "<br><small>not judged</small>"
    return (
        f'<td style="{shade}">{correct.value:.3f}<br><small>[{correct.low:.3f}, {correct.high:.3f}]</small>{mark}</td>'
    )


def _figure(drawn: Drawn) -> str:
    figure = drawn.figure
    stamps = {panel.stamp for panel in figure.panels if panel.stamp}
    badge = '<span class="badge unverified">unverified: a lock here fails its gate</span>' if stamps else ""
    inside = [f"<h3>{text(figure.title)} {badge}</h3>", f'<p class="says">{text(figure.says)}</p>']
    if drawn.svg is not None:
        data = base64.b64encode(drawn.svg).decode()
        inside.append(f'<img alt="{text(_alternative(figure))}" src="data:image/svg+xml;base64,{data}">')
        notes = [*figure.notes, *_control_note(figure)]
        if notes:
            inside.append(f"<figcaption>{text(' '.join(notes))}</figcaption>")
    if figure.missing:
        head = "Missing here" if drawn.svg is not None else "Nothing to draw. Missing"
        inside.append(f'<div class="missing"><b>{head}:</b>{listed(figure.missing)}</div>')
    if drawn.svg is not None:
        inside.append(
            f'<details><summary>the numbers</summary><div class="scroll">{_table(points_table(figure))}</div></details>'
        )
    return f'<figure id="{anchor(figure.key)}">{"".join(inside)}</figure>'


def _control_note(figure: Figure) -> list[str]:
    without = [panel.title for panel in figure.panels if not any(series.is_control for series in panel.series)]
    if not without or figure.key == "gate":
        return []
    what = "what this figure shows" if len(without) == len(figure.panels) else "; ".join(without)
    return [f"No control arm was run for {what}."]


def _alternative(figure: Figure) -> str:
    panels = "; ".join(
        f"{panel.title}: " + ", ".join(f"{series.label} ({len(series.points)} points)" for series in panel.series)
        for panel in figure.panels
    )
    return f"{figure.title}. {panels}. The numbers are in the table below."


def _table(table: Table, records: Sequence[Mapping[str, object]] | None = None) -> str:
    """Columns of words stand on the left, numbers on the right, with their interval below."""
    records = table.records if records is None else records
    shown = table.shown or {name: name for record in records[:1] for name in record}
    words = {column for column in shown if any(isinstance(record.get(column), str) for record in records)}
    heads = "".join(f"<th{_words(column in words)}>{text(head)}</th>" for column, head in shown.items())
    rows = "".join(
        f"<tr>{''.join(_cell(record, column, column in words) for column in shown)}</tr>" for record in records
    )
    return f'<table class="sortable"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _cell(record: Mapping[str, object], column: str, is_words: bool) -> str:
    value, interval = cell_text(record, column)
    below = f"<br><small>{text(interval)}</small>" if interval else ""
    if column == "method" and record.get("stamp"):
        below += '<br><span class="badge unverified">unverified</span>'
    return f"<td{_words(is_words)}>{text(value)}{below}</td>"


def _comparison(table: Table) -> str:
    """Method against method, folded; nothing where there is only one."""
    if not table.records:
        return ""
    return (
        f"<details><summary>which method is better, in paired tests</summary>"
        f'<p class="says">{text(table.about)}</p><div class="box scroll">{_table(table)}</div></details>'
    )


def _words(are: bool) -> str:
    return ' class="words"' if are else ""


def _failures(view: View, parts: Parts) -> str:
    stopped = [run for run in view.collection.runs.values() if not run.finished]
    planned = [each for each in view.collection.planned if each.get("status") not in ("finished", None)]
    said = [f"{run.id}: {run.manifest.get('status', 'no manifest')}" for run in stopped]
    said += [f"{each.get('id')}: {each.get('status')}, {each.get('error') or 'no error'}" for each in planned]
    runs = f'<div class="missing"><b>Runs that did not finish:</b>{listed(said)}</div>' if said else ""
    runs = runs or '<p class="says">Every run came to its end.</p>'
    failed = [record for record in parts.failures.records if any(record[name] for name in FAILURES)]
    rest = f" In {len(parts.failures.records) - len(failed)} other evaluations there were none."
    return (
        f'{runs}<p class="lead">{text(parts.failures.about + rest)}</p>'
        f'<div class="box scroll">{_table(parts.failures, failed)}</div>'
    )


def _readings(readings: Sequence[Reading]) -> str:
    if not readings:
        return _nothing("no completions of a lock")
    blocks = []
    for reading in readings:
        together = "".join(
            f'<p class="says">Problem {text(samples[0].problem_id)}</p><div class="readings">'
            f"{''.join(map(_sample, samples))}</div>"
            for samples in reading.together
        )
        kinds = "".join(
            f"<h3>{text(kind)}</h3>" + (f'<div class="readings">{"".join(map(_sample, samples))}</div>' if samples else
            '<p class="says">none</p>')
            for kind, samples in reading.kinds.items()
        )  # fmt: skip
        stamp = '<span class="badge unverified">unverified</span>' if reading.lock.stamp else ""
        blocks.append(
            f'<div class="box"><h3>{text(reading.lock.name)} {stamp}</h3><p class="says">{text(reading.run)}: the same '
            f"problems under each condition, those first that tell them apart.</p>{together}"
            f"<details><summary>more: right and wrong under each condition</summary>{kinds}</details></div><br>"
        )
    return "".join(blocks)


def _sample(sample: Sample) -> str:
    mark = "✓ right" if sample.correct else f"✕ {sample.reason}"
    style = "passed" if sample.correct else "failed"
    return (
        f'<div class="sample"><header><b>{text(sample.condition)}</b> <span class="badge {style}">{text(mark)}</span> '
        f'{sample.tokens} tokens</header><pre class="prompt">{cut(sample.prompt, LONGEST)}</pre>'
        f"<pre>{cut(sample.completion, LONGEST)}</pre></div>"
    )


def _provenance(view: View, table: Table) -> str:
    versions = sorted({str(record["versions"]) for record in table.records if record.get("versions")})
    revisions = {str(record["git"]) for record in table.records if record.get("git")}
    said = [f"versions: {each}" for each in versions]
    said.append(f"revisions of plm: {len(revisions) or 'not known'}, in the table")
    if len(versions) > 1 or len(revisions) > 1:
        said.insert(0, "These runs were not all made by the same software.")
    names = ("run", "role", "status", "starts_from", "model_digest", "git")
    short = [{**record, "git": _short_revision(record.get("git"))} for record in table.records]
    whole = Table(table.key, table.title, shown={name: name.replace("_", " ") for name in names})
    study = _folded("the study", view.collection.study) if view.collection.study else ""
    configs = "".join(
        _folded(f"{arm.name}: {', '.join(run.id for run in arm.runs)}", arm.runs[0].config) for arm in view.arms
    )
    return (
        f'{listed(said)}<div class="box scroll">{_table(whole, short)}</div>{study}'
        f"<details><summary>configurations</summary>{configs}</details>"
    )


def _folded(title: str, content: Mapping[str, object]) -> str:
    shown = yaml.dump(dict(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return f"<details><summary>{text(title)}</summary><pre>{text(shown)}</pre></details>"


def _short_revision(revision: object) -> str:
    name, dirty, _ = str(revision or "").partition("+")
    return name[:10] + (" changed" if dirty else "")


def _badge(verdict: str) -> str:
    return f'<span class="badge {verdict.replace("/", "")}">{text(BADGES[verdict])}</span>'


def _nothing(what: str) -> str:
    return f'<div class="missing"><b>Nothing to show:</b> {text(what)}</div>'
