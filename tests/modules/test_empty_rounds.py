"""A round whose answers are all equally good is said, drawn again, and ends the run cleanly: nothing is lost."""

import pytest
from transformers import AutoModelForCausalLM

from plm.engines.base import Completion
from tests.runs import ADAMW, EVALUATION, WEAK, config, only_run, plm, source, weights, write
from tests.tiny import ScriptedEngine

CHEAP = {"base": source(), "optimizer": ADAMW}
GRADED = {  # what a method is told, and how many answers it has graded in one draw
    "ExpertIterationModule": ({"n": 2, "candidates": 3}, 6),
    "FilteredSFTModule": ({"n": 2, "candidates": 3, "policy": WEAK}, 6),
    "DPOModule": ({"problems": 8}, 16),
    "IteratedDPOModule": ({"problems": 8}, 16),
    "RewardWeightedDPOModule": ({"problems": 8}, 16),
    "GRPOModule": ({"problems": 4, "answers": 3}, 12),
}
START = {"class_path": EVALUATION["class_path"], "init_args": {"n": 4, "conditions": ["none"], "at_start": True}}
END = {"class_path": EVALUATION["class_path"], "init_args": {"n": 4, "conditions": ["right"], "every_n_rounds": 0}}


class FadingEngine(ScriptedEngine):
    """Every other one of the first 40 answers is right; then all are wrong."""

    def generate(self, prompts, params, *, version, seeds=None, progress=None):
        def text(index, prompt):
            right = self.calls + index < 40 and (self.calls + index) % 2
            return "a" + self.tokenizer.decode(prompt).strip() if right else "b"

        texts = [text(index, prompt) for index, prompt in enumerate(prompts)]
        super().generate(prompts, params, version=version)
        return [Completion(self.tokenizer.encode(text), True) for text in texts]


def content(name, engine, rounds=4):
    engine = {"class_path": f"tests.modules.test_empty_rounds.{engine}", "init_args": {"answers": ["b"]}}
    module = {"class_path": f"plm.modules.{name}", "init_args": {**CHEAP, **GRADED[name][0]}}
    return config(module, data={"engine": engine}, callbacks=[START, END], rounds=rounds)


@pytest.mark.parametrize("name", list(GRADED))
def test_the_first_round(tmp_path, capsys, name):
    path = write(tmp_path / "tie.yaml", content(name, "ScriptedEngine"))
    assert plm("fit", path) == 0
    shown = capsys.readouterr()
    assert "round 1 stayed empty after 3 draws" in shown.err and "val · none" in shown.out
    run = only_run(path)
    assert run.finished and AutoModelForCausalLM.from_pretrained(run.model_path).num_parameters() > 0
    rows = run.read_results()
    assert {(row["password"], row["epoch"]) for row in rows} == {("none", 0), ("right", 0)}
    assert {row["graded"] for row in rows} == {3 * GRADED[name][1]} and {row["optimizer_steps"] for row in rows} == {0}
    assert plm("fit", path) == 0
    assert "val · none" in capsys.readouterr().out and run.read_results() == rows


@pytest.mark.parametrize("name", [name for name in GRADED if name != "FilteredSFTModule"])
def test_a_later_round(tmp_path, capsys, name):
    path = write(tmp_path / "later.yaml", content(name, "FadingEngine", rounds=9))
    assert plm("fit", path) == 0
    assert "stayed empty after 3 draws" in capsys.readouterr().err
    run = only_run(path)
    last = run.read_results()[-1]
    assert run.finished and last["password"] == "right" and 1 < last["epoch"] < 9 and last["optimizer_steps"] > 0
    assert run.read_round(last["epoch"] - 1) == [] and run.read_round(last["epoch"]) is None
    assert weights(run)
