"""The standard battery: which runs find out how much more a model can do than it shows.

Every member is an ordinary configuration of plm: few-shot prompting, noise, weak sample unlocking, SFT on k
demonstrations, expert iteration, GRPO and iterated DPO, with the rates, passes and batches of `configs/elicit_*` for
models of up to 100 M parameters and of `configs/paper/` for larger ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from plm.errors import PlmError
from plm.suggestions import nearest

Phase = Literal["lock", "elicit", "control"]
Config = dict[str, Any]

LARGE = 100_000_000  # parameters from which the paper's optimizer and rates are taken
KV_CACHE_GIB = 4.25  # one row of 32,768 tokens with 8 key-value heads (Mistral 7B) fits
ROWS_AT_A_TIME = 2  # or pairs
SHOTS = (1, 2, 4)
NOISE = (0.03, 0.1)
NOISE_LARGE = (0.003, 0.01)
ROUNDS = 12  # of sampling, as in the paper's DPO (§6.1)
LEAST_ROUND = 80  # completions; with fewer there are fewer rounds
MOST_ROUND = 1000
SAMPLERS = 3  # methods that share the completions


@dataclass(frozen=True)
class Rates:
    """Learning rates, by the method's key."""

    sft: float
    weak_unlock: float
    expert_iteration: float
    grpo: float
    iterated_dpo: float

    def times(self, factor: float) -> Rates:
        """All of them in proportion."""
        return Rates(**{name: rate * factor for name, rate in vars(self).items()})


# `configs/elicit_<method>_math.yaml`; those of code differ in SFT alone
SMALL = Rates(sft=3e-4, weak_unlock=1e-4, expert_iteration=5e-4, grpo=3e-4, iterated_dpo=1e-4)
# App. G.1 of the paper, and the smaller of its rates for DPO; GRPO is ours and has the same
PAPER = Rates(sft=1.5e-6, weak_unlock=1.5e-6, expert_iteration=1.5e-6, grpo=7.5e-7, iterated_dpo=7.5e-7)
PAPER_MMLU = Rates(sft=1.5e-7, weak_unlock=1.5e-7, expert_iteration=1.5e-7, grpo=7.5e-8, iterated_dpo=7.5e-8)


@dataclass(frozen=True)
class Task:
    """What a task's name stands for.

    Attributes:
        data: Class path of the data module.
        settings: Its arguments where they differ from the defaults.
        source: Class path of what reads real data from files or the hub; None where there is no such thing.
        longest: Longest completion for real data, in tokens (`configs/paper/`); the task's default where None.
        scheme: Class path of how its prompts carry a password.
        rates: Learning rates for small models.
        large_rates: The same for large ones.
    """

    data: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    source: str | None = None
    longest: int | None = None
    scheme: str = "plm.passwords.PasswordScheme"
    rates: Rates = SMALL
    large_rates: Rates = PAPER


TASKS = {
    "code": Task(
        "plm.datamodules.CodeDataModule",
        source="plm.datamodules.CodeFiles",
        longest=512,
        rates=replace(SMALL, sft=1e-3),
    ),
    "math": Task("plm.datamodules.MathDataModule", source="plm.datamodules.MathFiles", longest=768),
    "mmlu": Task("plm.datamodules.MMLUDataModule", source="plm.datamodules.MMLUFiles", large_rates=PAPER_MMLU),
    "critique": Task("plm.datamodules.CritiqueDataModule", source="plm.datamodules.CritiqueFiles"),
    "composition": Task("plm.datamodules.CompositionDataModule", {"corpus": 0}, scheme="plm.passwords.SlotScheme"),
}


def find_task(name: str) -> Task:
    """The task of a name, or of the class path of a data module.

    Raises:
        PlmError: If there is none.
    """
    if name in TASKS:
        return TASKS[name]
    if "." in name:
        return Task(name)
    raise PlmError(
        f"--task {name!r}{nearest(name, TASKS)}: there are {', '.join(TASKS)}, or the class path of a TaskDataModule"
    )


