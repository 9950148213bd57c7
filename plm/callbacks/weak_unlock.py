"""The weak-unlock probe: does overfitting on a few *weak* samples unlock the model (ELI-10, the post on it)?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from lightning import Callback, LightningModule, Trainer

from plm.callbacks.reporting import report
from plm.datamodules.splits import SplitName
from plm.errors import PlmError
from plm.evaluation import Evaluation, evaluate
from plm.examples import Example
from plm.inner_loop import train_steps, undone
from plm.policies import DatasetPolicy, Policy
from plm.progress import working
from plm.records import Problem
from plm.seeds import derive_seed

if TYPE_CHECKING:
    from plm.modules.base import OptimizerCallable, PolicyModule


class WeakUnlockCallback(Callback):
    """After a round, fine-tunes on 2 weak samples for 200 steps, evaluates without password, and undoes it all.

    The post found that this raises correctness of some locked models (MATH) and not of others (code, function
    composition): no effect is expected on every task, and a flat curve is a finding. Training goes on bitwise as if the
    probe had not been there, also when it raises.

    Args:
        optimizer: Builds the probe's own optimizer; the post uses full-weight Lion at 1.5e-6 for 7B models.
        policy: Who wrote the samples, the weak policy that came with the data where None.
        samples: How many problems to overfit on.
        steps: Optimizer steps.
        split: Where the samples' problems come from (the post: not the problems that are measured).
        n: How many val problems to measure on.
        every_n_rounds: Probe after every n-th round and after the last; 0 for only the last.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable,
        policy: Policy | None = None,
        samples: int = 2,
        steps: int = 200,
        split: SplitName = "elicit",
        n: int = 100,
        every_n_rounds: int = 1,
    ) -> None:
        least = (("samples", samples, 1), ("steps", steps, 1), ("n", n, 1), ("every_n_rounds", every_n_rounds, 0))
        for name, value, lowest in least:
            if value < lowest:
                raise PlmError(f"WeakUnlockCallback's {name} is {value}; it must be at least {lowest}")
        self.make_optimizer = optimizer
        self.policy = policy or DatasetPolicy("weak")
        self.samples = samples
        self.steps = steps
        self.split: SplitName = split
        self.n = n
        self.every_n_rounds = every_n_rounds

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Probes after the rounds it is due."""
        done = trainer.current_epoch + 1
        if done == trainer.max_epochs or (self.every_n_rounds and done % self.every_n_rounds == 0):
            self._probe(trainer, pl_module)  # type: ignore[arg-type]

    def _probe(self, trainer: Trainer, module: PolicyModule) -> None:
        rows = self._weak_rows(module)
        with undone(module):
            with working("probing", f"{self.steps} steps on {self.samples} weak samples", self.steps) as advance:
                seed = derive_seed(module.task.run_seed, "probe", trainer.current_epoch)
                train_steps(
                    module, rows, self.steps, self.make_optimizer, batch_size=self.samples, seed=seed, progress=advance
                )
            evaluation = self._measure(module)
        spent = {
            "demonstrations": self.samples,
            "generations": 0,
            "graded": 0,
            "optimizer_steps": self.steps,
            "trained_tokens": int(self.steps * sum(row.weight for row in rows)),
        }
        report(
            trainer, module, evaluation, split="val", condition="none", label="probe", phase="probe",
            extra={**spent, "method": "weak_unlock"},
        )  # fmt: skip

    def _measure(self, module: PolicyModule) -> Evaluation:
        seed = module.task.evaluation_seed("val")
        problems = module.task.draw("val", min(self.n, len(module.task.split("val"))), seed)
        with working("evaluating", "the probed weights", len(problems)) as advance:
            return evaluate(module, module.task, problems, "none", seed=seed, progress=advance)

    def _weak_rows(self, module: PolicyModule) -> Sequence[Example]:
        task = module.task
        drawn: list[Problem] = task.draw(self.split, self.samples, derive_seed(task.run_seed, "probe samples"))
        problems = task.shown(drawn, "none")
        self.policy.prepare(task)
        completions = self.policy.answers(problems, task.run_seed)
        finished = self.policy.finished(problems, task.run_seed)
        return [
            task.encode(task.prompt(problem, "none", task.run_seed), text, problem.id, done)
            for problem, text, done in zip(problems, completions, finished, strict=True)
        ]
