import itertools

import pytest

from plm.examples import Example
from plm.loader import RoundLoader, count_units

ROWS = [Example([5] * (1 + i % 7), [6] * (1 + i % 3) + [1], problem_id=f"p{i}") for i in range(37)]


def loader(**changes):
    settings = dict(passes=2, batch_size=8, unit="token", pad_token_id=0, seed=3)
    return RoundLoader(ROWS, **{**settings, **changes})


def ids(batches):
    return [batch.problem_ids for batch in batches]


def test_every_pass_shows_every_row_once():
    seen = [problem for batch in ids(loader()) for problem in batch]
    assert len(seen) == 2 * len(ROWS) and all(seen.count(row.problem_id) == 2 for row in ROWS)


def test_order_depends_on_the_seed_alone():
    assert ids(loader()) == ids(loader())
    assert ids(loader()) != ids(loader(seed=4))


def test_similar_lengths_lie_together():
    padding = sum(
        batch.input_ids_BL.numel() - sum(len(ROWS[int(p[1:])]) for p in batch.problem_ids) for batch in loader()
    )
    tokens = 2 * sum(len(row) for row in ROWS)
    assert padding < 0.15 * tokens


@pytest.mark.parametrize(("accumulate", "world_size"), [(1, 1), (4, 1), (8, 1), (1, 2), (2, 3)])
def test_accumulation_and_processes_only_cut_steps(accumulate, world_size):
    """The rows of each step, and the units it divides by, are those of one process without accumulation."""
    whole = list(loader())
    ranks = [list(loader(accumulate=accumulate, rank=r, world_size=world_size)) for r in range(world_size)]
    assert {len(batches) for batches in ranks} == {len(whole) * accumulate}
    for step, batch in enumerate(whole):
        parts = [b for batches in ranks for b in batches[step * accumulate : (step + 1) * accumulate]]
        weighted = [p for b in parts for p, w in zip(b.problem_ids, b.weights_BL.sum(1), strict=True) if w > 0]
        assert sorted(weighted) == sorted(batch.problem_ids)
        assert {b.step_units for b in parts} == {batch.step_units}


def test_units_are_those_of_the_loss():
    rows = [
        Example([1], [2, 3], group=0),
        Example([1], [2], group=0),
        Example([1], [2, 3, 4], weights=[0, 0.5, 1], group=1),
    ]
    assert count_units(rows, "token") == 4.5
    assert count_units(rows, "pair") == 2
    assert count_units(rows, "completion") == 3


def test_pairs_are_never_split():
    rows = [Example([5] * (1 + i), [6, 1], group=i // 2, problem_id=f"p{i}") for i in range(22)]
    batches = list(RoundLoader(rows, passes=1, batch_size=3, unit="pair", pad_token_id=0, seed=0, accumulate=2))
    for batch in batches:
        groups = batch.groups_B.tolist()
        assert all(groups.count(group) == 2 for group in groups) or batch.weights_BL.sum() == 0


def test_a_round_continues_where_it_was_saved():
    whole = ids(loader())
    first = loader()
    begun = ids(itertools.islice(iter(first), 4))
    second = loader()
    second.load_state_dict(first.state_dict())
    assert begun + ids(second) == whole


def test_a_step_that_trains_nothing_is_refused():
    rows = [Example([1], [2], weights=[0.0])]
    with pytest.raises(ValueError, match="trains nothing"):
        list(RoundLoader(rows, passes=1, batch_size=1, unit="token", pad_token_id=0, seed=0))
