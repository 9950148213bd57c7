import math

import pytest
import torch

from plm.metrics import Correctness


def test_three_of_four_by_hand():
    metric = Correctness()
    metric.update([True, True])
    metric.update([True, False])
    values = metric.compute()
    assert (values["n"], values["correct"]) == (4, 0.75)
    assert values["stderr"].item() == pytest.approx(math.sqrt(0.75 * 0.25 / 3))


def test_standard_error_equals_that_of_the_mean():
    verdicts = (torch.rand(50) < 0.3).tolist()
    metric = Correctness()
    metric.update(verdicts)
    expected = torch.tensor(verdicts, dtype=torch.float64).std() / math.sqrt(50)
    assert metric.compute()["stderr"].item() == pytest.approx(expected.item())


def test_nothing_and_one_have_no_standard_error():
    metric = Correctness()
    assert math.isnan(metric.compute()["correct"])
    metric.update([True])
    assert metric.compute()["correct"] == 1 and math.isnan(metric.compute()["stderr"])
