"""The share of weights that moved: near none where bfloat16 rounds updates away, all where Lion keeps the rest."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.runs import config, fit, sft

WARNING = "of the weights have moved in 10 steps"


def shares(run):
    events = EventAccumulator(str(run.path / "tensorboard")).Reload()
    tag = "train/moved_weights"
    return [event.value for event in events.Scalars(tag)] if tag in events.Tags()["scalars"] else []


@pytest.mark.parametrize(
    ("optimizer", "precision", "warned"),
    [
        ("plm.optim.Lion", "bf16-true", False),
        ("lion_pytorch.Lion", "bf16-true", True),
        ("plm.optim.Lion", "32-true", False),
    ],
)
def test_a_frozen_model_is_said(tmp_path, capsys, optimizer, precision, warned):
    content = config(
        sft(optimizer={"class_path": optimizer, "init_args": {"lr": 1.5e-6}}, passes=6),
        callbacks=[],
        rounds=1,
        precision=precision,
    )
    run = fit(tmp_path / "run.yaml", content)
    assert (WARNING in capsys.readouterr().err) == warned
    if precision == "32-true":
        assert shares(run) == []
    else:
        assert len(shares(run)) == 1 and (shares(run)[0] < 0.5) == warned
