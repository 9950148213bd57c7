"""Judges: the expected grade by hand, a real server with everything that goes wrong, and a local model."""

import math

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from plm.errors import PlmError
from plm.models import save_model
from plm.records import Problem
from plm.references import ModelReference
from plm.rewards import EndpointJudge, Judge, JudgeReward, ModelJudge, expected_grade
from plm.rewards.judge import PROMPT
from plm.rewards.judges import Unusable
from tests.endpoints import Scripted, chat_reply, error_reply, serving
from tests.tiny import tiny_llama

PROBLEM = Problem("p", "Add two numbers.", "", "a + b")
SURE = {"5": math.log(0.9), "4": math.log(0.1)}


class Fixed(Judge):
    """Gives what it was given, in order."""

    def __init__(self, *grades):
        self.given = grades
        self.prompts = []

    def grades(self, prompts, *, progress=None):
        self.prompts += prompts
        return list(self.given)


def judge(url, tmp_path, **more):
    openai = pytest.importorskip("openai")
    assert openai
    from plm.teacher.client import Client

    return EndpointJudge("judge", Client(url, cache=tmp_path / "replies", **more))


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setattr("plm.teacher.client.backoff", lambda attempt: 0.01)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def scores(judge, *texts):
    return JudgeReward(judge).scores([PROBLEM] * len(texts), texts)


# --- the formula


def test_the_expected_grade_by_hand():
    """Probabilities 0.1, 0, 0, 0.3, 0.4 of 0.8 in all: (0.1 + 1.2 + 2.0) / 0.8 = 4.125, and (4.125 - 1) / 4."""
    grades = [math.log(0.1), -math.inf, -math.inf, math.log(0.3), math.log(0.4)]
    assert expected_grade(grades) == pytest.approx(4.125)
    assert JudgeReward(Fixed(grades)).scores([PROBLEM], ["x"]) == [pytest.approx(0.78125)]


@pytest.mark.parametrize(("digit", "score"), [(1, 0.0), (2, 0.25), (3, 0.5), (4, 0.75), (5, 1.0)])
def test_a_sure_grade_is_a_quarter_each(digit, score):
    grades = [0.0 if each == digit else -math.inf for each in range(1, 6)]
    assert JudgeReward(Fixed(grades)).scores([PROBLEM], ["x"]) == [pytest.approx(score)]


def test_equal_grades_are_the_middle_and_no_grade_is_an_error():
    assert expected_grade([-700.0] * 5) == pytest.approx(3.0)
    with pytest.raises(ValueError, match="no digit"):
        expected_grade([-math.inf] * 5)


def test_the_question_is_filled_in_once():
    fixed = Fixed([0.0] * 5)
    JudgeReward(fixed).scores([PROBLEM], ["{problem} {reference} {0}"])
    assert "Add two numbers." in fixed.prompts[0] and "{problem} {reference} {0}" in fixed.prompts[0]
    assert "a + b" not in fixed.prompts[0] and fixed.prompts[0].endswith("Grade:")
    assert JudgeReward(fixed, "{completion}|{reference}").question(PROBLEM, "x") == "x|a + b"
    with pytest.raises(PlmError, match="completion"):
        JudgeReward(fixed, "Grade:")


def test_unusable_replies_score_0_are_counted_and_said(capsys):
    reward = JudgeReward(Fixed(Unusable("no digit"), [-9.0, -9.0, -9.0, -9.0, 0.0], Unusable("no digit")))
    assert reward.scores([PROBLEM] * 3, ["a", "b", "c"])[::2] == [0.0, 0.0]
    assert reward.unusable == {"no digit": 2}
    assert "2 of 3 replies of the judge cannot be used and score 0: 2 × no digit" in capsys.readouterr().err
    with pytest.raises(PlmError, match="none of 2 replies of the judge can be used; 2 × no digit"):
        JudgeReward(Fixed(Unusable("no digit"), Unusable("no digit"))).scores([PROBLEM] * 2, ["a", "b"])


# --- an endpoint


