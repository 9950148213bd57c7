"""`auto`: vLLM where there is a CUDA device and vLLM, else the Hugging Face engine."""

import ast
from pathlib import Path

import pytest
import torch

import plm
from plm.engines import AutoEngine, HFEngine, SamplingParams, VLLMEngine
from plm.engines.vllm import is_installed
from plm.errors import PlmError, StaleWeightsError
from tests.engines.test_hf import EOS, make_model, make_prompts, synced
from tests.runs import config, fit, sft


@pytest.mark.parametrize(
    ("cuda", "installed", "chosen"),
    [(True, True, VLLMEngine), (True, False, HFEngine), (False, True, HFEngine), (False, False, HFEngine)],
)
def test_the_engine_that_is_chosen(monkeypatch, cuda, installed, chosen):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr("plm.engines.auto.is_installed", lambda: installed)
    assert type(AutoEngine().chosen) is chosen


def test_given_engines_are_used(monkeypatch):
    vllm, hf = VLLMEngine(max_num_seqs=3), HFEngine(batch_size=3)
    assert AutoEngine(vllm, hf).chosen is hf
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("plm.engines.auto.is_installed", lambda: True)
    assert AutoEngine(vllm, hf).chosen is vllm


def test_it_does_what_the_chosen_engine_does():
    model, prompts, params = make_model(), make_prompts(9), SamplingParams(6, 1.0, EOS)
    engine = AutoEngine()
    with pytest.raises(StaleWeightsError):
        engine.generate(prompts, params, version="v", seeds=range(9))
    engine.sync(model, "v")
    seen = []
    completions = engine.generate(prompts, params, version="v", seeds=range(9), progress=seen.append)
    assert completions == synced(model).generate(prompts, params, version="v", seeds=range(9)) and sum(seen) == 9
    assert engine.next_logprobs(prompts, [3, 4], version="v") == synced(model).next_logprobs(
        prompts, [3, 4], version="v"
    )
    engine.close()
    with pytest.raises(StaleWeightsError):
        engine.generate(prompts, params, version="v", seeds=range(9))


def test_the_command_line_takes_it(tmp_path):
    engine = {"class_path": "plm.engines.AutoEngine", "init_args": {"hf": {"class_path": "plm.engines.HFEngine"}}}
    run = fit(tmp_path / "auto.yaml", config(sft(), rounds=1, data={"engine": engine}))
    assert [row["n"] for row in run.read_results()] == [4, 4, 4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "tcp"}, "mode is 'tcp'; it must be one of in_process, checkpoint, ipc"),
        ({"dtype": "int8"}, "dtype is 'int8'; it must be float32, bfloat16 or float16"),
        ({"kv_cache_gib": 0.0}, "kv_cache_gib is 0.0; it must be above 0"),
        ({"max_num_seqs": 0}, "max_num_seqs is 0; it must be above 0"),
    ],
)
def test_bad_arguments_of_the_vllm_engine_are_one_line(arguments, message):
    with pytest.raises(PlmError, match=message):
        VLLMEngine(**arguments)


def test_ipc_is_refused_on_a_cpu():
    with pytest.raises(PlmError, match="mode ipc needs CUDA, and the model is on cpu: use in_process or checkpoint"):
        VLLMEngine(mode="ipc").sync(make_model(), "v")


@pytest.mark.skipif(is_installed(), reason="vLLM is there")
def test_without_vllm_the_error_says_how_to_get_it():
    engine = VLLMEngine()
    with pytest.raises(PlmError, match=r"on CUDA `pip install -e '\.\[vllm\]'` in plm's checkout, on a CPU see README"):
        engine.sync(make_model(), "v")
    with pytest.raises(StaleWeightsError, match="weights 'v', but the engine holds None"):
        engine.generate([[2]], SamplingParams(2, 0.0, EOS), version="v")
    engine.close()


def test_vllm_is_imported_by_its_own_folder_alone_and_only_when_it_is_used():
    """What stands behind TYPE_CHECKING counts: jsonargparse imports it when it reads a class's arguments."""
    package = Path(plm.__file__).parent
    for file in package.rglob("*.py"):
        tree = ast.parse(file.read_text())
        late = {id(node) for function in ast.walk(tree) if isinstance(function, ast.FunctionDef)
                for node in ast.walk(function)}  # fmt: skip
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "vllm" for name in names):
                assert file.is_relative_to(package / "engines" / "vllm") and id(node) in late, f"{file}:{node.lineno}"
