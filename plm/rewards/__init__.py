"""Continuous rewards for training (ELI-7): closeness to a reference, or a judge model's expected grade."""

from plm.rewards.base import Reward, rewarded
from plm.rewards.embedding import EmbeddingReward
from plm.rewards.judge import JudgeReward, expected_grade
from plm.rewards.judges import EndpointJudge, Judge, ModelJudge

__all__ = [
    "EmbeddingReward",
    "EndpointJudge",
    "Judge",
    "JudgeReward",
    "ModelJudge",
    "Reward",
    "expected_grade",
    "rewarded",
]
