"""Closeness as a reward, and rewards where graded answers become training data, through the real command line."""

import pytest

from plm.embedders import NgramEmbedder, closeness
from plm.errors import PlmError
from plm.records import Grade, Graded, Problem
from plm.rewards import EmbeddingReward, Reward, rewarded
from tests.endpoints import chat_reply, serving
from tests.runs import ADAMW, config, fit, numbers, only_run, plm, sft, source, weights, write


class Lengths(Reward):
    """A reward that a test can read: a tenth of the length."""

    def scores(self, problems, completions, *, progress=None):
        return [len(text) / 10 for text in completions]


def graded(text, *, finished=True, tokens=1, correct=True):
    problem = Problem("p", "", "", "ref")
    return Graded(problem, "", text, tokens, finished, Grade(correct, float(correct), text, "correct", 0.0))


def test_closeness_to_the_reference():
    problem = Problem("p", "", "", "it forgets to add 3")
    made = EmbeddingReward().scores([problem] * 4, ["it forgets to add 3", "it forgets to add 4", "?", ""])
    assert made[0] == pytest.approx(1.0) and 0 < made[1] < 1 and made[2:] == [0.0, 0.0]
    assert made[1] == pytest.approx(closeness(NgramEmbedder(), ["it forgets to add 4"], [problem.reference])[0])


def test_the_score_changes_and_the_verdict_does_not():
    groups = [[graded("abc"), graded("", finished=False, tokens=0)], [graded("a", correct=False)]]
    made = rewarded(Lengths(), groups)
    assert [[row.grade.score for row in group] for group in made] == [[0.3, 0.0], [0.1]]
    assert [[row.grade.correct for row in group] for group in made] == [[True, True], [False]]
    assert rewarded(None, groups) == groups


def test_without_a_reward_half_right_is_not_right():
    (half,) = [graded("abc", correct=False)]
    half = half._replace(grade=half.grade._replace(score=0.5))
    (group,) = rewarded(None, [[half, graded("a")]])
    assert [row.grade.score for row in group] == [0.0, 1.0]


def test_scores_that_differ_by_rounding_alone_are_equal():
    class Shaky(Reward):
        def scores(self, problems, completions, *, progress=None):
            return [0.5 + 1e-12 * index for index in range(len(completions))]

    ((first, second),) = rewarded(Shaky(), [[graded("a"), graded("b")]])
    assert first.grade.score == second.grade.score == 0.5


# --- through the command line

# no answer is right, but some are closer to the reference "ae0"
CLOSE = {"class_path": "tests.tiny.ScriptedEngine", "init_args": {"answers": ["xe0", "b", "xe1", "xe2", "b"]}}


def content(name, reward=None, **arguments):
    reward = reward or {"class_path": "plm.rewards.EmbeddingReward"}
    settings = {"base": source(), "optimizer": ADAMW, "reward": reward, **arguments}
    model = {"class_path": f"plm.modules.{name}", "init_args": settings}
    return config(model, data={"engine": CLOSE}, rounds=1)


def references():
    embedder = {"shortest": 1, "longest": 2}
    return {
        "class_path": "plm.rewards.EmbeddingReward",
        "init_args": {"embedder": {"class_path": "plm.embedders.NgramEmbedder", "init_args": embedder}},
    }


def test_pairs_are_made_and_weighted_by_the_reward(tmp_path):
    """Without the reward all answers are wrong, hence equal, and there is nothing to learn."""
    run = fit(tmp_path / "r.yaml", content("RewardWeightedDPOModule", references(), problems=8))
    rows = run.read_round(0)
    assert rows and len(rows) % 2 == 0
    embedder = NgramEmbedder(shortest=1, longest=2)
    decode = source_tokenizer()
    for chosen, rejected in zip(rows[::2], rows[1::2], strict=True):
        texts = [decode(row.completion_ids) for row in (chosen, rejected)]
        better, worse = closeness(embedder, texts, [f"a{chosen.problem_id}"] * 2)
        assert better > worse and chosen.scalars["weight"] == pytest.approx(better - worse)
        assert (chosen.scalars["sign"], rejected.scalars["sign"]) == (1.0, -1.0)
    assert run.read_results()[-1]["graded"] == 16
    plain = content("RewardWeightedDPOModule", problems=8)
    del plain["model"]["init_args"]["reward"]
    assert fit(tmp_path / "plain.yaml", plain).read_round(0) == []


def source_tokenizer():
    from tests.tiny import character_tokenizer

    tokenizer = character_tokenizer()
    return lambda ids: tokenizer.decode(list(ids), skip_special_tokens=True)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("DPOModule", {"problems": 8}),
        ("IteratedDPOModule", {"problems": 8}),
        ("ExpertIterationModule", {"n": 2, "candidates": 4}),
        ("GRPOModule", {"problems": 4, "answers": 5}),
    ],
)
def test_every_method_on_graded_answers_takes_a_reward(tmp_path, name, arguments):
    run = fit(tmp_path / "r.yaml", content(name, references(), **arguments))
    assert run.read_round(0)
    assert run.read_results()[-1]["correct"] == 0.0  # evaluation stays the grader's


def test_a_resumed_run_and_a_second_run_pay_nothing(tmp_path, monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setattr("plm.teacher.client.backoff", lambda attempt: 0.01)

    def script(body, count):
        return chat_reply({"5": -0.1, "1": -3.0} if "xe" in body["messages"][0]["content"] else {"1": 0.0})

    with serving(script) as server:
        client = {"base_url": server.url, "cache": str(tmp_path / "replies")}
        judge = {"class_path": "plm.rewards.EndpointJudge", "init_args": {"model": "judge", "client": client}}
        reward = {"class_path": "plm.rewards.JudgeReward", "init_args": {"judge": judge}}
        path = write(tmp_path / "judged.yaml", content("RewardWeightedDPOModule", reward, problems=8))
        assert plm("fit", path) == 0
        paid = len(server.requests)
        run = only_run(path)
        first, made = numbers(run), weights(run)
        assert paid > 0 and run.read_round(0)[0].scalars["weight"] > 0.5
        for file in sorted(run.path.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()
        run.path.rmdir()
        assert plm("fit", path) == 0
        assert len(server.requests) == paid
    again = only_run(path)
    assert numbers(again) == first and all(bool((weights(again)[name] == made[name]).all()) for name in made)


def test_a_local_judge_is_a_model_reference_too(tmp_path, warm_children):
    """The config of the judge is fitted first, and its run stands in the manifest beside the base's."""
    judge = write(tmp_path / "judge.yaml", config(sft(), callbacks=[], rounds=1))
    local = {"class_path": "plm.rewards.ModelJudge", "init_args": {"model": str(judge)}}
    arguments = {"judge": local, "prompt": "{problem} {completion}\n"}
    reward = {"class_path": "plm.rewards.JudgeReward", "init_args": arguments}
    run = fit(tmp_path / "r.yaml", content("RewardWeightedDPOModule", reward, problems=8))
    weighed = [row.scalars["weight"] for row in run.read_round(0)]
    assert weighed and all(0 < weight < 1 for weight in weighed)
    assert only_run(judge).finished
    assert any("reward" in key for key in run.read_manifest()["references"])


def test_a_wrong_reward_is_one_line(tmp_path, capsys):
    reward = {"class_path": "plm.rewards.EmbeddingReward", "init_args": {"embeder": None}}
    assert plm("fit", write(tmp_path / "r.yaml", content("DPOModule", reward))) == 1
    assert "embeder" in capsys.readouterr().err
    with pytest.raises(PlmError, match="NgramEmbedder"):
        NgramEmbedder(longest=0)
