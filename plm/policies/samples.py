"""A frozen model's answers on disk: what is asked of it, and the folder that holds what it said."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from plm.datamodules.splits import SplitName
from plm.errors import PlmError
from plm.passwords import Condition
from plm.records import Answer
from plm.runs import RunFolder
from plm.tables import write_parquet

CALLBACK = "plm.policies.sampling.SamplesCallback"
FROZEN = "plm.policies.sampling.FrozenModule"
BATCH_KEYS = ("batch_size",)  # of a task's arguments: how it trains, which moves no answer


class Sampling(NamedTuple):
    """What is asked of a frozen model.

    Attributes:
        split: Whose problems; all of them.
        temperature: 0 is greedy decoding.
        samples: Answers to each problem; one at temperature 0.
        condition: What the prompts look like.
        seed: Of the draws.
    """

    split: SplitName
    temperature: float
    samples: int
    condition: Condition
    seed: int


class AskedModel:
    """What policies have in common whose argument `model` names a model that is asked before the fit, not trained."""


class SamplesFolder(RunFolder):
    """The folder of a sampling run: `samples.parquet` beside the manifest that says where it comes from.

    While the run lasts, finished parts are in `parts/`, so that one that was killed goes on there.
    """

    @property
    def samples_path(self) -> Path:
        """One row an answer: problem_id, sample, prompt, completion, tokens, finished, probabilities."""
        return self.path / "samples.parquet"

    @property
    def intact(self) -> bool:
        """Whether the samples are byte for byte what was saved."""
        return self.samples_path.is_file() and self.read_manifest().get("samples_digest") == self.digest()

    def digest(self) -> str:
        """Of the samples."""
        with self.samples_path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]

    def has_part(self, index: int) -> bool:
        """Whether a part of the samples was made already."""
        return self._part_path(index).exists()

    def write_part(
        self, index: int, answers: Sequence[Answer], samples: Sequence[int], labels: Sequence[Mapping[str, float]]
    ) -> None:
        """Writes a part, which appears whole or not at all; labels are choice → probability, empty without choices."""
        columns = {
            "problem_id": [row.problem.id for row in answers],
            "sample": pa.array(list(samples), pa.int32()),
            "prompt": [row.prompt for row in answers],
            "completion": [row.completion for row in answers],
            "tokens": pa.array([row.tokens for row in answers], pa.int32()),
            "finished": [row.finished for row in answers],
            "probabilities": [json.dumps(dict(label)) if label else None for label in labels],
        }
        columns["probabilities"] = pa.array(columns["probabilities"], pa.string())
        write_parquet(self._part_path(index), pa.table(columns))

    def join(self, parts: int, about: Mapping[str, Any]) -> dict[str, int]:
        """Makes one file of all parts, notes its digest, and counts what is in it.

        Returns:
            `answers`; of these `cut_off` by the length limit; and `too_long`, prompts that were not asked.
        """
        table = pa.concat_tables([pq.read_table(self._part_path(index)) for index in range(parts)])
        rows = table.select(["tokens", "finished"]).to_pylist()
        counts = {
            "answers": len(rows),
            "cut_off": sum(not row["finished"] and row["tokens"] > 0 for row in rows),
            "too_long": sum(not row["finished"] and row["tokens"] == 0 for row in rows),
        }
        write_parquet(self.samples_path, table)
        self.update_manifest(samples_digest=self.digest(), samples={**about, **counts})
        shutil.rmtree(self._part_path(0).parent)
        return counts

    def _part_path(self, index: int) -> Path:
        return self.path / "parts" / f"{index:05d}.parquet"


def read_samples(folder: Path) -> dict[str, list[tuple[str, bool]]]:
    """Reads the answers to each problem, with whether they came to their end, in the order of the samples.

    Raises:
        PlmError: If there are none, or the file is damaged.
    """
    found: dict[str, list[tuple[str, bool]]] = {}
    for row in _read(folder, ["problem_id", "completion", "finished"]):
        found.setdefault(row["problem_id"], []).append((row["completion"], row["finished"]))
    return found


def read_labels(folder: Path) -> dict[str, Mapping[str, float]]:
    """Reads how probable the model found each choice, by problem; problems without choices are left out.

    Raises:
        PlmError: If there are no samples, or the file is damaged.
    """
    rows = _read(folder, ["problem_id", "probabilities"])
    return {row["problem_id"]: json.loads(row["probabilities"]) for row in rows if row["probabilities"]}


def _read(folder: Path, columns: list[str]) -> list[dict[str, Any]]:
    path = SamplesFolder(folder).samples_path
    try:
        rows: list[dict[str, Any]] = pq.read_table(path, columns=columns).to_pylist()
    except FileNotFoundError as error:
        raise PlmError(
            f"{folder}: there are no samples of a frozen model; plm fit makes them before it trains"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise PlmError(f"{path} is damaged: delete {folder} to have the model sampled again") from error
    return rows


def find_sampling(config: Mapping[str, Any], key: str) -> Sampling | None:
    """What a policy asks of the frozen model that a reference names; None where the model is not asked but trained.

    A policy without a split of its own answers the split of the method or callback that uses it.

    Args:
        config: Plain values.
        key: Dotted key of the reference.

    Raises:
        PlmError: If neither the policy nor what uses it has a split.
    """
    *place, name = key.split(".")
    policy = _class(_inner(config, place[:-1]))
    if name != "model" or policy is None or not issubclass(policy, AskedModel):
        return None
    arguments = _inner(config, place)
    users = (_inner(config, place[:end]) for end in range(len(place) - 2, 0, -1) if place[end - 1] == "init_args")
    split = arguments["split"] or next((user["split"] for user in users if user.get("split")), None)
    if split is None:
        raise PlmError(f"{'.'.join(place)}.split: say which split's problems the model answers")
    temperature = arguments.get("temperature", 0.0)
    samples = arguments["samples"] if temperature else 1
    return Sampling(split, temperature, samples, arguments["condition"], arguments.get("seed", 0))


def sampling_config(config: Mapping[str, Any], model: str, sampling: Sampling) -> dict[str, Any]:
    """The configuration of the `plm predict` that makes the samples: the same task, a frozen model, one process.

    Args:
        config: Of the run that needs the samples, plain values.
        model: Reference to the model.
        sampling: What is asked of it.
    """
    task = config["data"]
    arguments = {name: value for name, value in (task.get("init_args") or {}).items() if name not in BATCH_KEYS}
    *asked, seed = sampling
    trainer = {name: config["trainer"].get(name) for name in ("accelerator", "precision")}
    callback = {"class_path": CALLBACK, "init_args": dict(zip(Sampling._fields, asked, strict=False))}
    return {
        "seed_everything": seed,
        "model": {"class_path": FROZEN, "init_args": {"base": model}},
        "data": {"class_path": task["class_path"], "init_args": arguments},
        "trainer": {**trainer, "devices": 1, "logger": False, "callbacks": [callback]},
    }


def samples_name(model: str) -> str:
    """The name of a model's sampling runs: after its config, its folder's run, or its name on the hub."""
    path = Path(model.split(" + ")[0])
    if path.name == "model" and len(path.parts) > 2:  # runs/<name>/<hash8>-seed<seed>/model
        path = path.parents[1]
    return f"samples_{path.stem if path.suffix in ('.yaml', '.yml') else path.name}"


def _inner(config: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        config = config[int(key)] if isinstance(config, list) else config[key]
    return config


def _class(config: Any) -> type | None:
    path = config.get("class_path") if isinstance(config, Mapping) else None
    if not isinstance(path, str):
        return None
    module, _, name = path.rpartition(".")
    found = getattr(importlib.import_module(module), name)
    return found if isinstance(found, type) else None