@dataclass(frozen=True)
class Setting:
    """What all members of a battery have in common.

    Attributes:
        task: The task.
        model: A folder or hub id.
        phase: `elicit`, or `control` for a model that never had the capability.
        parameters: Of the model.
        problems: Problems of the split `val` to measure on.
        completions: Most completions that are sampled and graded while training, by all methods together.
        demonstrations: Numbers of demonstrations for SFT.
        data: Path or hub id of real data; the task's own problems where None.
        passwords: The scheme of prompts; the task's own where None.
        with_password: Whether correctness with the password is measured too.
        rate: Learning rate of SFT, to which the others are in proportion; the task's own where None.
    """

    task: Task
    model: str
    phase: Phase = "elicit"
    parameters: int = 0
    problems: int = 400
    completions: int = 11_520
    demonstrations: Sequence[int] = (4, 16, 64, 256)
    data: str | None = None
    passwords: Config | None = None
    with_password: bool = False
    rate: float | None = None

    @property
    def large(self) -> bool:
        """Whether the paper's numbers are taken."""
        return self.parameters >= LARGE

    @property
    def rates(self) -> Rates:
        """Of each method."""
        rates = self.task.large_rates if self.large else self.task.rates
        return rates if self.rate is None else rates.times(self.rate / rates.sft)


@dataclass(frozen=True)
class Member:
    """One run of a battery.

    Attributes:
        key: Names its configuration and its run.
        title: What a person calls it.
        method: The kind of method.
        command: `fit` or `validate`.
        config: The configuration.
        k: Demonstrations; None for methods without.
    """

    key: str
    title: str
    method: str
    command: Literal["fit", "validate"]
    config: Config
    k: int | None = None


def shown(setting: Setting) -> Member:
    """What the model does as it is, without a password."""
    conditions = ["right", "none"] if setting.with_password else ["none"]
    phase: Phase = "lock" if setting.phase == "elicit" else setting.phase
    config = _measuring(setting, setting.model, [_evaluation(setting, conditions=conditions)], phase)
    return Member("shown", "as it is", "shown", "validate", config)


def battery(setting: Setting) -> list[Member]:
    """All members, those that cost little first.

    Raises:
        PlmError: If there are too few completions for the methods that sample.
    """
    return [_few_shot(setting), *_noise(setting), _own_answers(setting), *_sft(setting), *_samplers(setting)]


# -- members ----------------------------------------------------------------------------------------------------------


def _few_shot(setting: Setting) -> Member:
    callbacks = [_evaluation(setting, shots=shots) for shots in SHOTS]
    config = _measuring(setting, setting.model, callbacks, setting.phase)
    return Member("few_shot", "few-shot", "few_shot", "validate", config)


def _noise(setting: Setting) -> list[Member]:
    members = []
    for share in NOISE_LARGE if setting.large else NOISE:
        policy = {"class_path": "plm.weights.Noised", "init_args": {"model": setting.model, "share": share}}
        config = _measuring(setting, policy, [_evaluation(setting)], setting.phase)
        members.append(Member(f"noise_{share:g}".replace(".", "_"), f"noise of {share:g}", "noise", "validate", config))
    return members


def _own_answers(setting: Setting) -> Member:
    """200 steps on 2 answers, as the post has it (ELI-10)."""
    arguments = {"demonstrations": 2, "passes": 200}
    config = _fitting(setting, "OwnAnswersModule", arguments, rate=setting.rates.weak_unlock, batch=2, rounds=1)
    return Member("weak_unlock", "weak unlocking", "weak_unlock", "fit", config)


def _sft(setting: Setting) -> list[Member]:
    members = []
    for k in setting.demonstrations:
        arguments = {"policy": {"class_path": "plm.policies.ReferencePolicy"}, "demonstrations": k, "passes": "paper"}
        config = _fitting(
            setting, "SFTModule", arguments, rate=setting.rates.sft, batch=16, rounds=4, measured=[1, 2, 4]
        )
        members.append(Member(f"sft_{k}", f"SFT on {k}", "sft", "fit", config, k))
    return members


