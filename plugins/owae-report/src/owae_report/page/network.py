"""Reads the decoders of a stack of multilayer perceptrons into steps of a weighted sum, a norm and an activation, for a page to evaluate.

A page holds every weight as a whole number of 16 bits and a scale a row, which has the size of half-precision floats and, for rows whose
weights are of one order, about a quarter of their error. `Network.__call__` computes what `viewer.js` computes.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor, nn

from owae.errors import OwaeError
from owae.interfaces import LatentLayer
from owae.model.inference import evaluating
from owae.model.stack import Stack
from owae_layers import MLP

MOST_WEIGHTS = 12_000_000  # some 32 MB of a page

Array = np.ndarray


def _gelu(x: Array) -> Array:
    return torch.nn.functional.gelu(torch.from_numpy(x)).numpy()


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "identity": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "leaky-relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": _gelu,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
}
_MODULES: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.LeakyReLU: "leaky-relu",
    nn.ELU: "elu",
    nn.GELU: "gelu",
    nn.SiLU: "silu",
    nn.Tanh: "tanh",
}


class NotEmbeddableError(OwaeError):
    """The decoders of a stack cannot be evaluated in a page. Its message says why."""


@dataclass(frozen=True)
class Step:
    """`activation(norm(scale · (weights @ z) + bias))`.

    Attributes:
        weights: Whole numbers, (outputs, inputs).
        scale: What a row of them is multiplied by, (outputs,).
        bias: (outputs,).
        norm: Gain and shift of a layer norm, (2, outputs), or None.
        eps: What the layer norm adds to the variance.
        activation: One of `ACTIVATIONS`.
    """

    weights: Int16[Array, "outputs inputs"]
    scale: Float[Array, " outputs"]
    bias: Float[Array, " outputs"]
    norm: Float[Array, "2 outputs"] | None
    eps: float
    activation: str

    def __call__(self, z: Array) -> Array:
        """Computes the step for rows (n, inputs)."""
        y = z @ self.weights.T.astype(np.float32) * self.scale + self.bias
        if self.norm is not None:
            y = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + self.eps) * self.norm[0] + self.norm[1]
        with np.errstate(over="ignore"):
            return ACTIVATIONS[self.activation](y).astype(np.float32)


@dataclass(frozen=True)
class Network:
    """Steps from a code, flat, to an event, flat."""

    steps: tuple[Step, ...]

    def __call__(self, z: Float[Array, "n inputs"]) -> Float[Array, "n outputs"]:
        z = z.astype(np.float32)
        for step in self.steps:
            z = step(z)
        return z

    def embedded(self) -> dict[str, Any]:
        """Returns plain values: the steps' sizes, and their numbers in base64, each array from a multiple of four bytes on."""
        arrays = [
            array
            for step in self.steps
            for array in (step.scale, step.bias, *(() if step.norm is None else step.norm), step.weights)
        ]
        parts = [array.astype("<i2" if array.dtype == np.int16 else "<f4").tobytes() for array in arrays]
        data = b"".join(part + b"\0" * (-len(part) % 4) for part in parts)
        steps = [
            {
                "outputs": step.weights.shape[0],
                "inputs": step.weights.shape[1],
                "eps": None if step.norm is None else step.eps,
                "activation": step.activation,
            }
            for step in self.steps
        ]
        return {"steps": steps, "data": base64.b64encode(data).decode()}


def network(stack: Stack) -> Network:
    """Reads the decoders of all levels, deepest first: what `stack.decode` computes, to rounding.

    Raises:
        NotEmbeddableError: They are no multilayer perceptrons, too large, or compute something else than their parts say.
    """
    layers = [_perceptron(layer, level) for level, layer in enumerate(stack.layers, start=1)]
    weights = sum(module.weight.numel() for layer in layers for module in layer.decoder if isinstance(module, nn.Linear))
    if weights > MOST_WEIGHTS:
        raise NotEmbeddableError(f"the decoders have {weights:,} weights; a page holds {MOST_WEIGHTS:,} at most")
    made = Network(tuple(step for layer in reversed(layers) for step in _steps(layer)))
    if not all(np.isfinite(array).all() for step in made.steps for array in (step.scale, step.bias)):
        raise NotEmbeddableError("the decoders hold values that are not finite")
    return made


def difference(made: Network, stack: Stack, codes: Float[Tensor, "n d"]) -> float:
    """Returns the largest difference between the network's values and the stack's at codes of the deepest level, flat."""
    with evaluating(stack) as device:
        shape = tuple(stack.layers[-1].latent_shape)
        expected = stack.decode(codes.unflatten(1, shape).to(device, stack.prior.anchor.dtype)).flatten(1).float().cpu().numpy()
    return float(np.abs(made(codes.float().numpy()) - expected).max())


def _perceptron(layer: LatentLayer, level: int) -> MLP:
    """Returns the perceptron whose decoder gives a layer's points, which layers of further phases wrap."""
    inner = layer
    while not isinstance(inner, MLP) and isinstance(getattr(inner, "layer", None), LatentLayer):
        inner = inner.layer  # pyright: ignore[reportAssignmentType] # a module's attribute
    if not isinstance(inner, MLP):
        raise NotEmbeddableError(
            f"the decoder of level {level} is a '{layer.name}'; only that of an 'mlp' can be evaluated in a page"
        )
    return inner


def _steps(layer: MLP) -> Iterator[Step]:
    modules = list(layer.decoder)
    while modules:
        linear = modules.pop(0)
        if not isinstance(linear, nn.Linear):
            raise NotEmbeddableError(f"a decoder has a {type(linear).__name__} where a linear layer was expected")
        weight = linear.weight.detach().double().cpu().numpy()
        bias = np.zeros(len(weight)) if linear.bias is None else linear.bias.detach().double().cpu().numpy()
        if not modules:
            # The first outputs are the mean, those that follow the logits of a variance.
            size = math.prod(layer.in_shape)
            yield _quantised(weight[:size], bias[:size], None, 0.0, _squash(layer.head.output))
            return
        norm, eps = None, 0.0
        if isinstance(modules[0], nn.BatchNorm1d):
            weight, bias = _with_batch_norm(weight, bias, modules.pop(0))
        elif isinstance(modules[0], nn.LayerNorm):
            module = modules.pop(0)
            norm = np.stack([getattr(module, key).detach().cpu().numpy() for key in ("weight", "bias")])
            eps = float(module.eps)  # pyright: ignore[reportArgumentType] # a number of a layer norm
        activation = "identity"
        if modules and type(modules[0]) in _MODULES:
            activation = _MODULES[type(modules.pop(0))]
        yield _quantised(weight, bias, norm, eps, activation)


def _squash(output: str) -> str:
    return "identity" if output == "linear" else output


def _with_batch_norm(weight: Array, bias: Array, norm: nn.Module) -> tuple[Array, Array]:
    """Folds a batch norm, in evaluation mode, into the linear layer before it."""
    mean, variance, gain, shift = (
        getattr(norm, key).detach().double().cpu().numpy() for key in ("running_mean", "running_var", "weight", "bias")
    )
    factor = gain / np.sqrt(variance + norm.eps)
    return weight * factor[:, None], (bias - mean) * factor + shift


def _quantised(weight: Array, bias: Array, norm: Array | None, eps: float, activation: str) -> Step:
    largest = np.abs(weight).max(1)
    scale = np.where(largest > 0, largest / 32767, 1.0)
    whole = np.rint(np.nan_to_num(weight / scale[:, None])).astype(np.int16)
    return Step(whole, scale.astype(np.float32), bias.astype(np.float32), norm, eps, activation)
