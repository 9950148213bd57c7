"""Whole runs with vLLM through the real command line: the same numbers and weights, and nothing left behind."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
import torch
from lightning import Callback

from plm.engines.vllm.starting import start
from plm.engines.vllm.weights import InPlace
from plm.models import LoadedModel, ModelSource
from tests.engines.test_hf import make_model
from tests.runs import ADAMW, EVALUATION, PROBE, config, fit, lock, numbers, only_run, weights, write
from tests.tiny import ALPHABET, character_tokenizer

pytestmark = pytest.mark.vllm

ENGINE = {"class_path": "plm.engines.VLLMEngine", "init_args": {"kv_cache_gib": 0.0625}}
OWN_PROCESS = {**ENGINE, "init_args": {**ENGINE["init_args"], "mode": "checkpoint"}}
ROOT = Path(__file__).parents[2]


class WideSource(ModelSource):
    """Heads of 32 dimensions, as vLLM's kernels for CPUs need them, and dropout, which random states decide."""

    def __init__(self, kind: str = "llama", dropout: float = 0.2) -> None:
        self.kind = kind
        self.dropout = dropout

    def load(self, texts, extra_texts=(), seed=0):
        size = {"hidden_size": 64, "num_attention_heads": 2, "vocab_size": 3 + len(ALPHABET)}
        model = make_model(self.kind, attention_dropout=self.dropout, max_position_embeddings=256, **size)
        return LoadedModel(model, character_tokenizer())


def settings(engine, kind="llama", dropout=0.2, rounds=2, callbacks=(EVALUATION, PROBE), **trainer):
    arguments = {"kind": kind, "dropout": dropout}
    base = {"class_path": "tests.engines.test_vllm_runs.WideSource", "init_args": arguments}
    return config(
        lock(base=base),
        callbacks=list(callbacks),
        rounds=rounds,
        data={"engine": engine, "max_new_tokens": 16},
        **trainer,
    )


def completions(run):
    """Everything that was generated, evaluation by evaluation."""
    files = sorted((run.path / "completions").glob("*.parquet"))
    return [text for file in files for text in pq.read_table(file)["completion"].to_pylist()]


@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_a_run_with_vllm_has_the_same_results_and_bitwise_the_same_weights(tmp_path, kind, capfd):
    before = psutil.Process().children(recursive=True)
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours = fit(tmp_path / "ours" / "run.yaml", settings(ENGINE, kind))
    shown = capfd.readouterr()
    theirs = fit(tmp_path / "theirs" / "run.yaml", settings(None, kind))
    assert numbers(ours) == numbers(theirs) and len(numbers(ours)) == 8
    assert completions(ours) == completions(theirs) and len(set(completions(ours))) > 4
    trained, reference = weights(ours), weights(theirs)
    assert trained.keys() == reference.keys() and all(torch.equal(trained[name], reference[name]) for name in trained)
    assert psutil.Process().children(recursive=True) == before
    assert not re.search("vllm|triton|warning", (shown.out + shown.err).replace(str(tmp_path), ""), re.IGNORECASE)


def test_a_method_that_samples_shares_the_runs_one_engine(tmp_path, monkeypatch):
    """GRPO between evaluations; a first round whose answers are all as good is the last one, of 16 answers."""
    starts, synced = [], []
    monkeypatch.setattr("plm.engines.vllm.engine.start", lambda *given: (starts.append(given), start(*given))[1])
    send = InPlace.send
    monkeypatch.setattr(InPlace, "send", lambda *given: (synced.append(given), send(*given))[1])
    content = settings(ENGINE, callbacks=[{**EVALUATION, "init_args": {"n": 4, "at_start": True}}])
    base = content["model"]["init_args"]["base"]
    arguments = {"base": base, "optimizer": ADAMW, "problems": 4, "answers": 4}
    content["model"] = {"class_path": "plm.modules.GRPOModule", "init_args": arguments}
    run = fit(tmp_path / "run.yaml", content)
    assert len(starts) == 1 and synced and run.read_results()[-1]["graded"] >= 4 * 4