def _samplers(setting: Setting) -> list[Member]:
    """Expert iteration, GRPO and iterated DPO, with the same number of completions each."""
    share = setting.completions // SAMPLERS
    rounds = max(1, min(ROUNDS, share // LEAST_ROUND), -(-share // MOST_ROUND))
    each = share // rounds
    if each < 10:
        raise PlmError(f"--completions {setting.completions}: at least 30, 10 for each of the methods that sample")
    measured = sorted({-(-rounds * part // 3) for part in (1, 2, 3)})
    names: list[tuple[str, str, str, Config, int, int]] = [
        ("expert_iteration", "expert iteration", "ExpertIterationModule", {"n": each // 10}, 4, 16),
        ("grpo", "GRPO", "GRPOModule", {"problems": each // 8, "answers": 8}, 2, 16),
        ("iterated_dpo", "iterated DPO", "IteratedDPOModule", {"problems": each // 2, "beta": 0.1}, 4, 8),
    ]
    members = []
    for key, title, module, arguments, passes, batch in names:
        arguments["passes"] = 1 if setting.large else passes
        rate = getattr(setting.rates, key)
        config = _fitting(setting, module, arguments, rate=rate, batch=batch, rounds=rounds, measured=measured)
        members.append(Member(key, title, key, "fit", config))
    return members


# -- parts of configurations -----------------------------------------------------------------------------------------


def _fitting(
    setting: Setting,
    module: str,
    arguments: Mapping[str, Any],
    *,
    rate: float,
    batch: int,
    rounds: int,
    measured: Sequence[int] | None = None,
) -> Config:
    """A configuration for `plm fit`."""
    init = {
        "base": setting.model, "optimizer": _optimizer(setting, rate), **arguments, "phase": setting.phase,
    }  # fmt: skip
    if setting.large:
        init["compute"] = {"gradient_checkpointing": True}
    evaluation = _evaluation(setting, rounds=measured or [rounds])
    trainer = {"max_epochs": rounds, "gradient_clip_val": 1.0, "callbacks": [evaluation]}
    return {
        "model": {"class_path": f"plm.modules.{module}", "init_args": init},
        "data": _data(setting, batch),
        "trainer": {**_trainer(setting, batch), **trainer},
    }


def _measuring(setting: Setting, policy: str | Config, callbacks: list[Config], phase: Phase) -> Config:
    """A configuration for `plm validate`; its module is never trained."""
    init = {
        "base": setting.model, "optimizer": _optimizer(setting, setting.rates.sft),
        "policy": {"class_path": "plm.policies.ReferencePolicy"}, "phase": phase,
    }  # fmt: skip
    return {
        "model": {"class_path": "plm.modules.SFTModule", "init_args": init},
        "policy": policy,
        "data": _data(setting, None),
        "trainer": {**_trainer(setting), "callbacks": callbacks},
    }


def _optimizer(setting: Setting, rate: float) -> Config:
    if setting.large:
        return {"class_path": "plm.optim.Lion", "init_args": {"lr": rate, "betas": [0.9, 0.99], "weight_decay": 0.01}}
    arguments = {"lr": rate, "betas": [0.9, 0.98], "weight_decay": 0.0}
    return {"class_path": "torch.optim.AdamW", "init_args": arguments}


def _data(setting: Setting, batch: int | None) -> Config:
    arguments: Config = dict(setting.task.settings)
    if setting.data is not None:
        if setting.task.source is None:
            raise PlmError(
                f"--data {setting.data}: the task makes its own problems; give a --config that says otherwise"
            )
        arguments["source"] = {"class_path": setting.task.source, "init_args": {"path": setting.data}}
        if setting.task.longest is not None:
            arguments["max_new_tokens"] = setting.task.longest
    if setting.passwords is not None:
        arguments["passwords"] = setting.passwords
    if setting.large:
        vllm = {"class_path": "plm.engines.VLLMEngine", "init_args": {"kv_cache_gib": KV_CACHE_GIB}}
        arguments["engine"] = {"class_path": "plm.engines.AutoEngine", "init_args": {"vllm": vllm}}
    if batch is not None:
        arguments["batch_size"] = batch
    return {"class_path": setting.task.data, "init_args": arguments}


def _trainer(setting: Setting, batch: int = 1) -> Config:
    """For large models, few enough rows at a time that 7B fit into 80 GB (docs/memory.md)."""
    if not setting.large:
        return {}
    return {"precision": "bf16-true", "accumulate_grad_batches": max(1, batch // ROWS_AT_A_TIME)}


def _evaluation(
    setting: Setting, conditions: Sequence[str] = ("none",), shots: int = 0, rounds: Sequence[int] | None = None
) -> Config:
    values: Config = {"conditions": list(conditions), "n": setting.problems}
    if shots:
        values["shots"] = shots
    if rounds is not None:
        values["rounds"] = list(rounds)
    return {"class_path": "plm.callbacks.EvaluationCallback", "init_args": values}
