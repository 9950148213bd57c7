"""What a run did, read from its configuration: the words that figures and tables sort by."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from plm.identity import numbers_of
from plm.studies.report.collect import Collection, Run

METHOD_NAMES = {
    "sft": "SFT",
    "masked_sft": "SFT, masked",
    "expert_iteration": "expert iteration",
    "filtered_sft": "filtered SFT",
    "dpo": "DPO",
    "iterated_dpo": "iterated DPO",
    "reward_weighted_dpo": "reward-weighted DPO",
    "grpo": "GRPO",
    "weak_unlock": "weak unlocking",
}
REWARDED = ("expert_iteration", "filtered_sft", "dpo", "iterated_dpo", "reward_weighted_dpo", "grpo")
"""Methods that learn from graded answers of their own."""


class Facts(NamedTuple):
    """What a run did.

    Attributes:
        task: Name of the task.
        method: Name of the method.
        teacher: Whose answers it trained on: `references`, `weak`, `intermediate`, `teacher`, `model NAME`, `fixedrdm`.
        k: Demonstrations asked for, or shots; None for a whole split.
        shots: Solved problems before each question.
        domains: Domains that the demonstrations are of; empty for all.
        reward: What takes the place of the grader's score; empty for the score itself.
        weights: What was done to the weights (`noised`, `scaled`, `averaged`); empty where they were trained.
        weak: For a lock, whom it imitates without the password.
        strong: For a lock, whom it imitates with it.
        kind: For a lock, its kind.
        from_scratch: For a lock, whether it began with random weights.
        without_domains: For a lock, the domains that were left out.
        relocked: For a lock, whether overfitting on weak samples was part of it.
    """

    task: str
    method: str
    teacher: str = ""
    k: int | None = None
    shots: int = 0
    domains: tuple[str, ...] = ()
    reward: str = ""
    weights: str = ""
    weak: str = ""
    strong: str = ""
    kind: str = ""
    from_scratch: bool = False
    without_domains: tuple[str, ...] = ()
    relocked: bool = False


def facts_of(run: Run) -> Facts:
    """Reads a run's configuration."""
    model = run.config.get("model") or {}
    args = model.get("init_args") or {}
    own = [row for row in run.rows if row["phase"] != "probe" and row["method"] != "policy"] or run.rows
    shots = max((int(row.get("shots") or 0) for row in own), default=0)
    k = args.get("demonstrations")
    policies = args.get("policies") or {}
    callbacks = (run.config.get("trainer") or {}).get("callbacks") or []
    base = args.get("base")
    return Facts(
        task=str(own[-1]["task"]) if own else "",
        method=str(own[-1]["method"]) if own else class_name(model),
        teacher=policy_label(args.get("policy")),
        k=shots or (int(k) if isinstance(k, int) else None),
        shots=shots,
        domains=tuple(args.get("domains") or ()),
        reward=class_name(args.get("reward")),
        weights=_weights_label(base),
        weak=policy_label(policies.get("wrong") or policies.get("weak_setting") or policies.get("none")),
        strong=policy_label(policies.get("right") or policies.get("strong_setting")),
        kind=_kind(run, args),
        from_scratch=class_name(base) == "FromScratch",
        without_domains=tuple(args.get("without_domains") or ()),
        relocked=any(class_name(each) == "RelockingCallback" for each in callbacks),
    )


def policy_label(entry: Any) -> str:
    """Short name of a policy in a configuration."""
    name, args = class_name(entry), _args(entry)
    if not name:
        return ""
    if name == "ReferencePolicy":
        return "references"
    if name == "FixedRandomPolicy":
        return "uniform" if args.get("uniform") else "fixedrdm"
    if name == "ModelPolicy":
        return f"model {_stem(args.get('model'))}"
    return str(args.get("name") or name)


def class_name(entry: Any) -> str:
    """The class of a configuration's entry, without its module; empty for what is none."""
    path = entry.get("class_path") if isinstance(entry, Mapping) else None
    return str(path).rpartition(".")[2] if path else ""


def arm_keys(collection: Collection) -> dict[str, str]:
    """Key of each run's arm, by run id: equal for runs that differ in nothing but seeds.

    It is the cell of a study, or else the configuration with the parents' own keys in it. The folder's hash does not
    do, since it holds the identity of the parent, which has a seed too.
    """
    keys: dict[str, str] = {}
    for run in collection.runs.values():
        _arm_key(run, collection, keys)
    return keys


def _arm_key(run: Run, collection: Collection, keys: dict[str, str]) -> str:
    if run.id in keys:
        return keys[run.id]
    keys[run.id] = run.name  # stands in, should references ever go in a circle
    if run.planned.get("cell"):
        keys[run.id] = f"{run.planned['cell']} ({run.role})"
        return keys[run.id]
    parents = {}
    for key, reference in (run.manifest.get("references") or {}).items():
        other = collection.runs.get(str(reference))
        parents[key] = _arm_key(other, collection, keys) if other else str(reference).split("/")[0]
    try:
        numbers = numbers_of(run.config, parents)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):  # a manifest that names what is not there
        numbers = dict(run.config)
    numbers.pop("seed_everything", None)
    text = json.dumps([run.name, numbers], sort_keys=True, default=str)
    keys[run.id] = sha256(re.sub(r"seed_everything=\d+", "", text).encode()).hexdigest()[:12]
    return keys[run.id]


def _weights_label(base: Any) -> str:
    """`scaled, factor 1.1`: what a source of models does to the weights of other models."""
    name = class_name(base)
    if not name or name == "FromScratch":
        return ""
    said = [name.lower()]
    for key, value in _args(base).items():
        if isinstance(value, list):
            said.append(f"{len(value)} runs")
        elif key != "seed" and isinstance(value, float):
            said.append(f"{key} {value:g}")
    return ", ".join(said)


def _args(entry: Any) -> Mapping[str, Any]:
    args = entry.get("init_args") if isinstance(entry, Mapping) else None
    return args if isinstance(args, Mapping) else {}


def _stem(reference: Any) -> str:
    """`configs/weak_code.yaml + seed_everything=1` is the model `weak_code`."""
    first = str(reference).split("+")[0].strip()
    return re.sub(r"\.ya?ml$", "", first.rstrip("/").rpartition("/")[2])


def _kind(run: Run, args: Mapping[str, Any]) -> str:
    if run.role != "lock":
        return ""
    manifest = run.manifest.get("lock_kind")
    return str(manifest or run.description.get("lock") or args.get("kind") or "password")
