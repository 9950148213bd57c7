"""Evaluation and probe leave no trace, also when they raise in the middle."""

import copy
import random

import numpy as np
import pytest
import torch
from lightning import Callback

from plm.callbacks import EvaluationCallback, WeakUnlockCallback
from plm.inner_loop import undone
from tests.runs import EVALUATION, PROBE, config, fit, lock, plm, source, write


def state(trainer, module):
    """Everything that decides how training goes on."""
    return copy.deepcopy(
        {
            "weights": {name: tensor.detach().clone() for name, tensor in module.state_dict().items()},
            "identity": [id(parameter) for parameter in module.parameters()],
            "gradients": [None if p.grad is None else p.grad.clone() for p in module.parameters()],
            "optimizer": trainer.optimizers[0].state_dict(),
            "modes": [child.training for child in module.modules()],
            "random": (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()),
            "grad": torch.is_grad_enabled(),
            "threads": torch.get_num_threads(),
        }
    )


def equal(left, right):
    if isinstance(left, torch.Tensor):
        return torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(equal, left, right))
    return left == right


class Watch(Callback):
    """Compares the state before and after the callbacks between two of these."""

    before: dict | None = None
    compared = 0

    def on_train_epoch_end(self, trainer, module):
        if Watch.before is None:
            Watch.before = state(trainer, module)
            return
        after = state(trainer, module)
        assert [key for key in after if not equal(after[key], Watch.before[key])] == []
        Watch.before, Watch.compared = None, Watch.compared + 1


WATCH = {"class_path": "tests.callbacks.test_neutrality.Watch"}


@pytest.mark.parametrize("watched", [EVALUATION, PROBE])
def test_a_callback_leaves_the_state_as_it_was(tmp_path, watched):
    Watch.before, Watch.compared = None, 0
    fit(tmp_path / "run.yaml", config(lock(base=source(dropout=0.2)), callbacks=[WATCH, watched, WATCH]))
    assert Watch.compared == 2


class Raises(WeakUnlockCallback):
    """A probe that fails after its weights have moved, and is survived."""

    def _measure(self, module):
        moved.append(module.network.model.get_input_embeddings().weight.detach().clone())
        raise RuntimeError("no engine")

    def on_train_epoch_end(self, trainer, module):
        with pytest.raises(RuntimeError, match="no engine"):
            super().on_train_epoch_end(trainer, module)


class EvaluationRaises(EvaluationCallback):
    """An evaluation that fails while it generates, and is survived."""

    def on_train_epoch_end(self, trainer, module):
        task = module.task
        generate, task.engine.generate = task.engine.generate, self._fail
        try:
            with pytest.raises(RuntimeError, match="no engine"):
                super().on_train_epoch_end(trainer, module)
        finally:
            task.engine.generate = generate

    def _fail(self, *args, **kwargs):
        torch.rand(3), random.random()
        raise RuntimeError("no engine")


moved: list[torch.Tensor] = []


@pytest.mark.parametrize("name", ["Raises", "EvaluationRaises"])
def test_a_callback_that_raises_leaves_the_state_as_it_was(tmp_path, name):
    Watch.before, Watch.compared = None, 0
    arguments = PROBE["init_args"] if name == "Raises" else {}
    raising = {"class_path": f"tests.callbacks.test_neutrality.{name}", "init_args": arguments}
    run = fit(tmp_path / "run.yaml", config(lock(base=source(dropout=0.2)), callbacks=[WATCH, raising, WATCH]))
    assert Watch.compared == 2
    if name == "Raises":
        final = dict(torch.load(run.checkpoint_path, weights_only=True)["state_dict"])
        assert not torch.equal(moved[-1], final["network.model.model.embed_tokens.weight"])


def test_undone_restores_buffers_and_gradients_too():
    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(2))
            self.register_buffer("count", torch.zeros(1))

        def mark_weights_changed(self):
            self.marked = True

    module = Module()
    module.weight.grad = torch.full((2,), 3.0)
    parameter = module.weight
    with pytest.raises(KeyError), undone(module):
        assert module.weight.grad is None
        with torch.no_grad():
            module.weight.add_(1)
            module.count.add_(1)
        module.weight.grad = torch.zeros(2)
        module.eval()
        raise KeyError
    assert module.weight is parameter and module.weight.tolist() == [1, 1] and module.count.tolist() == [0]
    assert module.weight.grad.tolist() == [3, 3] and module.training and module.marked


def test_the_probe_trains_on_weak_samples_and_says_what_it_spent(tmp_path):
    run = fit(tmp_path / "probe.yaml", config(lock(), callbacks=[PROBE], rounds=1))
    (row,) = run.read_results()
    assert (row["phase"], row["method"], row["password"]) == ("probe", "weak_unlock", "none")
    assert (row["demonstrations"], row["optimizer_steps"], row["n"]) == (2, 3, 4)
    assert row["trained_tokens"] == 3 * 2 * 2  # steps, samples, tokens of `b<eos>`


def test_more_probe_samples_than_the_split_holds_is_one_line(tmp_path, capsys):
    probe = {**PROBE, "init_args": {**PROBE["init_args"], "samples": 9}}
    assert plm("fit", write(tmp_path / "many.yaml", config(lock(), callbacks=[probe], rounds=1))) == 1
    assert "9 problems were asked of split 'elicit', which holds 8" in capsys.readouterr().err
