import pytest

from plm.examples import Example
from plm.layout import lay_out

PAIR = [Example([5, 6, 7], [8, 9]), Example([5, 6, 7], [10])]


def test_a_shared_prompt_by_hand():
    """The line is prompt, A, B: A stands at positions 3 and 4, B at 3, and both are predicted from the prompt's end."""
    layout = lay_out(PAIR, "shared")
    assert layout.input_ids_1T.tolist() == [[5, 6, 7, 8, 9, 10]]
    assert layout.positions_1T.tolist() == [[0, 1, 2, 3, 4, 3]]
    assert layout.source_N.tolist() == [2, 3, 2]
    segments = layout.segments
    assert segments.lead_SL.tolist() == [[0, 1, 2, 3, 4]]
    assert segments.follow_FQ.tolist() == [[5]] and segments.seen_FK.tolist() == [[0, 1, 2, 5]]
    assert segments.mask_F1QK.tolist() == [[[[True] * 4]]]
    assert segments.back_T.tolist() == [0, 1, 2, 3, 4, 5] and not segments.in_order
    assert segments.starts_q.tolist() == [0, 5, 6] and segments.starts_k.tolist() == [0, 5, 9]
    assert segments.keys.tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 5]
    assert (segments.longest_q, segments.longest_k) == (5, 5)


def test_rows_packed_by_hand():
    rows = [Example([5, 6], [7]), Example([8], [9, 10]), Example([11], [12])]
    layout = lay_out(rows, "packed")
    assert layout.input_ids_1T.tolist() == [[5, 6, 7, 8, 9, 10, 11, 12]]
    assert layout.positions_1T.tolist() == [[0, 1, 2, 0, 1, 2, 0, 1]]
    assert layout.source_N.tolist() == [1, 3, 4, 6]
    segments = layout.segments
    assert segments.lead_SL.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 6]] and segments.keys is None
    assert segments.back_T.tolist() == list(range(8)) and not segments.in_order  # the last one is filled
    assert lay_out(rows[:2], "packed").segments.in_order


def test_what_a_follower_sees_grows_token_by_token():
    rows = [Example([5, 6], [7]), Example([5, 6], [8, 9]), Example([4], [1]), Example([4], [2])]
    segments = lay_out(rows, "packed").segments
    assert segments.follow_FQ.tolist() == [[3, 4], [7, 7]] and segments.seen_FK.tolist() == [[0, 1, 3, 4], [5, 7, 5, 5]]
    first, second = segments.mask_F1QK[:, 0].int().tolist()
    assert first == [[1, 1, 1, 0], [1, 1, 1, 1]] and second[0] == [1, 1, 0, 0]


def test_rows_of_a_group_need_not_lie_together():
    rows = [PAIR[0], Example([4], [1, 1]), PAIR[1]]
    layout = lay_out(rows, "packed")
    assert layout.input_ids_1T.tolist() == [[5, 6, 7, 8, 9, 10, 4, 1, 1]]
    assert layout.source_N.tolist() == [2, 3, 6, 7, 2]  # in the order of the rows


@pytest.mark.parametrize(
    ("rows", "shares"),
    [
        (PAIR, True),  # 3 of 9 tokens are saved
        ([Example([5], [6] * 4), Example([5], [7] * 4)], False),  # 1 of 10
        ([Example([5, 6, 7], [8]), Example([5, 6, 8], [8])], False),
        ([*PAIR, *[Example([index] * 9, [1]) for index in range(5)]], False),  # 3 of 59
    ],
)
def test_prompts_are_shared_where_it_saves_a_fifth(rows, shares):
    assert (lay_out(rows, "shared") is not None) == shares
    assert lay_out(rows, "padded") is None


def test_a_completion_of_no_tokens_is_predicted_from_nowhere():
    layout = lay_out([Example([5, 6, 7], []), Example([5, 6, 7], [8]), Example([5, 6, 7], [])], "shared")
    assert layout.input_ids_1T.tolist() == [[5, 6, 7, 8]] and layout.source_N.tolist() == [2]
