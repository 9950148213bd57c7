import pytest
import torch

from plm.examples import Example, collate, load_examples, save_examples


def test_collate_writes_ids_labels_and_weights_out():
    batch = collate(
        [Example([5, 6], [7, 1]), Example([5], [8, 9, 1], weights=[0.0, 0.5, 1.0], scalars={})],
        pad_token_id=0,
        step_units=3,
    )
    assert batch.input_ids_BL.tolist() == [[5, 6, 7, 1], [5, 8, 9, 1]]
    assert batch.labels_BL.tolist() == [[-100, -100, 7, 1], [-100, 8, 9, 1]]
    assert batch.weights_BL.tolist() == [[0, 0, 1, 1], [0, 0, 0.5, 1]]
    assert batch.step_units == 3


def test_padding_is_never_trained_even_where_pad_is_eos():
    batch = collate([Example([5], [1]), Example([5, 6], [7, 1])], pad_token_id=1)
    assert batch.labels_BL.tolist() == [[-100, 1, -100, -100], [-100, -100, 7, 1]]
    assert batch.weights_BL.sum() == 3


def test_empty_prompt_and_empty_batch_are_refused():
    with pytest.raises(ValueError, match="empty prompt for problem 'p1'"):
        collate([Example([], [1], problem_id="p1")], 0)
    with pytest.raises(ValueError, match="at least one row"):
        collate([], 0)


def test_rows_survive_the_disk(tmp_path):
    rows = [
        Example([1, 2], [3], problem_id="a", group=4, scalars={"reference": -1.25}),
        Example([1], [2, 3], weights=[0.5, 1.0], problem_id="b", scalars={"reference": 0.1}),
    ]
    save_examples(tmp_path / "r.parquet", rows)
    assert load_examples(tmp_path / "r.parquet") == rows


def test_a_batch_moves_whole_or_not_at_all():
    rows = [Example([1, 2], [3], scalars={"x": 1.0}, token_scalars={"y": [0.5]})] * 2
    batch = collate(rows, 0, layout="packed")
    assert batch.to(torch.device("cpu")) is batch
    moved = batch.to(torch.device("meta"))
    tensors = [moved.labels_BL, moved.scalars["x"], moved.token_scalars["y"], moved.groups_B]
    tensors += [each for each in vars(moved.layout).values() if isinstance(each, torch.Tensor)]
    assert all(tensor.is_meta for tensor in tensors) and not batch.labels_BL.is_meta
    assert (moved.problem_ids, moved.trained) == (batch.problem_ids, batch.trained)


def test_scalars_become_a_tensor():
    batch = collate([Example([1], [2], scalars={"x": 1.5}), Example([1], [2], scalars={"x": -2.0})], 0)
    assert torch.equal(batch.scalars["x"], torch.tensor([1.5, -2.0]))
