"""Arithmetic on weights: noise of the asked size, scaling, and an average that is the mean."""

import pytest
import torch

from plm.errors import PlmError
from plm.models import save_model
from plm.references import ModelReference
from plm.weights import Averaged, Noised, Scaled
from tests.runs import EVALUATION, config, numbers, only_run, plm, sft, write
from tests.tiny import character_tokenizer, tiny_llama


@pytest.fixture
def folders(tmp_path):
    for seed in range(3):
        save_model(tiny_llama(seed=seed), character_tokenizer(), tmp_path / f"m{seed}")
    return [ModelReference(tmp_path / f"m{seed}") for seed in range(3)]


def weights(model):
    return {name: weight.detach() for name, weight in model.named_parameters()}


def test_an_average_is_the_mean_of_the_weights(folders):
    made = weights(Averaged(folders).load().model)
    each = [weights(tiny_llama(seed=seed)) for seed in range(3)]
    for name, weight in made.items():
        torch.testing.assert_close(weight, sum(one[name] for one in each) / 3)
    one = weights(Averaged(folders[:1]).load().model)
    assert all(torch.equal(one[name], each[0][name]) for name in one)


def test_noise_has_the_asked_share_and_depends_on_the_seed(folders):
    before = weights(tiny_llama(seed=0))
    first, again, other = (weights(Noised(folders[0], 0.1).load(seed=seed).model) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    name = "model.embed_tokens.weight"
    assert not torch.equal(first[name], other[name])
    ratio = (first[name] - before[name]).std() / before[name].square().mean().sqrt()
    assert ratio.item() == pytest.approx(0.1, rel=0.1)
    none = weights(Noised(folders[0], 0.0).load(seed=1).model)
    assert all(torch.equal(none[name], before[name]) for name in none)
    pinned = [weights(Noised(folders[0], 0.1, seed=5).load(seed=seed).model)[name] for seed in (1, 2)]
    assert torch.equal(*pinned)


def test_scaling_spares_the_norms_if_asked(folders):
    before = weights(tiny_llama(seed=0))
    everything, matrices = (weights(Scaled(folders[0], 2.0, norms=norms).load().model) for norms in (True, False))
    for name, weight in before.items():
        torch.testing.assert_close(everything[name], 2 * weight)
        torch.testing.assert_close(matrices[name], weight if "norm" in name else 2 * weight)


def test_bad_arguments_are_one_line(folders, tmp_path):
    for make in (lambda: Noised(folders[0], -1.0), lambda: Scaled(folders[0], 0.0), lambda: Averaged([])):
        with pytest.raises(PlmError):
            make()
    save_model(tiny_llama(vocab_size=60), character_tokenizer(), tmp_path / "wide")
    with pytest.raises(PlmError, match="differ in the weights 'model"):
        Averaged([folders[0], ModelReference(tmp_path / "wide")]).load()


def test_validate_measures_an_average_of_what_configs_make(tmp_path, warm_children):
    """References inside a source, and inside a list in it, are resolved and are part of the run's identity."""
    paths = [write(tmp_path / f"m{seed}.yaml", config(sft(passes=seed + 1), callbacks=[])) for seed in range(2)]
    content = config(sft(), callbacks=[EVALUATION])
    content["policy"] = {"class_path": "plm.weights.Averaged", "init_args": {"models": [str(path) for path in paths]}}
    path = write(tmp_path / "mean.yaml", content)
    assert plm("validate", path) == 0
    run = only_run(path)
    assert numbers(run)[0]["n"] == 4 and set(run.read_manifest()["references"].values()) >= {
        only_run(each).id for each in paths
    }
    content["policy"] = {"class_path": "plm.weights.Noised", "init_args": {"model": str(paths[0]), "share": 0.5}}
    assert plm("validate", write(tmp_path / "noise.yaml", content)) == 0
    assert only_run(tmp_path / "noise.yaml").read_manifest()["parent"] == only_run(paths[0]).id
