"""The contract: every abstract class of owae, on one page. A plugin author needs no other file.

A whole plugin, a divergence by the distance of the means:

    import owae

    class MeanDistance(owae.Divergence):
        name = "mean-distance"

        def __init__(self, *, scale: float = 1.0) -> None:
            super().__init__()
            self.scale = scale

        def forward(self, x, y):
            return self.scale * (x.mean(0) - y.mean(0)).square().sum()

    @owae.hookimpl
    def owae_components():
        return [MeanDistance]

Declare its module in `pyproject.toml` under `[project.entry-points.owae]`, and `divergence = { kind = "mean-distance", scale = 2.0 }`
works in every config.

Shapes: `B` batch, `*x` the event below a level, `*z` the event above it. The constructor is the schema: what the engine supplies stands
before the `/`; what a config supplies are keyword arguments after it, whose annotations are checked. Classes are abstract or final. Methods
with a body are correct defaults, for something better under the law in their docstring, which `owae.testing` checks.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from owae.component_checks import check_choices, checked_result
from owae.distributions import Distribution, shape_of
from owae.tensor_checks import check_events, checked_samples, full_precision

Shape = tuple[int, ...]
Picture = UInt8[np.ndarray, "H W 3"]


class Component(ABC):
    """Anything a plugin can bring. `name` is what a config writes after `kind =`."""

    name: ClassVar[str]
    interface: ClassVar[str]

    def __new__(cls, *engine: Any, **options: Any):
        check_choices(cls, engine, options)  # an argument annotated with a `Literal` takes its values alone, from Python too
        return object.__new__(cls)


class LatentLayer(Component, nn.Module):
    """The conditionals of one level, `q(z | x)` upward and `p(x | z)` downward (Eqs. 1 and 2).

    Constructor: `__init__(self, in_shape, /, *, <options>)`. It sets `in_shape` and `latent_shape`.

    Attributes:
        in_shape: Shape of one event below, `*x`.
        latent_shape: Shape of one event above, `*z`.
        output_range: Bounds of the decoder's mean, or None if it has none; held against the data's range at the bottom.
        draws_data: Whether samples show a draw of `p(x | z_1)` where this is the bottom level, and not its point.
    """

    interface = "layer"
    in_shape: Shape
    latent_shape: Shape
    output_range: tuple[float, float] | None = None
    draws_data: bool = False

    @abstractmethod
    def encode(self, x: Float[Tensor, "B *x"]) -> Distribution:
        """`q(z | x)`: events of `latent_shape`."""

    @abstractmethod
    def decode(self, z: Float[Tensor, "B *z"]) -> Distribution:
        """`p(x | z)`: events of `in_shape`."""

    def point(self, z: Float[Tensor, "B *z"]) -> Float[Tensor, "B *x"]:
        """The one event that stands for `p(x | z)` in a reconstruction: its mean, unless another is known to decode better."""
        return self.decode(z).mean


class Cost(Component, nn.Module):
    """A ground cost `c(x, y)` between events of one shape; sums over the event, keeps the batch.

    Constructor: `__init__(self, *, <options>)`. Gradients must be finite where `x` equals `y`.
    """

    interface = "cost"

    @abstractmethod
    def forward(self, x: Float[Tensor, "B *x"], y: Float[Tensor, "B *x"]) -> Float[Tensor, " B"]:
        """`c(x, y)`, one number a row."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        check_events("y", y.shape[1:], x.shape[1:])
        return checked_result(self, super().__call__(x, y), x.shape[:1], lambda: x.requires_grad or y.requires_grad)

    def expected(self, x: Float[Tensor, "B *x"], p: Distribution) -> Float[Tensor, " B"]:
        """`E_{y ~ p} c(x, y)`, one number a row; by one draw unless overridden with a closed form of the same mean.

        Or a proper score of `p`, equal to `c(x, y)` where `p` is a point `y`: for `x ~ q` its mean is least at `p = q`.
        """
        return self(x, p.rsample())


