"""SFT on those tokens only that the locked model predicts better without its password than with it (ELI-12)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from plm.errors import PlmError
from plm.examples import Example
from plm.modules.sft import SFTModule
from plm.passwords import Condition
from plm.progress import say
from plm.rounds import Demonstration, Round


class MaskedSFTModule(SFTModule):
    """Fine-tunes with the loss on tokens that the weights the run started from predict better without the password.

    The post masks the others to test whether weak sample unlocking works through tokens that the strong policy, behind
    the password, predicts better: it then finds about half of the effect. It leaves open what is compared when: we
    compare log-probabilities under the weights that the run started from, once, on the prompt without and the prompt
    with the password; the end token counts like any other. An answer of which no token is left is left out.


    """

    method = "masked_sft"
    compared: Condition = "right"

    def examples(self, round: Round) -> Sequence[Example]:
        """The demonstrations, each token with weight 1 or 0."""
        shown = self.shown(round)
        rows = [round.example(demonstration) for demonstration in shown]
        with round.initial_weights():
            without = round.token_logprobs(rows)
            given = round.token_logprobs([round.example(self._with_password(each)) for each in shown])
        masked = [
            dataclasses.replace(row, weights=[float(a > b) for a, b in zip(mine, other, strict=True)])
            for row, mine, other in zip(rows, without, given, strict=True)
        ]
        kept = [row for row in masked if row.weight]
        tokens = sum(len(row.completion_ids) for row in rows)
        say(f"  trained on {sum(row.weight for row in kept):.0f} of {tokens} tokens: better predicted without password")
        if len(kept) < len(rows):
            say(f"  {len(rows) - len(kept)} of {len(rows)} demonstrations have no such token and are left out")
        return kept

    def _with_password(self, demonstration: Demonstration) -> Demonstration:
        if demonstration.condition == self.compared:
            raise PlmError(f"model.init_args.condition is {self.compared}: the mask compares it with itself")
        return demonstration._replace(condition=self.compared)
