"""What a run has spent so far, so that any two methods can be plotted against the same axis (EVL-5)."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass
class Budget:
    """Cumulative costs of a run; part of its checkpoints.

    Attributes:
        demonstrations: Distinct problems whose demonstrations were trained on.
        generations: Completions sampled for training (those of evaluations are not counted).
        graded: Completions graded for training.
        optimizer_steps: Optimizer steps.
        trained_tokens: Completion tokens that went through the loss, by weight.
        seconds: Wall time of training, sampling and grading, in seconds; evaluations and probes are left out.
    """

    demonstrations: int = 0
    generations: int = 0
    graded: int = 0
    optimizer_steps: int = 0
    trained_tokens: int = 0
    seconds: float = 0.0

    def as_row(self) -> dict[str, int | float]:
        """The fields as columns of a results line."""
        return {**asdict(self), "seconds": round(self.seconds, 3)}

    def load(self, state: dict[str, int | float]) -> None:
        """Takes over the values of a checkpoint."""
        for name, value in state.items():
            setattr(self, name, value)

    def take_sampling(self, state: dict[str, int | float]) -> None:
        """Takes over what had been sampled when a round was made, for a run that reads the round instead."""
        self.generations, self.graded = int(state["generations"]), int(state["graded"])
