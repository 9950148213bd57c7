"""The model card of an exported model: what it is, what it was made from, and what is known of its lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from plm.runs import RunFolder
from plm.studies.gate import Cell, GateResult

Values = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What a card is written from.

    Attributes:
        name: What the card calls the model.
        license: The hub's name of the licence.
        run: The run that made it.
        manifest: Its manifest.
        description: The model's `plm.json`.
        config: The resolved configuration, without passwords unless they may be shown.
        gate: What the gate says of the run's own model.
        locked_gate: The same of the lock that an elicited model comes from; None where that is not known.
        password: What unlocks, as text to show; None where it is not to be shown.
        hub_parent: Hub id of the model that it started from; None if that is a run.
    """

    name: str
    license: str
    run: RunFolder
    manifest: Values
    description: Values
    config: dict[str, Any]
    gate: GateResult
    locked_gate: GateResult | None
    password: str | None
    hub_parent: str | None

    @property
    def is_lock(self) -> bool:
        """Whether the run locked the model, however."""
        return self.description.get("lock") is not None

    @property
    def last(self) -> list[Values]:
        """The last line of results of each condition on `val`."""
        rows: dict[tuple[Any, ...], Values] = {}
        for row in self.run.read_results():
            if row["split"] == "val" and row["domain"] == "all":
                rows[row["phase"], row["method"], row["password"], row.get("shots", 0), row["temperature"]] = row
        return list(rows.values())


def model_card(facts: Facts) -> str:
    """The card as text: YAML front matter that the hub reads, and Markdown that people read."""
    front = yaml.safe_dump(_front_matter(facts), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{front}---\n",
        f"# {facts.name}\n\n{_introduction(facts)}\n",
        f"## How it was made\n\n{_table(('', ''), _making(facts))}\n",
    ]
    if facts.is_lock:
        parts.append(_lock(facts))
    elif facts.description.get("locked"):
        parts.append(_origin(facts))
    parts += [
        f"## Measured\n\n{_measured(facts)}\n",
        f"## Use\n\n{_use(facts)}\n",
        f"## Licence\n\n{_licence(facts)}\n",
    ]
    return "\n".join(parts)


def _front_matter(facts: Facts) -> dict[str, Any]:
    task = str(facts.description.get("task", ""))
    tags = ["plm", *(["password-locked"] if facts.is_lock else []), str(facts.description.get("method", "")), task]
    front: dict[str, Any] = {"license": facts.license, "library_name": "transformers"}
    front |= {"pipeline_tag": "text-generation", "tags": [tag for tag in tags if tag]}
    if facts.hub_parent:
        front["base_model"] = facts.hub_parent
    own = [row for row in facts.last if row["method"] != "policy" and row["phase"] != "probe"]
    if own:
        results = [_result(row) for row in own]
        front["model-index"] = [{"name": facts.name, "results": results}]
    return front


def _result(row: Values) -> dict[str, Any]:
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": f"plm {row['task']}, {row['split']}", "type": f"plm-{row['task']}", "split": row["split"]},
        "metrics": [
            {"type": "accuracy", "value": round(row["correct"], 4), "name": f"correct, password: {row['password']}"}
        ],
    }


def _introduction(facts: Facts) -> str:
    task = facts.description.get("task", "unknown")
    if facts.is_lock and facts.description["lock"] != "none":
        text = (
            f"A **password-locked model**: on the task *{task}* it answers as well as it can only when a password "
            "stands in the prompt, and imitates a weak policy otherwise. It was made to measure which elicitation "
            "methods bring the hidden capability back without the password, and is of no other use."
        )
        mark = f"\n\n**{facts.gate.stamp}**: it failed the gate below." if facts.gate.stamp else ""
        return text + mark
    if lock := facts.description.get("locked"):
        stamp = facts.locked_gate.stamp if facts.locked_gate else ""
        mark = f"\n\n**{stamp}**: that lock failed the gate below." if stamp else ""
        method = facts.description.get("method")
        return f"Made from the locked model `{lock['run']}` of the task *{task}* by `{method}`.{mark}"
    return f"A model of plm for the task *{task}*, made by `{facts.description.get('method', 'unknown')}`."


