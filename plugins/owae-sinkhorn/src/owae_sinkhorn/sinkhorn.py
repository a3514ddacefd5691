"""The divergence itself; what it computes stands in the package's docstring."""

from __future__ import annotations

import logging
import math
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from owae.errors import ConfigError, PluginError
from owae.interfaces import Divergence, Shape
from owae.streams import quiet_stdout
from owae_sinkhorn.keops import keops_missing

log = logging.getLogger(__name__)

Backend = Literal["auto", "tensorized", "online", "multiscale"]

TENSORIZED_PAIRS = 5_000**2  # up to here a full cost matrix is faster than KeOps, and fits
FALLBACK_PAIRS = 10_000**2  # up to here a full cost matrix still fits, into about 3 GB in float32
MULTISCALE_DIMENSIONS = 3  # the grid that clusters the points has no more


class Sinkhorn(Divergence):
    """Sinkhorn divergence, or plain entropic transport, in units of `W_p^p` (no root).

    The debiased divergence is at least 0 up to rounding and an unfinished iteration, and 0 for equal clouds. Gradients are
    those a converged iteration would have (envelope theorem), so they are off where it ends early: with the defaults by 20% to
    45% of their norm for 128 points in 2 to 32 dimensions, less with a larger blur and `scaling` nearer 1 (with 0.5 and 0.95
    by 1% to 9%). They cannot be differentiated again. For `p = 1` the gradient between points that coincide is 0.

    Args:
        p: The power of the Euclidean distance: 2 for `W₂²`, 1 for `W₁`.
        blur: The length below which detail is ignored, in units of the data; `ε = 2 · blur²` for `p = 2`, `ε = blur` for `p = 1`.
        scaling: The ratio of successive lengths as the iteration goes from the clouds' diameter down to `blur`: nearer 1 is
            slower and more exact. By default 0.5 for balanced `p = 2`, as geomloss has it: within 3% of the exact cost of 300
            points. Else 0.9, because 0.5 would leave `p = 1` up to 30% short, and `reach` up to 13%.
        reach: The length beyond which mass is rather destroyed than moved (unbalanced transport); None for balanced.
        debias: Whether to take off the two self-terms; without, equal clouds do not give 0.
        backend: "tensorized" holds matrices of n × m; "online" (KeOps) holds none; "multiscale" (KeOps) is for very
            large clouds in up to 3 dimensions and approximates (to about 1% at scaling 0.5, 0.3% at 0.9); "auto" takes the
            fastest that is installed and fits, and logs which.

    Raises:
        ConfigError: An option is out of range.
        PluginError: The backend cannot be used here (when called); says what to install.
    """

    name = "sinkhorn"

    def __init__(
        self,
        *,
        p: Literal[1, 2] = 2,
        blur: Annotated[float, Field(gt=0)] = 0.05,
        scaling: Annotated[float, Field(gt=0, lt=1)] | None = None,
        reach: Annotated[float, Field(gt=0)] | None = None,
        debias: bool = True,
        backend: Backend = "auto",
    ) -> None:
        super().__init__()
        if p not in (1, 2):
            raise ConfigError(f"p is {p}; a Sinkhorn divergence takes p = 1 (W₁) or p = 2 (W₂²)")
        for name, length in (("blur", blur), ("reach", reach)):
            if length is not None and not 0 < length < math.inf:
                raise ConfigError(f"{name} is {length}; it is a length, above 0 and finite")
        if scaling is not None and not 0 < scaling < 1:
            raise ConfigError(f"scaling is {scaling}; it is a ratio between 0 and 1, such as 0.5")
        self.p, self.blur, self.reach, self.debias = p, blur, reach, debias
        self.scaling = (0.5 if p == 2 and reach is None else 0.9) if scaling is None else scaling
        self.backend: Backend = backend
        self._logged: set[str] = set()

    def forward(self, x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> Float[Tensor, ""]:
        x, y = x.flatten(1), y.flatten(1)
        backend = self._choose(x, y)
        if not torch.is_grad_enabled():
            x, y = x.detach(), y.detach()
        # Distances come from products, whose digits an offset in common would take; it does not change the divergence.
        centre = torch.cat([x.detach(), y.detach()]).mean(0)
        x, y = (x - centre).contiguous(), (y - centre).contiguous()
        # geomloss leaves gradients switched on, whatever they were before; this block puts them back, also when it raises.
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            value = self._loss(backend, self._diameter(x, y))(x, y)
        if self.reach is not None:
            value = _scale_gradient(value, self._unbalanced_gradient())
        return 2 * value if self.p == 2 else value

    def describe(self, shape: Shape) -> dict[str, str | float | list[float]]:
        return {
            "divergence": self.name,
            "estimator": "debiased Sinkhorn divergence" if self.debias else "entropic transport, not debiased",
            "unit": "W2^2, cost |x-y|^2" if self.p == 2 else "W1, cost |x-y|",
            "root": "no",
            "p": self.p,
            "blur": self.blur,
            "epsilon": 2 * self.blur**2 if self.p == 2 else self.blur,
            "scaling": self.scaling,
            "reach": "infinite (balanced)" if self.reach is None else self.reach,
            "backend": self.backend,
        }

    def _loss(self, backend: str, diameter: float) -> torch.nn.Module:
        with quiet_stdout():  # geomloss imports pykeops, which prints
            from geomloss import SamplesLoss
        return SamplesLoss(
            "sinkhorn",
            p=self.p,
            blur=self.blur,
            scaling=self.scaling,
            reach=self.reach,
            debias=self.debias,
            diameter=diameter,
            backend=backend,
        )

    def _diameter(self, x: Tensor, y: Tensor) -> float:
        """The length the iteration starts from: the diagonal of the box around both clouds, as geomloss takes it.

        At least `blur`, because geomloss takes its logarithm and identical points have none.
        """
        points = torch.cat([x.detach(), y.detach()])
        return max((points.amax(0) - points.amin(0)).norm().item(), self.blur)

    def _unbalanced_gradient(self) -> float:
        """Returns the factor by which geomloss's gradient of unbalanced transport falls short.

        The dual value is scaled by `ρ + ε/2`, its gradient by `ρ + ε` (Séjourné et al. 2019, Prop. 12). geomloss
        writes the latter as a module's `backward`, which autograd never calls.
        """
        assert self.reach is not None
        epsilon, rho = self.blur**self.p, self.reach**self.p
        return (rho + epsilon) / (rho + epsilon / 2)

    def _choose(self, x: Tensor, y: Tensor) -> str:
        dimension, pairs = x.shape[1], len(x) * len(y)
        if self.backend == "auto":
            backend, why = self._auto(dimension, pairs)
        else:
            backend, why = self.backend, "asked for"
        if backend == "multiscale" and dimension > MULTISCALE_DIMENSIONS:
            raise PluginError(
                f"sinkhorn's backend 'multiscale' works in up to {MULTISCALE_DIMENSIONS} dimensions, "
                f'and these events have {dimension}; take backend = "online"'
            )
        if backend != "tensorized" and keops_missing():
            raise PluginError(
                f"sinkhorn on {len(x)} x {len(y)} points by backend '{backend}': {keops_missing()}. "
                f'Or take backend = "tensorized", which holds {len(x)} x {len(y)} matrices'
            )
        message = f"sinkhorn: backend '{backend}' in {dimension} dimensions ({why})"
        if message not in self._logged:
            self._logged.add(message)
            log.info("%s%s", message, "" if backend == "tensorized" else "; the first call may compile for some seconds")
        return backend

    def _auto(self, dimension: int, pairs: int) -> tuple[str, str]:
        if pairs <= TENSORIZED_PAIRS:
            return "tensorized", f"up to {TENSORIZED_PAIRS:,} pairs of points"
        if keops_missing() and pairs <= FALLBACK_PAIRS:
            return "tensorized", f"more than {TENSORIZED_PAIRS:,} pairs of points, but {keops_missing()}"
        if dimension <= MULTISCALE_DIMENSIONS and self.p == 2 and pairs > FALLBACK_PAIRS:
            return "multiscale", f"more than {FALLBACK_PAIRS:,} pairs of points in few dimensions"
        return "online", f"more than {TENSORIZED_PAIRS:,} pairs of points"


def _scale_gradient(value: Tensor, factor: float) -> Tensor:
    """The same value, its gradient multiplied by a factor."""
    return value.detach() + factor * (value - value.detach())
