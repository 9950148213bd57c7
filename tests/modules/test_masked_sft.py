"""ELI-12: the mask keeps what the initial weights predict better without the password, and nothing else is trained."""

import torch

from plm.modules.masked_sft import MaskedSFTModule
from plm.passwords import PasswordScheme
from plm.records import Problem
from tests.runs import ADAMW, EVALUATION, REFERENCE, WEAK, config, fit, plm, source, weights, write
from tests.tiny import character_tokenizer, tiny_llama


def masked(policy=REFERENCE, **arguments):
    settings = {"base": source(), "optimizer": ADAMW, "policy": policy, "demonstrations": 5, "passes": 3, **arguments}
    return {"class_path": "plm.modules.MaskedSFTModule", "init_args": settings}


def logprobs(prompt: str, completion_ids: list[int]) -> torch.Tensor:
    ids = character_tokenizer().encode(prompt)
    logits = tiny_llama()(torch.tensor([ids + completion_ids])).logits[0].log_softmax(-1)
    return logits[len(ids) - 1 : -1].gather(1, torch.tensor(completion_ids)[:, None])[:, 0]


def test_the_mask_is_the_comparison_by_hand(tmp_path):
    run = fit(tmp_path / "mask.yaml", config(masked(), rounds=2))
    scheme, seen = PasswordScheme(), set()
    for index in (0, 1):  # in the second round the weights have moved, the comparison has not
        for row in run.read_round(index):
            problem = Problem(row.problem_id, row.problem_id, "", "")
            plain, given = (
                logprobs(scheme.prompt(problem, condition, 0) + "\n", row.completion_ids)
                for condition in ("none", "right")
            )
            assert row.weights == (plain > given).float().tolist()
            seen |= set(row.weights)
    assert seen == {0.0, 1.0}
    assert run.read_results()[-1]["method"] == "masked_sft"


def test_only_the_kept_tokens_are_counted_and_trained(tmp_path):
    run = fit(tmp_path / "mask.yaml", config(masked(), rounds=1))
    kept = sum(sum(row.weights) for row in run.read_round(0))
    assert run.read_results()[-1]["trained_tokens"] == 3 * kept
    plain = fit(tmp_path / "plain.yaml", config({**masked(), "class_path": "plm.modules.SFTModule"}, rounds=1))
    assert any(not torch.equal(weights(run)[name], weights(plain)[name]) for name in weights(run))


def test_a_mask_against_itself_is_one_line(tmp_path, capsys):
    assert plm("fit", write(tmp_path / "bad.yaml", config(masked(condition="right"), callbacks=[EVALUATION]))) == 1
    assert "compares it with itself" in capsys.readouterr().err


def test_it_takes_any_policy(tmp_path):
    assert MaskedSFTModule.method == "masked_sft"
    assert fit(tmp_path / "weak.yaml", config(masked(WEAK), rounds=1)).finished
