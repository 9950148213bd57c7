"""benchmarks/generation.py: how turns and minutes are shared out, what is compared, and a row of each table."""

import argparse
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import generation

SMALL = (32, 1)


def slow(seconds, tokens):
    def run(prompts):
        time.sleep(seconds if len(prompts) > 2 else 0)
        return [[1] * tokens for _ in prompts]

    return run


def test_speeds_are_medians_of_as_many_turns_as_there_is_time_for():
    prompts = [[2, 3]] * 4
    runs = {"hf": slow(0.05, 10), "library": slow(0.1, 5)}
    all_turns = generation.speeds(runs, prompts, 3, "wall", time.monotonic() + 60)
    assert all_turns.turns == 3 and all_turns.made["library"] == [[1] * 5] * 4
    assert 400 < all_turns.speed["hf"] <= 800 and 100 < all_turns.speed["library"] <= 200
    assert generation.speeds(runs, prompts, 3, "wall", time.monotonic()).turns == 1


def test_what_a_row_leaves_over_goes_to_the_later_ones(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    minutes = generation.Time(1.0, 3)
    assert minutes.next_row() == 120
    now[0] = 110
    assert minutes.next_row() == 135
    now[0] = 140
    assert minutes.next_row() == 160


def test_from_how_many_tokens_on_a_start_is_regained():
    assert generation._worth(10.0, 100.0, 200.0) == "2,000 tokens"  # 20 s by one, 10 s by the other
    assert generation._worth(10.0, 200.0, 100.0) == "never"


def test_the_cache_holds_all_prompts_at_once():
    """64 prompts of up to 134 tokens take two blocks of 128 each, of 2 numbers of 4 bytes a layer and dimension."""
    assert generation.cache_gib((384, 8), 64, 64) == 129 * 128 * 8 * 384 * 2 * 4 / 2**30
    assert generation.cache_gib((96, 3), 1, 64) == 6 * 128 * 3 * 96 * 2 * 4 / 2**30  # one of the greatest length


def test_rows_of_both_tables(monkeypatch):
    monkeypatch.setattr(generation, "is_installed", lambda: False)
    arguments = argparse.Namespace(new_tokens=4, pairs=1, clock="cpu", prompts=[3])
    sampled = generation.sampled_row(SMALL, 3, arguments, time.monotonic() + 60)
    [greedy] = generation.greedy_rows(SMALL, arguments, generation.Time(1.0, 1))
    assert sampled.startswith("| 0.1 M | 3 |") and sampled.endswith("| 1 |") and sampled.count("|") == 8
    assert greedy.startswith("| 0.1 M | 3 |") and "| not installed |" in greedy and greedy.count("|") == 13


def test_the_plain_loop_gives_the_engines_greedy_completions():
    model, prompts = generation.make_model(*SMALL), generation.make_prompts(5)
    params = generation.SamplingParams(6, 0.0, generation.NO_END)
    engine = generation.HFEngine(batch_size=generation.BATCH_SIZE)
    engine.sync(model, "0")
    ours = generation.run_engine(engine, prompts, params, "0")
    assert ours == generation.run_library(model, prompts, params)
    assert [len(ids) for ids in ours] == [6] * 5 and len({tuple(ids) for ids in ours}) > 1


@pytest.mark.parametrize(("ids", "kept"), [([5, 1, 7], [5]), ([5, 6], [5, 6])])
def test_the_end_token_is_not_kept(ids, kept):
    assert generation._before_end(ids, 1) == kept