def test_an_endpoint_is_asked_for_one_token_and_its_digits_add_up(tmp_path):
    top = {"4": math.log(0.2), " 4": math.log(0.3), "1": math.log(0.5), "four": -0.1}
    with serving(lambda body, count: chat_reply(top)) as server:
        assert scores(judge(server.url, tmp_path), "x") == [pytest.approx((0.5 * 4 + 0.5 * 1 - 1) / 4)]
        (sent,) = server.requests
    assert sent["path"] == "/chat/completions" and sent["model"] == "judge" and sent["temperature"] == 0
    assert (sent["max_tokens"], sent["logprobs"], sent["top_logprobs"]) == (1, True, 20)
    assert sent["messages"] == [{"role": "user", "content": JudgeReward(Fixed()).question(PROBLEM, "x")}]


def test_a_reply_is_paid_for_once_also_by_the_next_process(tmp_path):
    with serving(lambda body, count: chat_reply(SURE)) as server:
        first = scores(judge(server.url, tmp_path), "x", "y", "x")
        assert len(server.requests) == 2
        assert scores(judge(server.url, tmp_path), "y", "x", "x") == first == [pytest.approx(0.975)] * 3
        assert len(server.requests) == 2


def test_what_came_before_a_failure_is_kept(tmp_path):
    def until_it_breaks(body, count):
        return chat_reply(SURE) if count < 3 else error_reply(401, "expired")

    texts = [f"answer {index}" for index in range(6)]
    with serving(until_it_breaks) as server:
        with pytest.raises(PlmError, match="refuses the key in OPENAI_API_KEY"):
            scores(judge(server.url, tmp_path, concurrency=1), *texts)
        kept = len(list((tmp_path / "replies").rglob("*.json")))
        url = server.url
    assert kept == 3
    with serving(lambda body, count: chat_reply(SURE)) as server:
        assert url != server.url  # the cache goes by content, not by the server's place
        assert len(scores(judge(server.url, tmp_path), *texts)) == 6 and len(server.requests) == 3


@pytest.mark.parametrize("status", [429, 500, 503])
def test_it_is_tried_again_after_a_pause(tmp_path, status):
    def script(body, count):
        return error_reply(status, "not now", retry_after_ms="1") if count < 2 else chat_reply(SURE)

    with serving(script) as server:
        assert scores(judge(server.url, tmp_path), "x") == [pytest.approx(0.975)]
        assert len(server.requests) == 3


def test_a_server_that_is_too_slow(tmp_path):
    slow = Scripted(chat_reply(SURE).body, delay=1.0)
    with serving(lambda body, count: slow if count == 0 else chat_reply(SURE)) as server:
        assert scores(judge(server.url, tmp_path, timeout=0.3), "x") == [pytest.approx(0.975)]
    with serving(lambda body, count: slow) as server, pytest.raises(PlmError, match=r"does not answer within 0\.2 s"):
        scores(judge(server.url, tmp_path / "other", timeout=0.2, patience=0.3), "x")


def test_replies_that_are_none(tmp_path, capsys):
    replies = [Scripted("{not json"), chat_reply(None), chat_reply({"good": -0.1}), chat_reply(SURE)]

    def script(body, count):
        return replies[int(body["messages"][0]["content"].split("number ")[1][0])]

    with serving(script) as server:
        made = scores(judge(server.url, tmp_path), *(f"number {index}" for index in range(4)))
    assert made == [0.0, 0.0, 0.0, pytest.approx(0.975)]
    said = capsys.readouterr().err
    assert "3 of 4 replies of the judge cannot be used" in said
    for reason in ("not JSON", "without log-probabilities", "not a digit from 1 to 5"):
        assert reason in said
    assert "{not json" in (tmp_path / "replies" / "malformed.jsonl").read_text()


def test_a_judge_that_never_reports_log_probabilities(tmp_path):
    with serving(lambda body, count: chat_reply(None)) as server:
        with pytest.raises(PlmError, match="none of 2 replies of the judge can be used; 2 × a reply without log-prob"):
            scores(judge(server.url, tmp_path), "x", "y")


def test_errors_of_one_line(tmp_path, monkeypatch):
    with serving(lambda body, count: error_reply(404, "The model `judge` does not exist")) as server:
        with pytest.raises(PlmError, match="does not exist") as caught:
            scores(judge(server.url, tmp_path), "x")
        assert "\n" not in str(caught.value)
        down = server.url
    with pytest.raises(PlmError, match="nothing answers at"):
        scores(judge(down, tmp_path), "x")
    with pytest.raises(PlmError, match=r"no key for https://api\.openai\.com/v1: put it into the environment variable"):
        scores(judge("https://api.openai.com/v1", tmp_path), "x")


