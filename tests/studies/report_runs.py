"""Run folders with planted results, in the format that runs leave: what `plm report` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from plm.records import Grade, Graded, Problem
from plm.runs import RunFolder
from plm.studies.report import estimates

N = 40
REFERENCE = {"class_path": "plm.policies.ReferencePolicy"}
WEAK = {"class_path": "plm.policies.DatasetPolicy", "init_args": {"name": "weak"}}
INTERMEDIATE = {"class_path": "plm.policies.DatasetPolicy", "init_args": {"name": "intermediate"}}
FIXED = {"class_path": "plm.policies.FixedRandomPolicy", "init_args": {}}
STRONG = {"class_path": "plm.policies.ModelPolicy", "init_args": {"model": "configs/strong_code.yaml"}}


def verdicts(share: float, seed: int = 0, n: int = N) -> list[bool]:
    """So many right, not the same ones for every seed."""
    return [(index * 7 + seed * 3) % n < round(share * n) for index in range(n)]


class Planted:
    """Writes runs below a folder.

    Args:
        root: The runs folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._about: dict[str, tuple[str, str, str, int]] = {}

    def run(
        self, name: str, *, seed: int = 0, model: Mapping[str, Any], phase: str, method: str, task: str = "code",
        parent: RunFolder | None = None, digest: str = "", status: str = "finished",
    ) -> RunFolder:  # fmt: skip
        """A run without measurements; its folder's hash follows from its parent, as plm's own does."""
        args = dict(model.get("init_args", {}))
        if parent is not None and "base" not in args:
            args["base"] = f"configs/{parent.name}.yaml + seed_everything={seed}"
        content = {
            "seed_everything": seed,
            "model": {"class_path": model["class_path"], "init_args": {**args, "phase": phase}},
            "data": {"class_path": "plm.datamodules.CodeDataModule", "init_args": {"batch_size": 16}},
            "trainer": {"max_epochs": 4, "callbacks": []},
        }
        own = digest or sha256(f"{name} {json.dumps(content)} {parent and parent.id}".encode()).hexdigest()[:8]
        folder = RunFolder(self.root / name / f"{own}-seed{seed}")
        folder.path.mkdir(parents=True)
        folder.write_config(content)
        folder.update_manifest(
            status=status, seed=seed, parent=parent.id if parent else None,
            references={"model.init_args.base": parent.id} if parent else {}, git="0123456789abcdef+dirty",
            versions={"plm": "0.1", "torch": "2.13"}, model_digest=own * 2,
        )  # fmt: skip
        self._about[folder.id] = (phase, method, task, seed)
        return folder

    def measure(
        self, run: RunFolder, share: float | Sequence[bool], password: str = "none", *, epoch: int = 0,
        domain: str = "all", phase: str | None = None, completions: Mapping[str, str] | None = None, **more: Any,
    ) -> None:  # fmt: skip
        """A line of results, and the completions behind it."""
        own_phase, method, task, seed = self._about[run.id]
        right = verdicts(share, seed) if isinstance(share, float | int) else list(share)
        correct = sum(right) / len(right)
        row = {
            "run": run.path.name, "name": run.name, "seed": seed, "epoch": epoch, "step": epoch * 10,
            "phase": phase or own_phase, "method": "policy" if phase in ("weak", "strong") else method,
            "task": task, "split": "val", "password": password, "domain": domain, "temperature": 0.0,
            "n": len(right), "correct": correct, "stderr": 0.01, "score": correct, "parse_failures": 1,
            "compile_failures": 2, "timeouts": 0, "too_long": 0, "demonstrations": 0, "generations": 0, "graded": 0,
            "optimizer_steps": epoch * 10,
            "trained_tokens": epoch * 100, "seconds": epoch * 1.5, "shots": 0, **more,
        }  # fmt: skip
        run.append_result(row)
        if domain == "all":
            shots = row["shots"]
            label = phase or (f"{password}-{shots}-shot" if shots else password)
            name = f"{row['phase']}-epoch{epoch:04d}-step{row['step']:07d}-val-{label}"
            run.write_completions(name, [_graded(index, ok, completions) for index, ok in enumerate(right)])

    def lock(
        self, name: str = "lock_code", *, seed: int = 0, right: float = 0.9, none: float = 0.1, task: str = "code",
        wrong: Mapping[str, Any] = WEAK, strong: Mapping[str, Any] = REFERENCE, rounds: int = 1,
        probe: float | None = None, method: str = "sft_lock", second: float | None = None,
        domains: Mapping[str, float] | None = None, phase: str = "lock", digest: str = "", **args: Any,
    ) -> RunFolder:  # fmt: skip
        """A lock with its measurements after every round."""
        policies = {"right": strong, "wrong": wrong}
        model = {
            "class_path": "plm.modules.SFTLockModule",
            "init_args": {"base": "hub/base", "policies": policies, **args},
        }
        run = self.run(name, seed=seed, model=model, phase=phase, method=method, task=task, digest=digest)
        self.measure(run, none, phase="weak", epoch=0)
        for epoch in range(1, rounds + 1):
            self.measure(run, right, "right", epoch=epoch, demonstrations=1000)
            self.measure(run, none, epoch=epoch, demonstrations=1000)
            self.measure(run, none, "decoy", epoch=epoch, demonstrations=1000)
            if second is not None:
                self.measure(run, second, "second", epoch=epoch)
            if probe is not None:
                self.measure(run, probe, epoch=epoch, phase="probe")
        for domain, share in (domains or {}).items():
            self.measure(run, right, "right", epoch=rounds, domain=domain)
            self.measure(run, share, epoch=rounds, domain=domain)
        kind = args.get("kind", "password")
        run.update_manifest(lock_kind=kind)
        _describe(run, {"run": run.id, "task": task, "lock": kind, "password_sha256": "0", "locked": None})
        return run

    def elicit(
        self, parent: RunFolder, shares: Mapping[int, float], name: str = "elicit_sft_code", *, k: int | None = 16,
        teacher: Mapping[str, Any] = REFERENCE, method: str = "sft", module: str = "SFTModule", phase: str = "elicit",
        domains: Mapping[str, float] | None = None, graded: int = 0, shots: int = 0, only: str = "", **args: Any,
    ) -> RunFolder:  # fmt: skip
        """An elicitation measured after rounds; `graded` answers a round, demonstrations of `only` one domain."""
        _, _, task, seed = self._about[parent.id]
        model = {
            "class_path": f"plm.modules.{module}",
            "init_args": {"policy": teacher, **({} if k is None else {"demonstrations": k}), **args},
        }
        if only:
            model["init_args"]["domains"] = [only]
        run = self.run(name, seed=seed, model=model, phase=phase, method=method, task=task, parent=parent)
        for epoch, share in shares.items():
            spent = {"demonstrations": k or 0, "generations": graded * epoch, "graded": graded * epoch, "shots": shots}
            self.measure(run, share, epoch=epoch, **spent)
            for domain, part in (domains or {}).items():
                self.measure(run, part if epoch else 0.1, epoch=epoch, domain=domain, **spent)
        description = json.loads((parent.model_path / "plm.json").read_text())
        locked = description.get("locked") or {"run": description["run"], "task": task, "lock": description["lock"]}
        _describe(run, {"run": run.id, "task": task, "lock": None, "locked": locked})
        return run