def wait_for(condition, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < until:
        time.sleep(0.2)
    return bool(met)


def test_two_processes_have_an_engine_each(tmp_path):
    path = write(tmp_path / "ddp.yaml", settings(ENGINE, dropout=0.0, rounds=1, callbacks=[EVALUATION]))
    options = ["--runs", str(tmp_path / "runs"), "--trainer.devices=2", "--trainer.strategy=ddp"]
    child = subprocess.run([sys.executable, "-m", "plm", "fit", "--config", str(path), *options],
                           cwd=ROOT, timeout=300, capture_output=True, text=True)  # fmt: skip
    assert child.returncode == 0, child.stderr
    one = fit(tmp_path / "one.yaml", settings(None, dropout=0.0, rounds=1, callbacks=[EVALUATION]))
    assert completions(only_run(path)) == completions(one) and len(completions(one)) == 12


class Failing(Callback):
    """A bug of the user's own, after the round's evaluation."""

    def on_train_epoch_end(self, trainer, pl_module):
        raise ZeroDivisionError("mine")


def test_no_process_is_left_after_an_exception(tmp_path):
    before = psutil.Process().children(recursive=True)
    failing = {"class_path": "tests.engines.test_vllm_runs.Failing"}
    content = settings(OWN_PROCESS, callbacks=[{**EVALUATION, "init_args": {"n": 4, "at_start": True}}, failing])
    with pytest.raises(ZeroDivisionError, match="mine"):
        fit(tmp_path / "run.yaml", content)
    assert len(only_run(tmp_path / "run.yaml").read_results()) >= 3  # vLLM was there
    left = [child for child in psutil.Process().children(recursive=True) if child not in before and alive(child)]
    assert [child for child in left if "resource_tracker" not in " ".join(child.cmdline())] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_process_is_left_when_the_trainer_is_stopped(tmp_path, number):
    path = write(tmp_path / "run.yaml", settings(OWN_PROCESS, rounds=10_000, callbacks=[EVALUATION]))
    command = [sys.executable, "-m", "plm", "fit", "--config", str(path), "--runs", str(tmp_path / "runs")]
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        results = tmp_path / "runs"
        assert wait_for(lambda: child.poll() is not None or list(results.glob("*/*/results.jsonl")), 200)
        assert child.poll() is None, (tmp_path / "log").read_text()
        helpers = psutil.Process(child.pid).children(recursive=True)
        assert sum("VLLM" in " ".join(helper.cmdline()) for helper in helpers) >= 1
        os.kill(child.pid, number)
        child.wait(60)
        assert child.returncode == (-number if number == signal.SIGKILL else 128 + number)
        assert wait_for(lambda: not any(alive(helper) for helper in helpers), 20), [h for h in helpers if alive(h)]
    finally:
        if child.poll() is None:
            child.kill()


def test_no_process_is_left_when_the_trainer_is_killed_while_vllm_starts(tmp_path):
    path = write(tmp_path / "run.yaml", settings(OWN_PROCESS, callbacks=[EVALUATION]))
    command = [sys.executable, "-m", "plm", "fit", "--config", str(path), "--runs", str(tmp_path / "runs")]
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        trainer = psutil.Process(child.pid)
        assert wait_for(lambda: any("spawn_main" in words for words in command_lines(trainer)), 200)
        helpers = trainer.children(recursive=True)
        assert not any("VLLM" in words for words in command_lines(trainer))  # it has not started
        child.kill()
        child.wait(60)
        assert wait_for(lambda: not any(alive(helper) for helper in helpers), 20), [h for h in helpers if alive(h)]
    finally:
        if child.poll() is None:
            child.kill()


def command_lines(process: psutil.Process) -> list[str]:
    """Of what it has started."""
    try:
        return [" ".join(child.cmdline()) for child in process.children(recursive=True) if alive(child)]
    except psutil.NoSuchProcess:
        return []


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it ended between the two
        return False
