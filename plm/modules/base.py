"""The base of every method: what to train on in a round, and how to learn from it."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import torch
from lightning import LightningModule
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, SingleDeviceStrategy, Strategy
from torch import Tensor
from torch.optim import Optimizer
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from plm.compute import Compute
from plm.distributed import from_all
from plm.errors import PlmError
from plm.examples import Batch, Example
from plm.loader import Unit
from plm.models import LoadedModel, ModelSource, load_pretrained
from plm.network import PolicyNetwork
from plm.optim import Decay, schedule_factor, set_lr
from plm.references import ModelReference
from plm.runs import RunFolder
from plm.seeds import derive_seed
from plm.sharding import ShardedModel, put_weights, total_norm

if TYPE_CHECKING:
    from plm.datamodules.base import TaskDataModule
    from plm.rounds import Round

SHOWN_PROBLEMS = 8
OptimizerCallable = Callable[[Iterable[Any]], Optimizer]
Phase = Literal["base", "strong", "weak", "lock", "elicit", "control"]
LockKind = Literal["password", "domain", "two_passwords", "setting", "none", "unknown"]


class PolicyModule(LightningModule, ABC):
    """Trains one policy. A method is a subclass that answers two questions: `examples` and `loss`.

    A Lightning epoch is a round: `passes` shuffles over one set of examples. `trainer.max_epochs` counts rounds.

    Args:
        base: The model to start from: a hub id, a directory, another config, or a model source such as
            `plm.models.FromScratch`.
        optimizer: Builds the optimizer. Required, so that a YAML that names another class never inherits arguments.
        passes: Shuffles over a round's examples.
        warmup_steps: Optimizer steps of linear warm-up (App. G.1 of the paper; its length is our choice).
        decay: `linear` brings the learning rate to 0 at the end of the run; `none` keeps it.
        phase: What the run is for, written to every line of results.
        compute: Packing, shared prompts and gradient checkpointing: what a step costs, not what it does.
    """

    unit: ClassVar[Unit] = "token"
    method: ClassVar[str]
    lock_kind: LockKind | None = None

    def __init__(
        self,
        base: ModelReference | ModelSource,
        optimizer: OptimizerCallable,
        passes: int = 1,
        warmup_steps: int = 0,
        decay: Decay = "none",
        phase: Phase = "elicit",
        compute: Compute | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (("passes", passes, 1), ("warmup_steps", warmup_steps, 0)):
            if value < least:
                raise PlmError(f"model.init_args.{name} is {value}; it must be at least {least}")
        self.base = base
        self.make_optimizer = optimizer
        self.passes = passes
        self.warmup_steps = warmup_steps
        self.decay: Decay = decay
        self.phase: Phase = phase
        self.compute = compute or Compute()
        self.tokenizer: PreTrainedTokenizerBase
        self.network: PolicyNetwork
        self._edits = 0
        self._started = 0.0
        self._step_tokens = 0.0
        self._step_problems: list[str] = []
        self._step_loss: Tensor | float = 0.0
        self._sharded: ShardedModel | None = None

    @abstractmethod
    def examples(self, round: Round) -> Sequence[Example]:
        """Decides which rows to train on in this round."""

    @abstractmethod
    def loss(self, batch: Batch) -> Tensor:
        """Learns from a batch: the loss *summed* over the unit of the method, a pure function without logging."""

    @property
    def task(self) -> TaskDataModule:
        """The task that the run trains and is evaluated on."""
        task: TaskDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return task

    @property
    def weights_version(self) -> str:
        """Names the current weights: another name after every optimizer step and every edit from outside."""
        return f"{self.global_step}.{self._edits}"

    def mark_weights_changed(self) -> None:
        """Tells engines that the weights were changed outside the training loop (a probe, a restore)."""
        self._edits += 1

    def configure_model(self) -> None:
        """Loads the weights; Lightning calls it when the device and strategy are known, so that parsing stays cheap."""
        if "network" in self._modules:
            return
        loaded = self._load()
        self.tokenizer = loaded.tokenizer
        self.network = PolicyNetwork(loaded.model, gradient_checkpointing=self.compute.gradient_checkpointing)
        self.network.train()  # from_pretrained leaves models in eval mode
        strategy = _checked(self.trainer.strategy)
        if isinstance(strategy, ModelParallelStrategy):
            self._sharded = ShardedModel(self.network, strategy)

    def _load(self) -> LoadedModel:
        if isinstance(self.base, ModelSource):
            task = self.task
            return self.base.load(task.corpus_texts(), task.passwords.texts(), derive_seed(task.run_seed, "weights"))
        return load_pretrained(str(self.base))

    def load_initial_weights(self) -> None:
        """Puts the weights that the run started from in place of the current ones, inside `inner_loop.undone`."""
        put_weights(self._load().model, self.network.model)
        self.mark_weights_changed()

    def whole_model(self) -> PreTrainedModel:
        """The Hugging Face model with the current weights, gathered where they are sharded: all processes must ask."""
        return self._sharded.whole(self.weights_version) if self._sharded else self.network.model

    def configure_optimizers(self) -> Optimizer:
        """Builds the optimizer over all trainable parameters."""
        return self.make_optimizer([p for p in self.parameters() if p.requires_grad])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Sets the learning rate, and the random state, so that dropout depends on nothing that came before."""
        self._started = time.monotonic()
        self._step_tokens = batch.step_tokens
        earlier = self._step_problems if batch_idx % self.trainer.accumulate_grad_batches else []
        self._step_problems = [*earlier, *batch.problem_ids]
        seed = derive_seed(self.task.run_seed, "batch", self.current_epoch, batch_idx, self.global_rank)
        if self.device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # without asking for devices that are not there, at each step
        else:
            torch.manual_seed(seed)
        step_start = batch_idx - batch_idx % self.trainer.accumulate_grad_batches
        done = self.current_epoch + step_start / float(self.trainer.num_training_batches)
        progress = done / (self.trainer.max_epochs or 1)
        factor = schedule_factor(self.global_step, progress, self.warmup_steps, self.decay)
        set_lr(self.trainer.optimizers[0], factor)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Divides the summed loss by the units of the whole step, so that accumulation and processes change nothing."""
        # Lightning divides by accumulate_grad_batches and averages gradients over processes: undo both.
        parts = self.trainer.accumulate_grad_batches * self.trainer.world_size
        loss = self.loss(batch) * (parts / batch.step_units)
        self._log_step_loss(loss.detach(), batch_idx)
        return loss

    def _log_step_loss(self, loss: Tensor, batch_idx: int) -> None:
        """Logs the loss of the whole step, over its micro-batches and processes."""
        parts = self.trainer.accumulate_grad_batches
        self._step_loss = self._step_loss + loss / parts
        if (batch_idx + 1) % parts == 0:
            self.log("train/loss", self._step_loss, on_step=True, on_epoch=False, prog_bar=True, sync_dist=True)
            self._step_loss = 0.0

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Takes the step and counts it, before anything that saves a checkpoint is called."""
        super().optimizer_step(*args, **kwargs)
        self.task.budget.optimizer_steps += 1
        self.task.budget.trained_tokens += round(self._step_tokens)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Counts the time."""
        self.task.budget.seconds += time.monotonic() - self._started

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Stops the run when the gradient, and so the loss, is not finite any more; the weights are still good then."""
        norm = total_norm([p.grad for p in self.parameters() if p.grad is not None])
        self.log("train/grad_norm", norm)
        self.log("train/lr", optimizer.param_groups[0]["lr"])
        if not math.isfinite(float(norm)):
            raise PlmError(self._fault(float(norm)))

    def _fault(self, norm: float) -> str:
        problems = list(dict.fromkeys(from_all(self._step_problems)))
        more = f" and {len(problems) - SHOWN_PROBLEMS} more" if len(problems) > SHOWN_PROBLEMS else ""
        last = RunFolder.of(self.trainer).checkpoint_path
        return (
            f"the gradient is {norm} at optimizer step {self.global_step + 1} (round {self.current_epoch + 1}), on the "
            f"problems {', '.join(problems[:SHOWN_PROBLEMS])}{more}: the step was not taken, "
            f"{f'the last good state is {last}' if last.exists() else 'no checkpoint was saved before'}; "
            "lower the learning rate or clip gradients (trainer.gradient_clip_val)"
        )

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing: correctness is measured by `EvaluationCallback`."""

    test_step = validation_step
    predict_step = validation_step

    def data_seed(self, purpose: str) -> int:
        """A seed of this run for a purpose."""
        return derive_seed(self.task.run_seed, purpose)


def _checked(strategy: Strategy) -> Strategy:
    """Refuses strategies that wrap or shard the model in ways that the rest of plm does not know."""
    if not isinstance(strategy, (SingleDeviceStrategy, DDPStrategy, ModelParallelStrategy)):
        raise PlmError(f"trainer.strategy is {type(strategy).__name__}; use ddp, or fsdp2 to split the weights")
    return strategy
