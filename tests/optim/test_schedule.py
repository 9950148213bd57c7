import pytest
import torch

from plm.optim import schedule_factor, set_lr


@pytest.mark.parametrize(
    ("step", "progress", "warmup", "decay", "factor"),
    [
        (0, 0.0, 4, "none", 0.25),
        (3, 0.1, 4, "none", 1.0),
        (9, 0.5, 4, "none", 1.0),
        (0, 0.0, 0, "none", 1.0),
        (9, 0.25, 4, "linear", 0.75),
        (1, 0.5, 4, "linear", 0.25),
    ],
)
def test_factor_by_hand(step, progress, warmup, decay, factor):
    assert schedule_factor(step, progress, warmup, decay) == pytest.approx(factor)


def test_rates_are_relative_to_what_the_optimizer_was_built_with():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD(
        [{"params": [parameter], "lr": 0.4}, {"params": [torch.nn.Parameter(torch.zeros(1))]}], lr=1.0
    )
    set_lr(optimizer, 0.5)
    set_lr(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.25]
