"""A method that trains on its own samples: whatever moves its weights moves its data too."""

from plm.losses import sft_loss
from plm.models import ModelSource
from plm.modules import OptimizerCallable, PolicyModule
from plm.references import ModelReference
from plm.rounds import Demonstration


class SamplingModule(PolicyModule):
    """Imitates what the model samples, right or wrong."""

    method = "sampling"

    def __init__(self, base: ModelReference | ModelSource, optimizer: OptimizerCallable, passes: int = 1) -> None:
        super().__init__(base, optimizer, passes)

    def examples(self, round):
        problems = round.task.split("elicit")
        graded = round.sample(problems, n=2, temperature=1.0)
        return [round.example(Demonstration(row.problem, "none", row.completion)) for rows in graded for row in rows]

    def loss(self, batch):
        return sft_loss(self.network(batch), batch.weights_BL)
