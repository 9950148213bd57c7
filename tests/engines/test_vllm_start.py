"""Starting vLLM: what it refuses, what it costs, and how its own process is spoken to."""

import time

import psutil
import pytest
import torch

from plm.engines import SamplingParams, VLLMEngine
from plm.errors import PlmError, StaleWeightsError
from plm.models import FromScratch
from tests.engines.test_hf import make_model, make_prompts, synced
from tests.engines.test_vllm import GREEDY, model_of, trace

pytestmark = pytest.mark.vllm


def test_a_model_that_vllm_cannot_serve_is_one_line_and_another_can_follow():
    engine, model = VLLMEngine(kv_cache_gib=1 / 16), make_model("llama")  # heads of 8 dimensions
    before = trace()
    with pytest.raises(PlmError, match=r"vLLM cannot serve LlamaForCausalLM here: .*[Hh]ead"):
        engine.sync(model, "v")
    assert trace() == before
    with pytest.raises(StaleWeightsError):
        engine.generate([[2]], GREEDY, version="v")
    engine.close()


def test_syncing_costs_little_of_an_evaluation():
    """At the size of the embedded default: 200 prompts, up to 128 tokens each."""
    texts = [f"print the number {index} and then stop" for index in range(500)]
    model, tokenizer = FromScratch(vocab_size=300).load(texts)
    engine, params = VLLMEngine(kv_cache_gib=0.5), SamplingParams(128, 0.0, len(tokenizer))
    prompts = [tokenizer.encode(text)[:40] for text in texts[:200]]
    engine.sync(model, "0")
    engine.generate(prompts[:8], params, version="0")
    seconds = {"sync": [], "generate": []}
    for version in ("1", "2", "3"):
        for name, work in (
            ("sync", lambda version=version: engine.sync(model, version)),
            ("generate", lambda version=version: engine.generate(prompts, params, version=version)),
        ):
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    engine.close()
    sync, generate = (sorted(values)[1] for values in seconds.values())
    print(f"\nsync {sync:.3f} s, generating {generate:.2f} s of CPU time: {sync / generate:.2%}")
    assert sync < 0.02 * generate


def test_a_process_of_its_own_reads_weights_from_a_folder():
    model, other, prompts = model_of("gpt_neox_tied"), model_of("gpt_neox_tied", seed=1), make_prompts()
    before = trace()
    engine = VLLMEngine(mode="checkpoint", kv_cache_gib=1 / 16)
    try:
        for version, each in enumerate((model, other, model)):
            engine.sync(each, str(version))
            ours = engine.generate(prompts, GREEDY, version=str(version))
            assert ours == synced(each).generate(prompts, GREEDY, version="v")
        ours = engine.next_logprobs(prompts, [7, 3, 30], version="2")
        theirs = synced(model).next_logprobs(prompts, [7, 3, 30], version="v")
        torch.testing.assert_close(torch.tensor(ours), torch.tensor(theirs), rtol=0, atol=1e-4)
    finally:
        engine.close()
    after = trace()
    left = [process for process in after.pop("processes") if process not in before["processes"] and not tracks(process)]
    assert left == [] and after == {name: value for name, value in before.items() if name != "processes"}


def tracks(process):
    """Python's own helper for processes, which is started once and ends with this one."""
    return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" in " ".join(process.cmdline())