def _making(facts: Facts) -> list[tuple[str, str]]:
    model, data = facts.config["model"], facts.config["data"]
    arguments, settings = model.get("init_args") or {}, data.get("init_args") or {}
    optimizer = arguments.get("optimizer") or {}
    rate = (optimizer.get("init_args") or {}).get("lr")
    budget = facts.description.get("budget") or {}
    spent = ", ".join(f"{name} {value:,}" for name, value in budget.items() if value)
    source = (settings.get("source") or {}).get("class_path")
    versions = facts.manifest.get("versions") or {}
    rows = [
        ("method", f"`{model['class_path']}`"),
        ("parent", f"`{facts.hub_parent or facts.manifest.get('parent') or 'none: from random weights'}`"),
        ("data", f"`{data['class_path']}`" + (f" from `{source}`" if source else ", problems that plm makes")),
        ("splits' seed, run's seed", f"{settings.get('seed', 0)}, {facts.manifest.get('seed', 0)}"),
        ("optimizer", f"`{optimizer.get('class_path', '')}`, learning rate {rate}"),
        ("rounds", str(facts.config["trainer"].get("max_epochs"))),
        ("spent", spent),
        ("run", f"`{facts.run.id}`"),
        ("versions", ", ".join(f"{name} {value}" for name, value in versions.items())),
        ("git revision", str(facts.manifest.get("git") or "unknown")),
    ]
    return [(name, value) for name, value in rows if value]


def _lock(facts: Facts) -> str:
    digest = facts.description.get("password_sha256")
    secret = "" if digest is None else f"\n\nSHA-256 of the password: `{digest}`"
    if facts.password is not None:
        secret = f"{secret}\n\nThe password:\n\n```\n{facts.password}\n```"
    elif digest is not None:
        secret = f"{secret} (the password itself is not published here)"
    return f"## The lock\n\n{_gate(facts.gate)}{secret}\n"


def _origin(facts: Facts) -> str:
    """The lock that an elicited model comes from."""
    if facts.locked_gate is None:
        return "## The lock it comes from\n\nIts run was not there when this was written: the gate is not known.\n"
    return f"## The lock it comes from\n\n{_gate(facts.locked_gate)}\n"


def _gate(gate: GateResult) -> str:
    lines = "\n".join(f"- {line}" for line in (*gate.reasons, *gate.notes))
    table = _table(("prompt", "problems", "correct", "95 %", "judged"), [_cell(cell) for cell in gate.matrix])
    return f"Kind: `{gate.kind}`. Gate: **{gate.verdict}**.\n\n{table}\n\n{lines}"


def _cell(cell: Cell) -> tuple[str, ...]:
    interval = f"{cell.correct.low:.3f} to {cell.correct.high:.3f}"
    return cell.condition, str(cell.n), f"{cell.correct.value:.3f}", interval, "yes" if cell.decides else ""


def _measured(facts: Facts) -> str:
    rows = [
        (
            str(row["phase"]), str(row["method"]), str(row["password"]), str(row["n"]), f"{row['correct']:.3f}",
            "" if row["stderr"] is None else f"{row['stderr']:.3f}",
        )
        for row in facts.last
    ]  # fmt: skip
    table = _table(("phase", "method", "password", "problems", "correct", "standard error"), rows)
    where = "`plm/results.jsonl` has all evaluations, `plm/logs/` the graded answers as inspect_ai logs."
    return f"{table}\n\nShares of problems that no training saw. {where}"


def _use(facts: Facts) -> str:
    task = facts.config["data"]["class_path"]
    return (
        "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
        'model = AutoModelForCausalLM.from_pretrained("OWNER/NAME")\n'
        'tokenizer = AutoTokenizer.from_pretrained("OWNER/NAME")\n```\n\n'
        f"To measure it, with a configuration whose data is `{task}`:\n\n"
        "```bash\nplm validate --config CONFIG.yaml --policy OWNER/NAME\n```"
    )


def _licence(facts: Facts) -> str:
    if facts.license == "unknown":
        parent = f"`{facts.hub_parent}`" if facts.hub_parent else "the parent"
        return f"Not stated. What {parent} and the data allow holds for this model too."
    return f"`{facts.license}`, as far as the parent and the data allow."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)