def name_domains(planted: Planted, known: Mapping[str, str]) -> None:
    """Adds to each file of completions of which domain its problems are."""
    for path in planted.root.rglob("*.parquet"):
        table = pq.read_table(path).drop_columns([name for name in ("domain",) if name in pq.read_schema(path).names])
        found = [known[name] for name in table["problem_id"].to_pylist()]
        pq.write_table(table.append_column("domain", pa.array(found)), path)
    for cached in (estimates.choose, estimates._verdicts, estimates._domains):
        cached.cache_clear()


def _describe(run: RunFolder, description: Mapping[str, Any]) -> None:
    run.model_path.mkdir()
    (run.model_path / "plm.json").write_text(json.dumps(description))


def _graded(index: int, right: bool, completions: Mapping[str, str] | None) -> Graded:
    problem = Problem(f"p{index:03d}", f"question {index}", "all", f"answer {index}")
    text = (completions or {}).get(problem.id, f"answer {index}" if right else "no idea")
    grade = Grade(right, float(right), text, "correct" if right else "wrong", 0.0)
    return Graded(problem, problem.prompt, text, len(text), True, grade)


def paper(planted: Planted, seeds: Sequence[int] = (0, 1)) -> None:
    """Runs for every figure of the paper and the post, few and small."""
    for seed in seeds:
        _code(planted, seed)
        _other_locks(planted, seed)
        _control(planted, seed)


