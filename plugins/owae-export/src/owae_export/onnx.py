"""Writes a stack's encoder and sampler as ONNX, and runs both by onnxruntime at two batch sizes before they are handed out.

`encoder.onnx` maps `x` (B, *x) to the means `z1` … `zN`. `sampler.onnx` takes the noise as inputs, standard normal: `noise_N` for the
prior's draw, `noise_i` for the draw of z_i given z_{i+1}, each (B, *z_i), and gives `x` (B, *x). The batch size is free in both.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from owae.errors import OwaeError
from owae.interfaces import LatentLayer
from owae.model.defaults import StandardNormal
from owae.model.inference import evaluating
from owae.model.stack import Stack

BATCHES = (1, 7)
TOLERANCE = 1e-4
_OPSET = 17

logger = logging.getLogger(__name__)


class Encoder(nn.Module):
    """Encodes x to the means of every level up to k."""

    def __init__(self, layers: Sequence[LatentLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        codes = []
        for layer in self.layers:
            x = layer.encode(x).mean  # pyright: ignore[reportCallIssue] # ModuleList forgets its item type
            codes.append(x)
        return tuple(codes)


class Sampler(nn.Module):
    """Samples from noise, the deepest level's first."""

    def __init__(self, layers: Sequence[LatentLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, *noise: Tensor) -> Tensor:
        z = noise[0]
        layers: list[LatentLayer] = list(self.layers)  # pyright: ignore[reportAssignmentType] # ModuleList forgets its item type
        for layer, own in zip(reversed(layers[1:]), noise[1:], strict=True):
            p = layer.decode(z)
            # Noise that a deterministic decoder does not use must stay an input all the same.
            z = p.mean + p.variance.expand_as(p.mean).sqrt() * own
        return layers[0].point(z)


def onnx_files(stack: Stack, level: int | None = None) -> dict[str, bytes]:
    """Returns `encoder.onnx`, up to a level (the deepest unless given), and `sampler.onnx`.

    Raises:
        OwaeError: onnx is not installed, the model draws in another way than by a mean and a standard deviation from a standard normal
            prior, torch cannot translate a layer, or what onnxruntime computes differs from torch.
    """
    _require()
    if not isinstance(stack.prior, StandardNormal):
        raise OwaeError(f"ONNX takes the noise of a standard normal prior; this model has the prior {type(stack.prior).__name__}")
    _check_draws(stack)
    layers = stack.layers[: stack.depth if level is None else level]
    inputs = {"x": tuple(stack.layers[0].in_shape)}
    noise = {f"noise_{i}": tuple(layer.latent_shape) for i, layer in reversed(list(enumerate(stack.layers, start=1)))}
    return {
        "encoder.onnx": _exported(stack, Encoder(layers), inputs, [f"z{i}" for i in range(1, len(layers) + 1)]),
        "sampler.onnx": _exported(stack, Sampler(stack.layers), noise, ["x"]),
    }


def _require() -> None:
    try:
        import onnx  # noqa: F401 # whether it is there
        import onnxruntime  # noqa: F401 # whether it is there
    except ImportError as error:
        raise OwaeError(f"ONNX needs onnx and onnxruntime ({error}); pip install 'owae-export[onnx]' brings them") from error


def _check_draws(stack: Stack) -> None:
    """Refuses decoders whose draws are not their mean plus a standard deviation times noise, as a refined level's."""
    with evaluating(stack, 0) as device:
        z = torch.randn(2, *stack.layers[-1].latent_shape, device=device)
        for i, layer in reversed(list(enumerate(stack.layers[1:], start=2))):
            p = layer.decode(z)
            torch.manual_seed(1)
            drawn = p.rsample()
            torch.manual_seed(1)
            expected = p.mean + p.variance.expand_as(p.mean).sqrt() * torch.randn_like(p.mean)
            if not torch.allclose(drawn, expected, atol=1e-4, rtol=1e-4):
                raise OwaeError(f"ONNX cannot hold the draws of level {i}: they are no Gaussian's by its mean and variance")
            z = p.mean


def _exported(stack: Stack, module: nn.Module, inputs: dict[str, tuple[int, ...]], outputs: list[str]) -> bytes:
    with evaluating(stack, 0) as device:
        module.eval()
        examples = tuple(torch.rand(3, *shape, device=device) for shape in inputs.values())
        buffer = io.BytesIO()
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")  # of tracing, and of the exporter that needs no further package
                torch.onnx.export(
                    module,
                    examples,
                    buffer,  # pyright: ignore[reportArgumentType] # a file to write to will do
                    input_names=list(inputs),
                    output_names=outputs,
                    dynamic_axes={name: {0: "batch"} for name in (*inputs, *outputs)},
                    opset_version=_OPSET,
                    dynamo=False,
                )
        except Exception as error:  # what torch raises depends on the layer
            text = str(error).strip().splitlines()
            raise OwaeError(f"torch cannot translate the model to ONNX: {text[0] if text else type(error).__name__}") from error
        content = buffer.getvalue()
        for batch in BATCHES:
            _verify(content, module, {name: torch.rand(batch, *shape, device=device) for name, shape in inputs.items()})
    return content


def _verify(content: bytes, module: nn.Module, inputs: dict[str, Tensor]) -> None:
    import onnxruntime

    expected = module(*inputs.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    named = {each.name for each in session.get_inputs()}
    found = session.run(None, {name: value.cpu().numpy() for name, value in inputs.items() if name in named})
    for name, ours, theirs in zip(session.get_outputs(), expected, found, strict=True):
        apart = float(np.abs(ours.cpu().numpy() - np.asarray(theirs)).max())
        if not apart <= TOLERANCE * max(1.0, float(ours.abs().max())):
            raise OwaeError(
                f"onnxruntime computes {name.name} of {len(ours)} examples {apart:.2g} away from torch, so nothing is written"
            )
