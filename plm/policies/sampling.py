"""What `plm predict` runs to sample from a frozen model: a module that trains nothing, and a callback that asks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NoReturn

from lightning import Callback, LightningModule, Trainer

from plm.datamodules.splits import SplitName
from plm.distributed import from_first
from plm.errors import PlmError
from plm.evaluation import answer, choice_distributions
from plm.examples import Batch, Example
from plm.modules.base import PolicyModule
from plm.passwords import Condition
from plm.policies.samples import SamplesFolder
from plm.progress import Advance, say, working
from plm.records import Answer, Problem
from plm.references import ModelReference
from plm.rounds import Round
from plm.seeds import derive_seed

PART = 4096  # answers on disk at once: what a kill can cost


class FrozenModule(PolicyModule):
    """A model that only answers.

    Args:
        base: A hub id, a directory, or another config.
    """

    method = "frozen"

    def __init__(self, base: ModelReference) -> None:
        super().__init__(base, lambda _: self._refuse())

    def examples(self, round: Round) -> Sequence[Example]:
        """Refuses: there is nothing to train on."""
        self._refuse()

    def loss(self, batch: Batch) -> NoReturn:
        """Refuses."""
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise PlmError("FrozenModule is not trained: it is for plm predict, validate and test")


class SamplesCallback(Callback):
    """Has the model answer every problem of a split, for `plm predict`, and keeps the answers in the run's folder.

    The answer to a problem depends on model, prompt, seed and the sample's number alone. Answers are saved in parts, so
    that a run that was killed goes on with the next one.

    Args:
        split: Whose problems.
        temperature: 0 is greedy decoding.
        samples: Answers to each problem.
        condition: What the prompts look like.
    """

    def __init__(self, split: SplitName, temperature: float, samples: int, condition: Condition) -> None:
        self.split: SplitName = split
        self.temperature = temperature
        self.samples = samples
        self.condition: Condition = condition

    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Samples and saves."""
        module: PolicyModule = pl_module  # type: ignore[assignment]
        folder, first = SamplesFolder.of(trainer), trainer.is_global_zero
        problems = module.task.split(self.split)
        asked = [(problem, number) for number in range(self.samples) for problem in problems]
        chunks = [asked[start : start + PART] for start in range(0, len(asked), PART)]
        with working("sampling", f"{self.split} · temperature {self.temperature:g}", len(asked)) as advance:
            for index, chunk in enumerate(chunks):
                if from_first(first and folder.has_part(index)):
                    advance(len(chunk))
                    continue
                answers, labels = self._ask(module, chunk, advance)
                if first:
                    folder.write_part(index, answers, [number for _, number in chunk], labels)
        if first:
            self._finish(folder, len(chunks), len(problems))

    def _ask(
        self, module: PolicyModule, asked: Sequence[tuple[Problem, int]], advance: Advance
    ) -> tuple[list[Answer], Sequence[Mapping[str, float]]]:
        """Answers, and how probable the model finds each choice where there are choices."""
        task, seed = module.task, module.task.run_seed
        problems = [problem for problem, _ in asked]
        seeds = [derive_seed(seed, "policy sample", problem.id, number) for problem, number in asked]
        answers = answer(
            module, task, problems, self.condition, self.temperature, seeds, prompt_seed=seed, progress=advance
        )
        if any(task.choices(problem) is None for problem in problems):
            return answers, [{}] * len(answers)
        return answers, choice_distributions(module, task, problems, self.condition, prompt_seed=seed)

    def _finish(self, folder: SamplesFolder, parts: int, problems: int) -> None:
        counts = folder.join(parts, {"split": self.split, "problems": problems})
        unanswered = f", {counts['too_long']} prompts too long to be asked" if counts["too_long"] else ""
        cut = f", {counts['cut_off']} cut off by the length limit" if counts["cut_off"] else ""
        say(f"  {counts['answers']} answers to {problems} problems of {self.split}{cut}{unanswered}")
