"""Relocking: overfit on a few weak samples now and then *while* locking, and keep it (LCK-10, the post)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning import Callback, LightningModule, Trainer

from plm.datamodules.splits import SplitName
from plm.errors import PlmError
from plm.examples import Example
from plm.inner_loop import train_steps
from plm.passwords import Condition
from plm.policies import DatasetPolicy, Policy
from plm.seeds import derive_seed, untouched_rng

if TYPE_CHECKING:
    from plm.modules.base import OptimizerCallable, PolicyModule


class RelockingCallback(Callback):
    """After every 128th optimizer step of locking, fine-tunes on a few weak samples, and goes on from there.

    The lock then learns to stay weak where weak-sample unlocking would have led it. The post says that unlocking by few
    samples disappears like this, and comes back after fine-tuning on 2,000 weak samples. It gives neither the number of
    samples nor of steps: our defaults are those of its unlocking, 2 samples and 200 steps; the samples are others each
    time. Unlike the other callbacks this one moves weights. It comes before anything that saves a checkpoint, so a
    checkpoint holds every relocking up to its step, once.

    Args:
        optimizer: Builds the optimizer, afresh each time; the lock's own keeps its state.
        policy: Who wrote the samples, the weak policy that came with the data where None.
        every_n_steps: Optimizer steps of locking between two times.
        samples: How many problems to overfit on.
        steps: Optimizer steps to take on them.
        split: Where the samples' problems come from.
        condition: What their prompts look like: `none` shows no password.
    """

    def __init__(
        self,
        optimizer: OptimizerCallable,
        policy: Policy | None = None,
        every_n_steps: int = 128,
        samples: int = 2,
        steps: int = 200,
        split: SplitName = "lock",
        condition: Condition = "none",
    ) -> None:
        for name, value in (("every_n_steps", every_n_steps), ("samples", samples), ("steps", steps)):
            if value < 1:
                raise PlmError(f"RelockingCallback's {name} is {value}; it must be at least 1")
        self.make_optimizer = optimizer
        self.policy = policy or DatasetPolicy("weak")
        self.every_n_steps = every_n_steps
        self.samples = samples
        self.steps = steps
        self.split: SplitName = split
        self.condition: Condition = condition

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Relocks when an optimizer step is done, its last micro-batch included, and it is due."""
        step_done = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        if step_done and trainer.global_step % self.every_n_steps == 0:
            self._relock(pl_module, trainer.global_step)  # type: ignore[arg-type]

    def _relock(self, module: PolicyModule, step: int) -> None:
        budget, seed = module.task.budget, derive_seed(module.task.run_seed, "relocking", step)
        with untouched_rng():
            rows = self._rows(module, seed)
            train_steps(module, rows, self.steps, self.make_optimizer, batch_size=self.samples, seed=seed)
        module.task.count_demonstrations(row.problem_id for row in rows)
        budget.optimizer_steps += self.steps
        budget.trained_tokens += round(self.steps * sum(row.weight for row in rows))  # the step's own clock is running

    def _rows(self, module: PolicyModule, seed: int) -> list[Example]:
        task = module.task
        self.policy.prepare(task)
        problems = task.shown(task.draw(self.split, self.samples, seed), self.condition)
        written = zip(problems, self.policy.answers(problems, seed), self.policy.finished(problems, seed), strict=True)
        return [
            task.encode(task.prompt(problem, self.condition, seed), text, problem.id, done)
            for problem, text, done in written
        ]
