"""Measures correctness under password conditions while a model trains (EVL-1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from lightning import Callback, LightningModule, Trainer

from plm.callbacks.reporting import report
from plm.datamodules.splits import SplitName
from plm.errors import PlmError
from plm.evaluation import answer, by_domain, evaluate
from plm.few_shot import draw_shots, few_shot_prefix
from plm.passwords import Condition
from plm.progress import say, working
from plm.records import Problem
from plm.runs import RunFolder

if TYPE_CHECKING:
    from plm.modules.base import PolicyModule


class EvaluationCallback(Callback):
    """Greedy correctness on problems that are never trained on, with and without the password (§4.2 of the paper).

    It leaves no trace in the training: weights, gradients, modes and random states are as before, also when it raises.

    Args:
        conditions: Which prompts to show: `none`, `right`, `decoy` (an unseen wrong password), `near_miss`, …; those
            that the task's kind of lock has where None.
        splits: Which problems.
        n: How many problems of each split, the same ones every time; None for all.
        every_n_rounds: Evaluate after every n-th round and after the last; 0 for only the last.
        rounds: Evaluate after these rounds, counted from 1, and after the last, instead of every n-th.
        at_start: Evaluate before training too.
        temperature: 0 is greedy decoding.
        by_domain: Write a line of results for each domain too (App. B.3 of the paper).
        shots: How many solved problems stand before each question (few-shot prompting, ELI-14).
    """

    def __init__(
        self,
        conditions: Sequence[Condition] | None = None,
        splits: Sequence[SplitName] = ("val",),
        n: int | None = 200,
        every_n_rounds: int = 1,
        at_start: bool = False,
        temperature: float = 0.0,
        by_domain: bool = False,
        rounds: Sequence[int] | None = None,
        shots: int = 0,
    ) -> None:
        if n is not None and n < 1:
            raise PlmError(f"EvaluationCallback's n is {n}; it must be at least 1, or null for all problems")
        self.conditions = conditions
        self.splits = splits
        self.n = n
        self.every_n_rounds = every_n_rounds
        self.at_start = at_start
        self.temperature = temperature
        self.by_domain = by_domain
        if rounds is not None and (not rounds or min(rounds) < 1):
            raise PlmError(f"EvaluationCallback's rounds are {list(rounds)}; they are counted from 1")
        if shots < 0:
            raise PlmError(f"EvaluationCallback's shots is {shots}; it must be at least 0")
        self.rounds = rounds
        self.shots = shots

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluates before the first step, if asked to."""
        if self.at_start and trainer.global_step == 0:
            self._evaluate(trainer, pl_module)  # type: ignore[arg-type]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluates after the rounds it is due, and after the last, also where an empty round ends the run early."""
        done = trainer.current_epoch + 1
        due = (
            self.every_n_rounds > 0 and done % self.every_n_rounds == 0 if self.rounds is None else done in self.rounds
        )
        if due or done == trainer.max_epochs or trainer.num_training_batches == 0:
            self._evaluate(trainer, pl_module)  # type: ignore[arg-type]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluates for `plm validate`."""
        if trainer.state.fn == "validate":
            self._evaluate(trainer, pl_module)  # type: ignore[arg-type]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Evaluates every problem of the splits for `plm test`."""
        self._evaluate(trainer, pl_module, everything=True)  # type: ignore[arg-type]

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Writes completions without grading them, for `plm predict`."""
        module: PolicyModule = pl_module  # type: ignore[assignment]
        for split, condition, problems, seed in self._cells(module):
            seeds = [seed + index for index in range(len(problems))]
            with working("answering", f"{split} · password: {condition}", len(problems)) as advance:
                answers = answer(
                    module,
                    module.task,
                    problems,
                    condition,
                    self.temperature,
                    seeds,
                    prompt_seed=seed,
                    progress=advance,
                )
            if trainer.is_global_zero:
                RunFolder.of(trainer).write_completions(f"predict-{split}-{condition}", answers)
            say(f"  {split:<8} {condition:<12} {len(answers)} completions")

    def _evaluate(self, trainer: Trainer, module: PolicyModule, everything: bool = False) -> None:
        for split, condition, problems, seed in self._cells(module, everything):
            shots = draw_shots(module.task, self.shots, problems, condition) if self.shots else []
            prefix = few_shot_prefix(module.task, shots)
            with working("evaluating", f"{split} · password: {condition}", len(problems)) as advance:
                evaluation = evaluate(
                    module, module.task, problems, condition, temperature=self.temperature, seed=seed, prefix=prefix,
                    progress=advance,
                )  # fmt: skip
            parts = by_domain(evaluation) if self.by_domain else {}
            for domain, part in {"all": evaluation, **parts}.items():
                report(
                    trainer, module, part, split=split, condition=condition, label=self._label(condition),
                    temperature=self.temperature, domain=domain, extra=self._extra(module),
                )  # fmt: skip

    def _label(self, condition: Condition) -> str:
        return f"{condition}-{self.shots}-shot" if self.shots else condition

    def _extra(self, module: PolicyModule) -> dict[str, int]:
        """How many shots, on every line; they are demonstrations that were used, too."""
        spent = module.task.budget.demonstrations
        return {"shots": self.shots, **({"demonstrations": max(self.shots, spent)} if self.shots else {})}

    def _cells(
        self, module: PolicyModule, everything: bool = False
    ) -> Iterator[tuple[SplitName, Condition, list[Problem], int]]:
        """Split, condition, problems and seed of each evaluation."""
        for split in self.splits:
            seed = module.task.evaluation_seed(split)
            problems = module.task.draw(split, None if everything else self._count(module, split), seed)
            for condition in self.conditions or module.task.passwords.evaluated:
                yield split, condition, problems, seed

    def _count(self, module: PolicyModule, split: SplitName) -> int | None:
        return None if self.n is None else min(self.n, len(module.task.split(split)))
