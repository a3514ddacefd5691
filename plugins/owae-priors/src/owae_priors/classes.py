"""Draws of one class: a prior that is standard normal in training, and afterwards has a mixture of Gaussians for each class."""

from __future__ import annotations

from typing import Annotated

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from owae.errors import DataError, suggestion
from owae.interfaces import Prior, Shape
from owae.tensor_checks import at_least, check_events
from owae_priors.mixture import GaussianMixture


class ClassConditional(Prior):
    """`N(0, I)` over all classes, and for each class a mixture of diagonal Gaussians fitted to the codes of its examples.

    Labels have no part in training, so codes of two classes are told apart as far as the stack has found them apart by itself, and draws
    of one class are of that class as far as that. `fit` sets the mixtures; they are no part of the state of a model, for `owae sample
    --label` fits them anew, to whatever model it opens.

    Args:
        components: Gaussians of each class; a class with fewer than ten times as many examples has fewer.
    """

    name = "class-conditional"

    def __init__(self, shape: Shape, /, *, components: Annotated[int, Field(ge=1)] = 5) -> None:
        super().__init__(shape)
        at_least(1, components=components)
        self.components = components
        self._mixtures: dict[int, GaussianMixture] = {}

    @property
    def classes(self) -> list[int]:
        """The classes that mixtures are fitted for."""
        return sorted(self._mixtures)

    def sample(self, n: int) -> Float[Tensor, "{n} *z"]:
        return torch.randn(n, *self.shape, dtype=self.anchor.dtype, device=self.anchor.device)

    def of_class(self, label: int, n: int) -> Float[Tensor, "{n} *z"]:
        """`n` draws of a class.

        Raises:
            DataError: No mixture is fitted for it.
        """
        if label not in self._mixtures:
            raise DataError(f"no codes of class {label} are known; {suggestion(str(label), map(str, self.classes))}")
        return self._mixtures[label].sample(n).to(self.anchor)

    @torch.no_grad()
    def fit(self, codes: Float[Tensor, "n *z"], labels: Int[Tensor, " n"], *, seed: int = 0) -> None:
        """Fits a mixture to the codes of each class by expectation maximisation, in place of those fitted before.

        Args:
            codes: Codes of labelled examples, on any device.
            labels: Their classes; −1 for none.
            seed: Of the starts.

        Raises:
            DataError: A class has one code alone, or its codes are all the same.
            InputError: Codes have another shape, or hold NaN or infinity.
        """
        check_events("codes", codes.shape[1:], self.shape)
        fitted = {}
        for label in labels[labels >= 0].unique().tolist():
            own = codes[labels.to(codes.device) == label].cpu()
            mixture = GaussianMixture(self.shape, components=max(1, min(self.components, len(own) // 10)), learn=False)
            try:
                mixture.fit(own, seed=seed)
            except DataError as error:
                raise DataError(f"class {label}: {error}") from error
            fitted[label] = mixture.requires_grad_(False)
        self._mixtures = fitted