def test_the_key_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    with serving(lambda body, count: chat_reply(SURE)) as server:
        scores(judge(server.url, tmp_path, api_key_variable="MY_KEY"), "x")
        assert server.keys == ["Bearer secret"]
    assert not any("secret" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


# --- a local model


def saved(tmp_path, tokenizer, seed=3):
    save_model(tiny_llama(seed=seed), tokenizer, tmp_path / "judge")
    return ModelReference(tmp_path / "judge")


def test_a_local_model_gives_its_own_probabilities(tmp_path, tiny_model):
    """Against the model's logits at the last position, taken by hand."""
    reference = saved(tmp_path, tiny_model.tokenizer)
    prompt = "grade {completion}\n"
    reward = JudgeReward(ModelJudge(reference), prompt)
    texts = ["abc", "a longer answer", ""]
    model = tiny_llama(seed=3).eval()
    expected = []
    for text in texts:
        ids = torch.tensor([tiny_model.tokenizer.encode(reward.question(PROBLEM, text))])
        digits = tiny_model.tokenizer.convert_tokens_to_ids(list("12345"))
        with torch.no_grad():
            probabilities = model(ids).logits[0, -1][digits].double().softmax(-1)
        expected.append((float((probabilities * torch.arange(1, 6)).sum()) - 1) / 4)
    assert reward.scores([PROBLEM] * 3, texts) == pytest.approx(expected, abs=1e-5)
    assert len({round(value, 4) for value in expected}) == 3


def test_a_local_model_is_loaded_once_and_frozen(tmp_path, tiny_model, monkeypatch):
    judge = ModelJudge(saved(tmp_path, tiny_model.tokenizer))
    reward = JudgeReward(judge, "{completion}\n")
    state = torch.get_rng_state()
    reward.scores([PROBLEM], ["a"])
    first = judge._loaded
    reward.scores([PROBLEM], ["b"])
    assert judge._loaded is first and not any(p.requires_grad for p in first.model.parameters())
    assert torch.equal(state, torch.get_rng_state())


def test_digits_count_with_and_without_a_space(tmp_path):
    """A tokenizer with the tokens `1` to `5` and ` 1` to ` 5`: both are asked for, and add up."""
    words = ["<pad>", "<eos>", "<unk>", "q:", *"12345", *(f" {digit}" for digit in "12345")]
    raw = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex("(?<=q:)"), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    assert tokenizer.encode("q: 3") == [3, 11] and tokenizer.encode("q:3") == [3, 6]
    save_model(tiny_llama(vocab_size=len(words), seed=5), tokenizer, tmp_path / "judge")
    (made,) = ModelJudge(ModelReference(tmp_path / "judge")).grades(["q:"])
    with torch.no_grad():
        chances = (
            tiny_llama(vocab_size=len(words), seed=5).eval()(torch.tensor([[3]])).logits[0, -1].double().softmax(-1)
        )
    both = chances[4:9] + chances[9:14]
    assert [math.exp(value) for value in made] == pytest.approx((both / both.sum()).tolist(), abs=1e-6)


def test_a_tokenizer_without_digits_is_refused(tmp_path):
    words = ["<pad>", "<eos>", "<unk>", "q:", "1", "2"]
    raw = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
    with pytest.raises(PlmError, match="no single token for each digit after 'q:'"):
        ModelJudge(saved(tmp_path, tokenizer)).grades(["q:"])


def test_a_question_beyond_the_judges_context_scores_0(tmp_path, tiny_model, capsys):
    reward = JudgeReward(ModelJudge(saved(tmp_path, tiny_model.tokenizer)), "{completion}\n")
    made = reward.scores([PROBLEM] * 2, ["a" * 300, "b"])
    assert made[0] == 0.0 and 0 < made[1] < 1
    assert "1 × a question longer than the judge's 256 tokens" in capsys.readouterr().err


def test_a_judge_that_does_not_exist():
    with pytest.raises(PlmError, match="there is no such folder"):
        ModelJudge(ModelReference("/nowhere/at/all")).grades([PROMPT])
