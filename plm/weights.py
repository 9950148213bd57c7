"""Models made by arithmetic on other models' weights: the post's controls for weak sample unlocking (ELI-13)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor, nn

from plm.errors import PlmError
from plm.models import LoadedModel, ModelSource, load_pretrained
from plm.references import ModelReference
from plm.seeds import derive_seed


class Noised(ModelSource):
    """A model with Gaussian noise added to every weight (the post: this raises no hidden correctness).

    The post does not say how much. Ours is relative: each tensor gets noise whose standard deviation is a share of the
    root mean square of its own weights.

    Args:
        model: The model to start from.
        share: Standard deviation of the noise, as a share of each tensor's root mean square.
        seed: Of the noise; the run's own where None.
    """

    def __init__(self, model: ModelReference, share: float, seed: int | None = None) -> None:
        if not 0 <= share < math.inf:
            raise PlmError(f"Noised: share is {share}; it must be a number of at least 0")
        self.model = model
        self.share = share
        self.seed = seed

    def load(self, texts: Iterable[str] = (), extra_texts: Iterable[str] = (), seed: int = 0) -> LoadedModel:
        """Loads the model and adds the noise; the texts are not read."""
        loaded = load_pretrained(str(self.model))
        drawn = seed if self.seed is None else self.seed
        with torch.no_grad():
            for name, weight in _weights(loaded.model):
                generator = torch.Generator().manual_seed(derive_seed(drawn, "noise", name))
                noise = torch.randn(weight.shape, generator=generator)
                weight.add_(noise.to(weight) * (self.share * weight.square().mean().sqrt()))
        return loaded


class Scaled(ModelSource):
    """A model with every weight multiplied by one factor (the post: neither up nor down raises hidden correctness).

    Weight decay of a step is a scaling too, by 1 − lr · decay.

    Args:
        model: The model to start from.
        factor: What every weight is multiplied by.
        norms: Whether the gains of normalisation layers are scaled too.
    """

    def __init__(self, model: ModelReference, factor: float, norms: bool = True) -> None:
        if not 0 < factor < math.inf:
            raise PlmError(f"Scaled: factor is {factor}; it must be a number above 0")
        self.model = model
        self.factor = factor
        self.norms = norms

    def load(self, texts: Iterable[str] = (), extra_texts: Iterable[str] = (), seed: int = 0) -> LoadedModel:
        """Loads the model and scales it; the texts are not read."""
        loaded = load_pretrained(str(self.model))
        with torch.no_grad():
            for _, weight in _weights(loaded.model):
                if self.norms or weight.dim() > 1:
                    weight.mul_(self.factor)
        return loaded


class Averaged(ModelSource):
    """The mean of several models' weights, which must have the same shapes.

    The post averages 16 runs that each overfitted on 4 other weak samples, against one run on all 64.

    Args:
        models: The models; with equal weight each.
    """

    def __init__(self, models: Sequence[ModelReference]) -> None:
        if not models:
            raise PlmError("Averaged: models is empty; name at least one")
        self.models = models

    def load(self, texts: Iterable[str] = (), extra_texts: Iterable[str] = (), seed: int = 0) -> LoadedModel:
        """Loads one model after the other; the texts are not read.

        Raises:
            PlmError: If two models differ in the names or shapes of their weights.
        """
        loaded = load_pretrained(str(self.models[0]))
        sums = {name: weight.detach().double() for name, weight in _weights(loaded.model)}
        for reference in self.models[1:]:
            other = dict(_weights(load_pretrained(str(reference)).model))
            self._check(sums, other, reference)
            for name, total in sums.items():
                total.add_(other[name].detach())
        with torch.no_grad():
            for name, weight in _weights(loaded.model):
                weight.copy_(sums[name] / len(self.models))
        return loaded

    def _check(self, sums: dict[str, Tensor], other: dict[str, nn.Parameter], reference: ModelReference) -> None:
        for name in sums.keys() | other.keys():
            if name not in sums or name not in other or sums[name].shape != other[name].shape:
                raise PlmError(f"Averaged: {reference} and {self.models[0]} differ in the weights {name!r}")


def _weights(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Every weight once, by name; tied ones are one."""
    return model.named_parameters()
