"""A step asks the device nothing: on a GPU every question makes the host wait for all that is still to be computed."""

import contextlib

import pytest
import torch
from lightning.fabric.utilities import move_data_to_device
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from plm.compute import Compute
from plm.examples import Example, collate
from plm.modules import (
    DPOModule,
    FixedRandomLockModule,
    GRPOModule,
    SFTLockModule,
    SFTModule,
    SoftLabelLockModule,
)
from plm.modules.base import PolicyModule
from plm.network import PolicyNetwork
from plm.policies import DatasetPolicy, FixedRandomPolicy, ReferencePolicy
from tests.runs import ADAMW, config, fit, sft, source
from tests.tiny import TinySource, character_tokenizer, tiny_llama

aten = torch.ops.aten
QUESTIONS = {aten._local_scalar_dense, aten.nonzero, aten.masked_select, aten._unique2, aten.is_nonzero, aten.equal}
INDEXING = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


class _Operations(TorchDispatchMode):
    """Refuses what needs values on the host: numbers out of tensors, and indexing by masks."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        packet = function.overloadpacket
        if packet in QUESTIONS:
            raise AssertionError(f"{packet} waits for the device")
        if packet in INDEXING and any(x is not None and x.dtype == torch.bool for x in args[1]):
            raise AssertionError(f"{packet} by a mask waits for the device")
        return function(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    """Refuses what reads a tensor's memory without any operation, as long as it lies on the host."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.tolist, torch.Tensor.numpy, torch.Tensor.cpu):
            raise AssertionError(f"{function.__name__} waits for the device")
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def no_questions():
    with _Operations(), _Methods():
        yield


@pytest.mark.parametrize(
    "question",
    [
        lambda x: x.sum().item(),
        lambda x: float(x[0]),
        lambda x: bool((x > 0).all()),
        lambda x: x.tolist(),
        lambda x: x[x > 0],
        lambda x: x.unique(),
        lambda x: x.index_put((x > 0,), x.new_zeros(())),
    ],
)
def test_the_guard_notices(question):
    with no_questions(), pytest.raises(AssertionError, match="waits for the device"):
        question(torch.tensor([1.0, -1.0, 2.0]))


def optimizer(parameters):
    return torch.optim.AdamW(parameters)


LOCK = {"right": ReferencePolicy(), "wrong": DatasetPolicy("weak")}
FIXED = {"right": ReferencePolicy(), "wrong": FixedRandomPolicy(length=3)}
MODULES = {
    "sft": (lambda **a: SFTModule(TinySource(), optimizer, ReferencePolicy(), **a), {}, {}),
    "lock": (lambda **a: SFTLockModule(TinySource(), optimizer, LOCK, **a), {}, {}),
    "dpo": (lambda **a: DPOModule(TinySource(), optimizer, **a), {"sign": 1.0, "reference": -2.0, "weight": 1.0}, {}),
    "grpo": (lambda **a: GRPOModule(TinySource(), optimizer, **a), {"advantage": 0.5}, {"old_logprob": [-1.0, -2.0]}),
    "fixed": (lambda **a: FixedRandomLockModule(TinySource(), optimizer, FIXED, **a), {"fixed_random": 1.0}, {}),
    "soft": (
        lambda **a: SoftLabelLockModule(TinySource(), optimizer, LOCK, **a),
        {"label_0": 0.3, "label_1": 0.7, "choice_0": 5.0, "choice_1": 6.0},
        {},
    ),
}
ZEROED = {"sign": -1.0, "fixed_random": 0.0, "label_0": 0.0, "label_1": 0.0}


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("packing", [False, True])
def test_loss_and_backward_pass_of_every_method(name, packing):
    module, batch = prepared(name, packing)
    assert batch.layout is not None
    with no_questions():
        module.loss(batch).backward()
    assert all(parameter.grad is not None for parameter in module.network.parameters())


def prepared(name, packing):
    make, scalars, token_scalars = MODULES[name]
    module = make(compute=Compute(packing=packing))
    module.network, module.tokenizer = PolicyNetwork(tiny_llama()).train(), character_tokenizer()
    rows = [
        Example([5 + index // 2, 6, 7, 8], [9, 10 + index], group=index // 2, token_scalars=token_scalars,
                scalars={key: ZEROED.get(key, value) if index % 2 else value for key, value in scalars.items()})
        for index in range(4)
    ]  # fmt: skip
    return module, collate(rows, 0, layout=module.compute.layout)


@pytest.mark.gpu
@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("packing", [False, True])
def test_cuda_is_never_waited_for(name, packing):
    module, batch = prepared(name, packing)
    module, batch = module.cuda(), move_data_to_device(batch, torch.device("cuda"))
    module.loss(batch).backward()  # what is made once, is made
    torch.cuda.set_sync_debug_mode("error")
    try:
        module.loss(batch).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_the_padded_step_of_a_run(tmp_path, monkeypatch):
    """With logging, in the trainer; only the check that the gradient is finite, once an optimizer step, may ask."""
    seen = []

    def guarded(name):
        original = getattr(PolicyModule, name)

        def within(self, *args, **kwargs):
            seen.append(name)
            with no_questions():
                return original(self, *args, **kwargs)

        monkeypatch.setattr(PolicyModule, name, within)

    guarded("training_step")
    guarded("backward")
    fit(tmp_path / "sft.yaml", config(sft(), callbacks=[], rounds=1, log_every_n_steps=1))
    assert seen == ["training_step", "backward"] * 2


def test_compute_is_an_argument_and_moves_no_number(tmp_path):
    """Packing and checkpointing through the real command: the run's weights are those of padded rows."""
    from tests.modules.test_base import same
    from tests.runs import weights

    runs = []
    for name, compute in (("plain", None), ("lean", {"packing": True, "gradient_checkpointing": True})):
        made = config(sft(compute=compute), callbacks=[], rounds=2)
        runs.append(weights(fit(tmp_path / f"{name}.yaml", made)))
    same(*runs, atol=5e-6, rtol=1e-4)
    dpo = {"class_path": "plm.modules.DPOModule", "init_args": {"base": source(), "optimizer": ADAMW, "problems": 8}}
    script = {"class_path": "tests.tiny.ScriptedEngine", "init_args": {"answers": ["b", "ae0", "ae1", "b", "ae2"]}}
    runs = []
    for shares in (True, False):
        dpo["init_args"]["compute"] = {"share_prompts": shares}
        made = config(dpo, data={"engine": script, "batch_size": 4}, callbacks=[], rounds=1)
        runs.append(weights(fit(tmp_path / f"shares_{shares}.yaml", made)))
    same(*runs, atol=5e-6, rtol=1e-4)
