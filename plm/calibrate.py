"""`plm calibrate critique`: the similarity at which an embedder's critiques count as right, from labelled pairs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plm.embedders import Embedder, EndpointEmbedder, NgramEmbedder, SentenceTransformerEmbedder, closeness
from plm.errors import PlmError
from plm.graders.critique import THRESHOLD, CritiqueGrader
from plm.studies.statistics import Interval, correctness_interval

FOLDS = 5
FEWEST = 10
OWN_PAIRS = 1000
STEPS = np.arange(1, 101) / 100
EMBEDDERS = {"ngrams": NgramEmbedder, "sentence_transformers": SentenceTransformerEmbedder}

Similarities = NDArray[np.float64]
Labels = NDArray[np.bool_]


class Calibration(NamedTuple):
    """A threshold and how well it tells right from wrong critiques.

    Attributes:
        threshold: Least similarity of a right critique.
        accuracy: Share of pairs that are judged as they are labelled, each with a threshold that was chosen without it.
        chance: The accuracy of calling all of them what most of them are.
        accepted_wrong: Of the wrong pairs, the share that the threshold accepts.
        refused_right: Of the right pairs, the share that it refuses.
        pairs: How many.
    """

    threshold: float
    accuracy: Interval
    chance: float
    accepted_wrong: float
    refused_right: float
    pairs: int

    def lines(self) -> str:
        """What a person reads."""
        low, high = self.accuracy.low, self.accuracy.high
        return (
            f"threshold    {self.threshold:.2f}\n"
            f"accuracy     {self.accuracy.value:.3f} (95 % interval {low:.3f} to {high:.3f}, {self.pairs} pairs, each "
            f"judged by a threshold chosen without it; always the same answer: {self.chance:.3f})\n"
            f"accepts      {self.accepted_wrong:.3f} of the wrong critiques\n"
            f"refuses      {self.refused_right:.3f} of the right critiques"
        )


def choose_threshold(similarities: Similarities, labels: Labels) -> float:
    """The threshold of two decimals that judges most pairs right, as the paper chose its 0.8 (App. E.2).

    Args:
        similarities: Of each pair, in [0, 1].
        labels: Whether each pair is right.

    Returns:
        The middle one of the best.
    """
    accuracies = [float(((similarities >= step) == labels).mean()) for step in STEPS]
    best = [step for step, accuracy in zip(STEPS, accuracies, strict=True) if accuracy == max(accuracies)]
    return float(best[len(best) // 2])


def calibrate(similarities: Sequence[float], labels: Sequence[bool]) -> Calibration:
    """Chooses the threshold on all pairs, and measures it on pairs that were left out, a fifth at a time.

    Raises:
        PlmError: If there are fewer than 10 pairs, or all have one label.
    """
    values, right = np.asarray(similarities), np.asarray(labels, dtype=bool)
    if len(values) < FEWEST or right.all() or not right.any():
        raise PlmError(
            f"{len(values)} pairs, {int(right.sum())} of them right: at least {FEWEST} are needed, right and wrong ones"
        )
    fold = np.arange(len(values)) % FOLDS
    judged = np.zeros(len(values))
    for each in range(FOLDS):
        chosen = choose_threshold(values[fold != each], right[fold != each])
        judged[fold == each] = (values[fold == each] >= chosen) == right[fold == each]
    threshold = choose_threshold(values, right)
    return Calibration(
        threshold,
        correctness_interval(judged[None, :], "problems"),
        float(max(right.mean(), 1 - right.mean())),
        float((values[~right] >= threshold).mean()),
        float((values[right] < threshold).mean()),
        len(values),
    )


class Endpoint(NamedTuple):
    """Where embeddings come from, if not from this machine.

    Attributes:
        base_url: Of an OpenAI-compatible endpoint; the key is in OPENAI_API_KEY.
        cache: Folder of its replies.
    """

    base_url: str = "https://api.openai.com/v1"
    cache: Path = Path("data/replies")


def run_calibrate(task: str, path: Path | None, embedder: str, endpoint: Endpoint | None = None) -> int:
    """Prints the threshold for an embedder.

    Args:
        task: `critique`.
        path: JSON lines `{completion, reference, correct}` with pairs that occur in no `val` split; the embedded task's
            own pairs, which are of other programs than its problems, where None.
        embedder: A key of `EMBEDDERS`, or `endpoint:` and the name of a model there.
        endpoint: Where that is; OpenAI's where None.

    Returns:
        The exit status.

    Raises:
        PlmError: If the task or the embedder is unknown, the file cannot be read, or a row is not a labelled pair.
    """
    if task != "critique":
        raise PlmError(f"task is {task}; only critique has a threshold")
    made = _embedder(embedder, endpoint)
    rows = _own_pairs() if path is None else _read(path)
    texts, references, labels = zip(*rows, strict=True) if rows else ((), (), ())
    print(calibrate(closeness(made, texts, references), labels).lines())
    return 0


def make_grader(
    task: str, embedder: str | None, threshold: float | None, endpoint: Endpoint | None = None
) -> CritiqueGrader:
    """A grader of critiques with another embedder or threshold than the default.

    Raises:
        PlmError: If the task has no such choice, or the embedder needs a threshold of its own.
    """
    if task != "critique":
        raise PlmError(f"--embedder and --threshold are for critiques, not for {task}")
    if threshold is None and embedder not in (None, "ngrams"):
        raise PlmError(f"--embedder {embedder} needs a --threshold of its own: plm calibrate critique chooses one")
    return CritiqueGrader(_embedder(embedder or "ngrams", endpoint), THRESHOLD if threshold is None else threshold)


def _embedder(name: str, endpoint: Endpoint | None) -> Embedder:
    kind, _, model = name.partition(":")
    if kind == "endpoint" and model:
        from plm.teacher.client import Client

        place = endpoint or Endpoint()
        return EndpointEmbedder(model, Client(place.base_url, place.cache))
    if name not in EMBEDDERS:
        raise PlmError(f"embedder is {name}; it must be one of: {', '.join(EMBEDDERS)}, endpoint:MODEL")
    made: Embedder = EMBEDDERS[name]()
    return made


def _own_pairs() -> list[tuple[str, str, bool]]:
    from plm.datamodules.mini_critique import make_pairs

    return [(pair.completion, pair.reference, pair.correct) for pair in make_pairs(OWN_PAIRS)]


def _read(path: Path) -> list[tuple[str, str, bool]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise PlmError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return [_pair(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _pair(path: Path, number: int, line: str) -> tuple[str, str, bool]:
    try:
        row = json.loads(line)
        pair = row["completion"], row["reference"], row["correct"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise PlmError(f"{path}:{number}: not a JSON object with `completion`, `reference` and `correct`") from error
    if not (isinstance(pair[0], str) and isinstance(pair[1], str) and isinstance(pair[2], bool)):
        raise PlmError(f"{path}:{number}: `completion` and `reference` must be strings, `correct` true or false")
    return pair