class Divergence(Component, nn.Module):
    """A divergence between two distributions known by samples, as closes the top of a stack (Eq. 8).

    Constructor: `__init__(self, *, <options>)`. Called as `divergence(x, y)`, which refuses samples that are empty, not
    finite or too large (`ValueError`), lifts half precision to float32, switches autocast off and then calls `forward`.
    An estimate may be negative where its docstring says so. Equal clouds give a finite value near 0 and finite gradients.
    """

    interface = "divergence"

    @abstractmethod
    def forward(self, x: Float[Tensor, "n *z"], y: Float[Tensor, "m *z"]) -> Float[Tensor, ""]:
        """The divergence of `x ~ Q` from `y ~ P`, a scalar."""

    def to_prior(self, x: Float[Tensor, "n *z"], prior: Prior) -> Float[Tensor, ""]:
        """The divergence of `x ~ Q` from `prior`: against as many fresh draws, unless overridden by a closed form of the same mean.

        An override falls back on `super().to_prior` for priors it has no form for, and first calls `self.checked(x)`.
        """
        return self(x, prior.sample(len(x)))

    def describe(self, shape: Shape) -> dict[str, str | float | list[float]]:
        """What the number means for events of `shape`: estimator, kernel and scales, root or not. For logs and tables."""
        return {"divergence": self.name}

    def checked(self, x: Tensor) -> Tensor:
        """`x` as `forward` would get it, or the same `ValueError`."""
        return checked_samples(x=x)[0]

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        x, y = checked_samples(x=x, y=y)
        with full_precision(x.device):
            return checked_result(self, super().__call__(x, y), (), lambda: x.requires_grad or y.requires_grad)


class Regulariser(Component, nn.Module):
    """A penalty on an encoder's distribution, as Eq. 17; sums over the event. Constructor: `__init__(self, *, <options>)`."""

    interface = "regulariser"

    @abstractmethod
    def forward(self, q: Distribution) -> Float[Tensor, " B"]:
        """The penalty on `q(z | x)`, one number a row."""

    def __call__(self, q: Distribution) -> Tensor:
        return checked_result(self, super().__call__(q), shape_of(q)[:1], lambda: q.mean.requires_grad and q.variance.requires_grad)


class Prior(Component, nn.Module):
    """A distribution over the deepest level (or, through deeper decoders, over any: Eq. 7).

    Constructor: `__init__(self, shape, /, *, <options>)`, which hands `shape` on. Draws have the device and dtype of `self.anchor`.
    """

    interface = "prior"
    anchor: Tensor

    def __init__(self, shape: Shape, /) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    @abstractmethod
    def sample(self, n: int) -> Float[Tensor, "{n} *z"]:
        """`n` fresh draws, differentiable with respect to the prior's parameters, if it has any."""


