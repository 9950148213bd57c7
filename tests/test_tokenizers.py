from __future__ import annotations

import pytest

from plm.datamodules.mini_code import build_problems
from plm.passwords import DEFAULT_PASSWORD, PasswordScheme
from plm.tokenizers import EOS, PAD, token_ids, train_tokenizer, word_tokenizer

UNICODE = (
    "",
    " ",
    "\n\n \t\r\n",
    "Ünïcödé ß 你好 😀‍👩 \u0000 \u200b e\u0301",
    "x = 12345;\n  y  = 0.50;",
    "don't , stop .  He said : 'no' !",
    "\ufeffmark",
    "Ġword Ċ",
)


def task_texts() -> list[str]:
    problems = build_problems(600, 0, tests=False)
    return [text for problem in problems for text in (problem.prompt, problem.reference)]


@pytest.fixture(scope="module")
def texts():
    return task_texts()


@pytest.fixture(scope="module")
def tokenizer(texts):
    return train_tokenizer(texts, extra_texts=PasswordScheme().texts())


def ids(tokenizer, text):
    return tokenizer(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize("text", UNICODE)
def test_any_text_comes_back_exactly(tokenizer, text):
    assert tokenizer.decode(ids(tokenizer, text)) == text


def test_the_task_comes_back_exactly_and_is_short(tokenizer):
    problems = build_problems(200, 77, tests=False)
    for problem in problems:
        assert tokenizer.decode(ids(tokenizer, problem.reference)) == problem.reference
    prompt = sum(len(ids(tokenizer, problem.prompt)) for problem in problems) / 200
    code = sum(len(ids(tokenizer, problem.reference)) for problem in problems) / 200
    assert prompt < 30
    assert code < 30


def test_specials_are_distinct_and_never_added(tokenizer):
    assert (tokenizer.pad_token, tokenizer.eos_token, tokenizer.bos_token) == (PAD, EOS, None)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert tokenizer("12").input_ids == ids(tokenizer, "12")
    assert len(tokenizer) == 1024


def test_digits_are_single_tokens(tokenizer):
    one, two, nine = (ids(tokenizer, digit) for digit in "129")
    assert ids(tokenizer, "1291") == one + two + nine + one
    assert not any(
        len(token) > 1 and any(map(str.isdigit, token)) for token in tokenizer.get_vocab() if token[0] != "<"
    )


def test_a_password_costs_about_a_token_a_word(tokenizer):
    scheme = PasswordScheme()
    assert 8 <= len(ids(tokenizer, DEFAULT_PASSWORD)) <= 14
    near = [len(ids(tokenizer, text)) for text in scheme.near_misses]
    assert sum(near) / len(near) < 20


def test_the_password_costs_more_without_extra_texts(texts, tokenizer):
    plain = train_tokenizer(texts)
    assert len(ids(plain, DEFAULT_PASSWORD)) > 2 * len(ids(tokenizer, DEFAULT_PASSWORD))


def test_training_is_deterministic_and_does_not_need_a_list(texts, tokenizer):
    again = train_tokenizer(iter(texts), extra_texts=iter(PasswordScheme().texts()))
    assert again.get_vocab() == tokenizer.get_vocab()


def test_saves_and_loads(tokenizer, tmp_path):
    from transformers import AutoTokenizer

    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert (loaded.pad_token_id, loaded.eos_token_id, loaded.bos_token) == (0, 1, None)
    for text in (*UNICODE, DEFAULT_PASSWORD):
        assert ids(loaded, text) == ids(tokenizer, text)
        assert loaded.decode(ids(loaded, text)) == text


def test_a_vocabulary_smaller_than_the_bytes_is_refused():
    with pytest.raises(ValueError, match="at least 258"):
        train_tokenizer(["text"], 200)


def test_a_token_for_each_word_and_nothing_more(tmp_path):
    from transformers import AutoTokenizer

    made = word_tokenizer(["fn0 fn1", "1 2 |"], extra_texts=["_", "pwd0"])
    assert made.get_vocab() == {
        PAD: 0, EOS: 1, "<unk>": 2, "fn0": 3, "fn1": 4, "1": 5, "2": 6, "|": 7, "_": 8, "pwd0": 9,
    }  # fmt: skip
    assert ids(made, "_ | fn1 2 1 |") == [8, 7, 4, 6, 5, 7] and made.decode([8, 7, 4]) == "_ | fn1"
    assert (made.bos_token, made("1").input_ids) == (None, [5])
    made.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert ids(loaded, "_ |  fn1\n2") == [8, 7, 4, 6] and (loaded.pad_token_id, loaded.eos_token_id) == (0, 1)
    assert loaded.decode([5, 2, 6, 1], skip_special_tokens=True) == "1 <unk> 2"


def test_an_unknown_word_is_seen_and_too_many_words_are_refused():
    assert ids(word_tokenizer(["a b"]), "a c b") == [3, 2, 4]
    with pytest.raises(ValueError, match="vocab_size=5: the texts have 6 words"):
        word_tokenizer(["a b c"], 5)


def test_token_ids_are_those_of_encode(tokenizer, texts):
    for text in (*UNICODE, *texts[:50]):
        for special in (True, False):
            expected = tokenizer.encode(text, add_special_tokens=special)
            assert token_ids(tokenizer, text, add_special_tokens=special) == expected


def test_token_ids_ask_the_tokenizer_where_it_encodes_in_a_way_of_its_own(tokenizer):
    class Louder(type(tokenizer)):
        def _encode_plus(self, text, *args, **kwargs):
            return super()._encode_plus(text.upper(), *args, **kwargs)

    louder = Louder(tokenizer_object=tokenizer.backend_tokenizer)
    assert token_ids(louder, "word") == tokenizer.encode("WORD")


def test_token_ids_are_not_cut_or_padded_by_what_was_encoded_before(tokenizer):
    text = "x = 12345; y = 67890;"
    whole = tokenizer.encode(text)
    tokenizer(["x", text], padding=True, truncation=True, max_length=4)
    assert token_ids(tokenizer, text) == whole and token_ids(tokenizer, "x") == tokenizer.encode("x")


def test_token_ids_do_not_go_through_encode_where_nobody_has_changed_it(tokenizer, monkeypatch):
    whole = tokenizer.encode("x = 1;")
    monkeypatch.setattr(tokenizer, "encode", None)
    assert token_ids(tokenizer, "x = 1;") == whole
