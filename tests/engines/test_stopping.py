"""Stop strings: where a completion ends, and that engine, task and batch agree on it."""

import pyarrow.parquet as pq
import pytest
import torch

from plm.datamodules import CodeDataModule, MathDataModule, MixedDataModule
from plm.engines.base import Completion, SamplingParams
from plm.engines.stopping import StopStrings
from plm.errors import PlmError
from plm.models import FromScratch
from tests.engines.test_hf import EOS, make_model, make_prompts, synced
from tests.runs import config, fit, plm, sft, weights, write

PIECES = ("", "", "a", "b", "\n", "ab\n", "\nQ", ":", "Q")  # the text of each token; 0 and 1 are special


def spell(ids):
    return "".join(PIECES[index] for index in ids)


def letters(ids):
    """A text for the tokens of `make_model`: one letter each."""
    return "".join(chr(ord("A") + index) for index in ids)


@pytest.mark.parametrize(
    ("ids", "kept", "text"),
    [
        ([2, 3, 2, 3], None, "abab"),
        ([2, 4, 2, 4], None, "a\na\n"),
        ([2, 4, 4, 3], [2, 4, 4], "a"),  # token by token
        ([5, 6, 7, 2], [5, 6], "ab"),  # the stop string ends inside of a token: `Q` is not part of the answer
        ([2, 6, 7, 2], [2, 6, 7], "a"),
        ([2, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4], [2, 4, *[0] * 16, 4], "a"),  # nothing in between
        ([4, 4], [4, 4], ""),
        ([], None, ""),
    ],
)
def test_a_completion_ends_with_the_token_that_completes_a_stop_string(ids, kept, text):
    stop = StopStrings(["\n\n", "\nQ:"], spell)
    assert stop.shortened(ids) == kept
    assert stop.cut(spell(kept or ids)) == text
    params = SamplingParams(9, 0.0, 1, stop)
    assert Completion.of([*ids, 1], params) == (ids if kept is None else kept, True)
    assert Completion.of(ids, params) == (ids if kept is None else kept, kept is not None)


def test_the_earliest_place_counts_not_the_first_string():
    assert StopStrings(["c", "b"], spell).cut("abc") == "a"


def test_a_look_at_the_end_agrees_with_the_whole():
    stop = StopStrings(["\n\n"], spell)
    assert not stop.reached([2] * 50) and stop.reached([*[2] * 50, 4, 4, 2]) and not stop.reached([4, *[2] * 50, 4])


def test_bytes_of_one_character_over_tokens():
    """A byte-level tokenizer spreads a character over tokens: the stop string comes up with its last byte."""
    _, tokenizer = FromScratch(vocab_size=300).load(["one two three"])
    stop = StopStrings(["→"], lambda ids: tokenizer.decode(list(ids)))
    ids = tokenizer.encode("one →two", add_special_tokens=False)
    kept = stop.shortened(ids)
    assert tokenizer.decode(kept) == "one →" and stop.cut(tokenizer.decode(kept)) == "one "
    assert "→" not in tokenizer.decode(kept[:-1]) and all(stop.reached(ids[: len(kept) + n]) for n in range(4))


@pytest.mark.parametrize("strings", [[], [""], ["a", ""]])
def test_empty_stop_strings_are_refused(strings):
    with pytest.raises(ValueError, match="must be at least one text, none of them empty"):
        StopStrings(strings, spell)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_the_engine_stops_where_the_same_tokens_without_stopping_have_it(temperature):
    model, prompts = make_model(), make_prompts()
    free = synced(model).generate(prompts, SamplingParams(30, temperature, EOS), version="v", seeds=range(64))
    common = letters(free[0].token_ids[9:11])  # comes up in one completion at least
    stop = StopStrings([common, letters([7])], letters)
    seen = []
    params = SamplingParams(30, temperature, EOS, stop)
    ours = synced(model, batch_size=24).generate(prompts, params, version="v", seeds=range(64), progress=seen.append)
    for before, after in zip(free, ours, strict=True):
        text = letters(before.token_ids)
        ends = [place + len(each) for each in stop.strings if (place := text.find(each)) >= 0]
        assert after == ((before.token_ids[: min(ends)], True) if ends else before)
    assert sum(a != b for a, b in zip(free, ours, strict=True)) > 8 and sum(seen) == 64


def test_stopped_rows_leave_the_batch(monkeypatch):
    model, sizes = make_model(), []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda **a: (sizes.append(len(a["input_ids"])), forward(**a))[1])
    stop = StopStrings([chr(ord("A") + token) for token in range(40)], letters)  # whatever comes
    completions = synced(model).generate(make_prompts(16), SamplingParams(30, 0.0, 10**6, stop), version="v")
    assert all(len(row.token_ids) == 1 and row.finished for row in completions) and len(sizes) == 4


def completions(run):
    """All texts that a run generated, evaluation by evaluation."""
    files = sorted((run.path / "completions").glob("*.parquet"))
    return [text for file in files for text in pq.read_table(file)["completion"].to_pylist()]


def test_a_run_with_stop_strings_has_the_same_weights_and_shorter_answers(tmp_path):
    free = fit(tmp_path / "free.yaml", config(sft(), rounds=1))
    texts = completions(free)
    second = next(text[1] for text in texts if len(text) > 1)
    stopped = fit(tmp_path / "stopped.yaml", config(sft(), rounds=1, data={"stop": [second]}))
    assert completions(stopped) == [text.partition(second)[0] for text in texts] != texts
    ours, theirs = weights(stopped), weights(free)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_an_empty_stop_string_is_one_line(tmp_path, capsys):
    assert plm("fit", write(tmp_path / "bad.yaml", config(sft(), data={"stop": [""]}))) == 1
    assert "data.init_args.stop is ['']" in capsys.readouterr().err


def test_parts_of_a_mixed_task_have_none():
    with pytest.raises(PlmError, match="math has stop strings"):
        MixedDataModule({"code": CodeDataModule(), "math": MathDataModule(stop=["\n\n"])})