class DataSource(Component):
    """A set of examples of one shape: what a model is trained or measured on.

    Constructor: `__init__(self, split, /, *, <options>)` with `split` either "train" or "test"; the two share no example.
    Examples are float32 within `value_range`, or uint8, whose 0…255 the loader maps linearly onto it. Errors: `DataError`.

    Attributes:
        shape: Shape of one example, channels first for images: (C, H, W).
        value_range: Lowest and highest value an example may hold.
        labels: One class per example, (N,), or None; −1 where an example has none. Never trained on.
        class_names: What class 0, 1, … is called, for tables and figures, or None where they have no names.
        units: Of what was scaled: "names" of entries, "shift" and "scale", one for each or all; in the data's units `x · scale + shift`.
    """

    interface = "data"
    shape: Shape
    value_range: tuple[float, float] = (0.0, 1.0)
    labels: Int[Tensor, " N"] | None = None
    class_names: tuple[str, ...] | None = None
    units: Mapping[str, list[Any]] | None = None

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @abstractmethod
    def __getitem__(self, index: int) -> Tensor:
        """Example `index`, of `shape`; `IndexError` past the end."""

    @classmethod
    def declared_shape(cls, **options: Any) -> Shape | None:
        """The examples' shape where the options alone decide it, or None.

        Law: it is the `shape` of the source made with these options and the defaults. `owae check` then leaves the data alone.
        """
        return None

    def batch(self, indices: Int[Tensor, " B"]) -> Tensor:
        """The examples at `indices`, (B, *shape); one by one unless overridden by a read of all at once."""
        return torch.stack([self[int(index)] for index in indices] or [self[0]])[: len(indices)]

    def augment(self, x: Float[Tensor, "B *x"], indices: Int[Tensor, " B"], *key: int) -> Float[Tensor, "B *x"]:
        """Changes a batch for training, on its device, by draws that (seed, epoch) = `key` and each index decide; not unless overridden."""
        return x

    def fingerprint(self) -> str:
        """A text that tells these examples from others, for a run to find its data changed; a hash of 32 of them unless overridden.

        Law: the same of the same, whenever opened and wherever they lie; another of others, as far as is seen faster than by reading all.
        """
        rows = torch.linspace(0, len(self) - 1, min(32, len(self)), dtype=torch.float64).round().long()
        return hashlib.sha256(self.batch(rows).cpu().contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


class Observer(Component):
    """Something that watches a training and writes about it: a table, pictures, a service that draws curves.

    Constructor: `__init__(self, training, /)` with an `owae.run.observers.Training`; one is made when training starts, in the one
    process that writes. What a method raises is logged once and ends the observer, not the training, unless it is an `OwaeError`.
    It watches the trainings whose `train.loggers` names it, or, where `always`, every one.
    """

    interface = "observer"
    always: ClassVar[bool] = False

    @classmethod
    def require(cls) -> None:
        """Called before the data are made: `TrainingError` if something is missing that it needs, such as a package."""

    def values(self, values: Mapping[str, float | None]) -> None:
        """Takes one logged step, a line of `metrics.jsonl`: `epoch`, `step` and named numbers, None where one is not finite."""

    def epoch_ended(self, epoch: int, *, last: bool) -> Mapping[str, Picture]:
        """Called after each epoch, counted from 1; training may end with it. Returns pictures by name, which every observer is handed."""
        return {}

    def picture(self, name: str, picture: Picture, step: int) -> None:
        """Takes a picture that an observer has drawn after a step."""

    def close(self) -> None:
        """Called at the end of training, however it ends."""


class Phase(Component):
    """A further training of a trained stack, by the same engine; or, where `first`, a change of what the first training begins with.

    Constructor: `__init__(self, *, <options>)`, which are a table of the config under the phase's own name. A run trains its phases
    after the first training, in the order of the file, each in a folder of its own: `RUN/<name>/`. Those that are `first` train nothing
    and are not asked for `options`: the first training is that of the stack, and learns from the examples, that they return.
    """

    interface = "phase"
    first: ClassVar[bool] = False

    @abstractmethod
    def extend(self, stack: Any) -> Any:
        """Returns the `owae.Stack` to train and then to use, made of the trained one, whose modules it may take over.

        New parameters follow from torch's seed alone, and their shapes from the stack's; a state dict then brings it back.
        Errors: `ConfigError` where the options do not fit the stack.
        """

    def prepare(self, stack: Any, data: DataSource) -> None:
        """Measures, once, before the first step, what the extended stack needs to know of the training examples: its buffers."""

    def examples(self, data: DataSource) -> DataSource:
        """What this training learns from: the training examples, or those of a source of the same shape and range made from them."""
        return data

    def options(self) -> Mapping[str, Any]:
        """The keys of [train] that this training has in place of the first one's."""
        return {}

    def origin(self) -> Mapping[str, Any]:
        """What `run.json` is to keep of what `prepare` took from elsewhere, if it is `first`: JSON values."""
        return {}


INTERFACES: tuple[type[Component], ...] = (LatentLayer, Cost, Divergence, Regulariser, Prior, DataSource, Observer, Phase)
