"""Numbers that go wrong are named with step, problems and last good state; spikes are stopped or skipped on demand."""

import re

import pytest
import torch

from plm.callbacks import SpikeGuardCallback
from plm.errors import PlmError
from plm.seeds import derive_seed
from tests.runs import config, fit, only_run, plm, sft, weights, write
from tests.tiny import TinyTask

SAVED = {"class_path": "plm.callbacks.CheckpointCallback", "init_args": {"every_n_steps": 1}}
FAULTY = 6  # the optimizer step whose weights come out infinite


class FaultySGD(torch.optim.SGD):
    """Ruins the weights at one step, so that the next gradient is not a number."""

    def step(self, closure=None):
        loss = super().step(closure)
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps == FAULTY:
            with torch.no_grad():
                self.param_groups[0]["params"][0].fill_(torch.inf)
        return loss


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_gradient_that_is_no_number_names_step_problems_and_the_last_good_state(tmp_path, capsys, accumulate):
    content = config(sft(passes=2), rounds=3, callbacks=[], accumulate_grad_batches=accumulate)
    content["model"]["init_args"]["optimizer"] = {
        "class_path": "tests.test_faults.FaultySGD",
        "init_args": {"lr": 0.01},
    }
    path = write(tmp_path / "nan.yaml", content)
    assert plm("fit", path) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    run = only_run(path)
    assert line.startswith("plm: error: the gradient is nan at optimizer step 7 (round 2), on the problems ")
    named = re.search(r"on the problems ([^:]*):", line)[1].split(", ")
    trained = {problem.id for problem in TinyTask().split("elicit")}
    assert len(named) == 4 and set(named) <= trained  # the rows of one step, over its micro-batches
    assert f"the last good state is {run.checkpoint_path}" in line and not run.model_path.exists()
    state = torch.load(run.checkpoint_path, weights_only=True)
    assert state["global_step"] == 4 and all(tensor.isfinite().all() for tensor in state["state_dict"].values())


class Spiky(TinyTask):
    """A task whose loss jumps: one round answers something else."""

    def _rows(self, index):
        rows = super()._rows(index)
        if index == 4:
            rows = [type(row)(row.prompt_ids, [5] * 40, problem_id=row.problem_id) for row in rows]
        return rows


def spiky(action, factor=1.5):
    guard = {
        "class_path": "plm.callbacks.SpikeGuardCallback",
        "init_args": {"factor": factor, "action": action, "window": 4},
    }
    content = config(sft(), rounds=6, callbacks=[guard] if action else [], data={"batch_size": 8})
    content["data"]["class_path"] = "tests.test_faults.Spiky"
    return content


def test_the_guard_stops_before_the_step(tmp_path, capsys):
    path = write(tmp_path / "stop.yaml", spiky("stop"))
    assert plm("fit", path) == 1
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("plm: error: the loss is ") and "at optimizer step 5" in line
    assert torch.load(only_run(path).checkpoint_path, weights_only=True)["global_step"] == 4


def test_the_guard_skips_the_step_and_goes_on(tmp_path, capsys):
    skipped = fit(tmp_path / "skip.yaml", spiky("skip"))
    said = capsys.readouterr().err
    assert said.count("the step is skipped") == 1 and "at optimizer step 5" in said
    plain = fit(tmp_path / "plain.yaml", spiky(None))
    high = fit(tmp_path / "high.yaml", spiky("skip", factor=1e9))
    assert all(torch.equal(weights(plain)[name], tensor) for name, tensor in weights(high).items())
    assert not all(torch.equal(weights(plain)[name], tensor) for name, tensor in weights(skipped).items())


def test_the_guards_memory_is_part_of_the_checkpoint():
    guard, resumed = SpikeGuardCallback(window=3), SpikeGuardCallback(window=3)
    guard.losses.extend([1.0, 2.0, 3.0, 4.0])
    resumed.load_state_dict(guard.state_dict())
    assert list(resumed.losses) == [2.0, 3.0, 4.0]


@pytest.mark.parametrize(("name", "value"), [("factor", 1.0), ("window", 1)])
def test_the_guard_refuses_settings_without_meaning(name, value):
    with pytest.raises(PlmError, match=name):
        SpikeGuardCallback(**{name: value})


def test_seeds_are_functions_of_what_they_are_for():
    """The values are part of the contract: a resumed run of an older plm draws the same."""
    assert derive_seed(0, "round", 3, 0) == derive_seed(0, "round", 3, 0)
    seeds = {derive_seed(run, "sample", problem, i) for run in range(4) for problem in ("a", "b") for i in range(4)}
    assert len(seeds) == 32
    assert derive_seed("1") != derive_seed(1) and derive_seed("a", "b") != derive_seed("ab")
    assert derive_seed(0, "sample", "p", 1) == 8696761737669350986
