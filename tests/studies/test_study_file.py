"""A study's file and its grid: what is read, what is refused in one line, and which commands come of it."""

import pytest
import yaml

from plm.errors import PlmError
from plm.studies.grid import expand, first_seeds
from plm.studies.study import read_study

BLOCK = {
    "cell": "SFT on {k}, {lock}",
    "figures": [3],
    "axes": {"k": [1, 16], "lock": {"plain": "lock_code", "two passwords": "lock_{kind}"}},
    "config": ["configs/sft.yaml", "configs/{lock}.yaml"],
    "from": "{lock}",
    "set": {"model.init_args.demonstrations": "{k}", "model.init_args.domains": ["d{k}"]},
    "labels": {"method": "SFT", "series": "{lock}"},
    "quick": {"k": [16], "lock": ["plain"]},
}


def study(tmp_path, **changes):
    content = {
        "seeds": [0, 1],
        "models": {
            "lock_code": "configs/lock.yaml + seed_everything={seed}",
            "chain": "configs/a.yaml + seed_everything={seed} + model.init_args.base=({lock_code})",
        },
        "figures": {3: {"x": "k"}},
        "grid": [{**BLOCK, "axes": {"k": [1, 16], "lock": {"plain": "lock_code"}}}],
        **changes,
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return read_study(path)


def test_a_block_is_the_product_of_its_axes_and_seeds(tmp_path):
    runs = expand(study(tmp_path))
    assert [(run.cell, run.seed) for run in runs] == [
        ("SFT on 1, plain", 0), ("SFT on 1, plain", 1), ("SFT on 16, plain", 0), ("SFT on 16, plain", 1),
    ]  # fmt: skip
    assert runs[3].words == (
        "fit", "--config", "configs/sft.yaml", "--config", "configs/lock_code.yaml",
        "--model.init_args.demonstrations=16", '--model.init_args.domains=["d16"]',
        "--model.init_args.base=configs/lock.yaml + seed_everything=1", "--seed_everything=1",
    )  # fmt: skip
    assert runs[3].axes == {"k": 16, "lock": "plain"} and runs[3].figures == ("3",)
    assert runs[3].labels == {"method": "SFT", "series": "plain"}


def test_models_name_models(tmp_path):
    block = {"cell": "measured", "config": "m.yaml", "command": "validate", "from": "chain", "seeds": [5]}
    (run,) = expand(study(tmp_path, grid=[block], figures={}))
    assert run.words[3] == (
        "--policy=configs/a.yaml + seed_everything=5 + model.init_args.base=(configs/lock.yaml + seed_everything=5)"
    )


def test_a_control_stands_beside_each_cell(tmp_path):
    block = {"cell": "SFT", "config": "m.yaml", "from": "lock_code", "control": "never.yaml", "seeds": [1]}
    cell, control = expand(study(tmp_path, grid=[block], figures={}))
    assert (cell.role, cell.control_of) == (None, None)
    assert (control.cell, control.role, control.control_of) == ("SFT · control", "control", "SFT")
    assert control.words[3:5] == ("--model.init_args.base=never.yaml", "--model.init_args.phase=control")


def test_quick_keeps_what_it_says_and_one_seed(tmp_path):
    left_out = {"cell": "other", "config": "m.yaml"}
    grid = [{**BLOCK, "axes": {"k": [1, 16], "lock": {"plain": "lock_code"}}}, left_out]
    assert [(run.cell, run.seed) for run in expand(study(tmp_path, grid=grid), quick=True)] == [("SFT on 16, plain", 0)]


def test_more_seeds_than_the_file_names():
    assert first_seeds([0, 1, 2], 2) == [0, 1] and first_seeds([0, 2], 4) == [0, 2, 1, 3]
    assert first_seeds([7], None) == [7]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": []}, "grid is missing"),
        ({"seads": [0]}, "unknown key 'seads' (did you mean 'seeds'?)"),
        ({"seeds": [0, 0]}, "seeds is [0, 0]"),
        ({"grid": [{"config": "a.yaml"}]}, "grid[0] has no cell"),
        ({"grid": [{**BLOCK, "axes": {"k": []}}]}, "axes.k is []"),
        ({"grid": [{**BLOCK, "quick": {"k": [2]}}]}, "quick.k keeps 2"),
        ({"grid": [{**BLOCK, "command": "test"}]}, "command is 'test'"),
        ({"figures": {}}, "figure '3' does not stand under figures"),
        ({"figures": {3: {}, 4: {}}}, "figures.4: no cell"),
        ({"gate": {"min_gab": 0.3}}, "gate: unknown key 'min_gab' (did you mean 'min_gap'?)"),
        ({"gate": {"max_leak": "much"}}, "gate.max_leak is 'much'; it must be a share in [0, 1]"),
        ({"estimates": {"default": {"device": "gpu"}}}, "one of seconds, minutes and hours"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(tmp_path, changes, said):
    with pytest.raises(PlmError) as caught:
        study(tmp_path, **changes)
    assert said in str(caught.value) and "tiny.yaml" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ({"cell": "SFT", "config": "m.yaml", "axes": {"k": [1, 2]}}, "two cells are called 'SFT'"),
        ({"cell": "SFT", "config": "{task}.yaml"}, "{task} is neither an axis nor a model"),
        ({"cell": "SFT", "config": "m.yaml", "from": "circle"}, "in a circle"),
    ],
)
def test_what_is_wrong_with_a_grid_is_one_line(tmp_path, block, said):
    with pytest.raises(PlmError) as caught:
        expand(study(tmp_path, grid=[block], figures={}, models={"circle": "a.yaml + x={circle}"}))
    assert said in str(caught.value)


def test_no_file_and_no_yaml(tmp_path):
    with pytest.raises(PlmError, match="there is no study"):
        read_study(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("a: [")
    with pytest.raises(PlmError, match="is no YAML"):
        read_study(tmp_path / "bad.yaml")