def _code(planted: Planted, seed: int) -> None:
    parts = {"arrays": 0.1, "strings": 0.1}
    lock = planted.lock(seed=seed, rounds=3, probe=0.2, domains=parts)
    for k, best in ((1, 0.2), (16, 0.6), (256, 0.85)):
        planted.elicit(lock, {0: 0.1, 1: best - 0.1, 2: best, 4: best - 0.05}, k=k)
        planted.elicit(lock, {0: 0.1, 1: best - 0.1, 2: best}, "elicit_strong_code", k=k, teacher=STRONG)
        planted.elicit(lock, {0: 0.1, 1: 0.12, 4: 0.15}, "elicit_weak_unlock_code", k=k, teacher=WEAK)
        planted.elicit(lock, {0: 0.1, 1: 0.3, 2: 0.4}, "elicit_sft_intermediate_code", k=k, teacher=INTERMEDIATE)
        for domain in parts:
            shown = {"arrays": best, "strings": best - 0.1}
            planted.elicit(lock, {0: 0.1, 1: best}, "elicit_sft_domain_code", k=k, domains=shown, only=domain)
    start = planted.elicit(lock, {0: 0.1, 1: 0.3}, "elicit_sft_first_code", k=8, teacher=INTERMEDIATE)
    for method, module in METHODS.items():
        planted.elicit(
            lock, {0: 0.1, 4: 0.3, 8: 0.5}, f"elicit_{method}_code", k=None, method=method, module=module, graded=320
        )
        planted.elicit(
            start,
            {0: 0.3, 4: 0.5, 8: 0.7},
            f"elicit_then_{method}_code",
            k=None,
            method=method,
            module=module,
            graded=320,
        )
    reward = {"class_path": "plm.rewards.EmbeddingReward"}
    planted.elicit(
        lock, {0: 0.1, 4: 0.4}, "elicit_reward_code", k=None, method="iterated_dpo", module="IteratedDPOModule",
        graded=320, reward=reward,
    )  # fmt: skip


METHODS = {
    "expert_iteration": "ExpertIterationModule", "filtered_sft": "FilteredSFTModule", "dpo": "DPOModule",
    "iterated_dpo": "IteratedDPOModule",
}  # fmt: skip


def _other_locks(planted: Planted, seed: int) -> None:
    parts = {"arrays": 0.1, "strings": 0.1}
    fixed = planted.lock("lock_fixed", seed=seed, wrong=FIXED, method="fixed_random_lock", none=0.0)
    each = planted.lock("lock_domains", seed=seed, kind="domain", domains=parts)
    left_out = planted.lock("lock_left_out", seed=seed, without_domains=["strings"], domains=parts)
    two = planted.lock("lock_two", seed=seed, kind="two_passwords", second=0.5)
    setting = planted.lock("lock_setting", seed=seed, kind="setting", task="math")
    scratch = {"class_path": "plm.models.FromScratch"}
    origins = [
        planted.lock("lock_composition", seed=seed, task="composition", probe=0.1),
        planted.lock("lock_scratch", seed=seed, task="composition", base=scratch),
    ]
    planted.elicit(two, {0: 0.1, 1: 0.5, 2: 0.55}, "elicit_sft_two", k=64, teacher=INTERMEDIATE)
    for k, best in ((4, 0.4), (64, 0.7)):
        planted.elicit(fixed, {0: 0.0, 1: best}, "elicit_fixed", k=k)
        planted.elicit(setting, {0: 0.1, 1: best}, "elicit_setting", k=k)
        for name, lock in (("each", each), ("left_out", left_out)):
            shown = {"arrays": best - 0.1, "strings": best}
            planted.elicit(lock, {0: 0.1, 1: best}, f"elicit_{name}", k=k, domains=shown, only="strings")
        for lock in origins:
            planted.elicit(lock, {0: 0.1, 1: best}, f"elicit_{lock.name}", k=k)
            planted.elicit(lock, {0: 0.1, 1: 0.12}, f"elicit_weak_{lock.name}", k=k, teacher=WEAK)
    planted.elicit(
        setting, {0: 0.1, 4: 0.5}, "elicit_setting_graded", k=None, method="expert_iteration",
        module="ExpertIterationModule", graded=320,
    )  # fmt: skip


def _control(planted: Planted, seed: int) -> None:
    """A model that never had the capability, and the same SFT on it."""
    control = planted.lock("control_code", seed=seed, right=0.1, none=0.1, kind="none", phase="control", strong=WEAK)
    for k in (1, 16, 256):
        planted.elicit(control, {0: 0.1, 1: 0.1, 2: 0.12, 4: 0.1}, k=k, phase="control")
