"""Writes a stack's encoder and sampler as ONNX, and runs both by onnxruntime at two batch sizes before they are handed out.

`encoder.onnx` maps `x` (B, *x) to the means `z1` … `zN`. `sampler.onnx` takes the noise as inputs, standard normal: `noise_N` for the
prior's draw, `noise_i` for the draw of z_i given z_{i+1}, and `noise_0` where the data themselves are drawn, and gives `x` (B, *x). The
batch size is free in both. Noise has the shape of what it draws; a prior or a distribution that makes draws otherwise says how by
`from_noise(noise)` and `noise_shape`, as a mixture of Gaussians, whose first number chooses the component, and a refined conditional.
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

from owae.distributions import Dirac, Distribution, shape_of
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
    """Samples from noise, the deepest level's first: what `Stack.sample` does with noise of its own."""

    def __init__(self, stack: Stack) -> None:
        super().__init__()
        self.layers, self.prior = nn.ModuleList(stack.layers), stack.prior

    def forward(self, *noise: Tensor) -> Tensor:
        given = iter(noise)
        z = next(given)
        if (made := getattr(self.prior, "from_noise", None)) is not None:
            z = made(z)
        layers: list[LatentLayer] = list(self.layers)  # pyright: ignore[reportAssignmentType] # ModuleList forgets its item type
        for layer in reversed(layers[1:]):
            z = _drawn(layer.decode(z), next(given))
        if not layers[0].draws_data:
            return layers[0].point(z)
        p = layers[0].decode(z)
        return p.mean if isinstance(p, Dirac) else _drawn(p, next(given))


def _drawn(p: Distribution, noise: Tensor) -> Tensor:
    """Makes a draw of noise: by the distribution's own `from_noise`, if it has one, else as a Gaussian's."""
    if (made := getattr(p, "from_noise", None)) is not None:
        return made(noise)
    # Noise that a deterministic decoder does not use must stay an input all the same.
    return p.mean + p.variance.expand_as(p.mean).sqrt() * noise


def onnx_files(stack: Stack, level: int | None = None) -> dict[str, bytes]:
    """Returns `encoder.onnx`, up to a level (the deepest unless given), and `sampler.onnx`, without which a warning says why.

    Raises:
        OwaeError: onnx is not installed, torch cannot translate the encoder, or what onnxruntime computes of it differs from torch.
    """
    _require()
    layers = stack.layers[: stack.depth if level is None else level]
    inputs = {"x": tuple(stack.layers[0].in_shape)}
    files = {"encoder.onnx": _exported(stack, Encoder(layers), inputs, [f"z{i}" for i in range(1, len(layers) + 1)])}
    try:
        files["sampler.onnx"] = _exported(stack, Sampler(stack), _noise(stack), ["x"])
    except OwaeError as error:
        logger.warning("sampler.onnx is not written, the rest is: %s", error)
    return files


def _require() -> None:
    try:
        import onnx  # noqa: F401 # whether it is there
        import onnxruntime  # noqa: F401 # whether it is there
    except ImportError as error:
        raise OwaeError(f"ONNX needs onnx and onnxruntime ({error}); pip install 'owae-export[onnx]' brings them") from error


def _noise(stack: Stack) -> dict[str, tuple[int, ...]]:
    """Returns the shapes of the noise that a sample is made of, by the names of the inputs, the deepest level's first.

    Raises:
        OwaeError: Something draws otherwise than by standard normal noise.
    """
    prior = stack.prior
    if not isinstance(prior, StandardNormal) and not hasattr(prior, "from_noise"):
        raise OwaeError(
            f"ONNX takes the noise of a prior that draws by `from_noise`, as the standard normal and the Gaussian mixture; this model has "
            f"the prior {type(prior).__name__}"
        )
    shapes = {f"noise_{stack.depth}": tuple(getattr(prior, "noise_shape", stack.layers[-1].latent_shape))}
    with evaluating(stack, 0) as device:
        z = torch.randn(2, *stack.layers[-1].latent_shape, device=device)
        for i, layer in reversed(list(enumerate(stack.layers))):
            if i == 0 and not layer.draws_data:
                break
            p = layer.decode(z)
            if i == 0 and isinstance(p, Dirac):
                break
            shape = tuple(getattr(p, "noise_shape", shape_of(p)[1:]))
            torch.manual_seed(1)
            drawn = p.rsample()
            torch.manual_seed(1)
            if not torch.allclose(drawn, _drawn(p, torch.randn(2, *shape, device=device).to(z)), atol=1e-4, rtol=1e-4):
                raise OwaeError(
                    f"ONNX cannot hold the draws of level {i + 1}: they are neither a Gaussian's by its mean and variance, nor made by "
                    "`from_noise`"
                )
            shapes[f"noise_{i}"] = shape
            z = drawn
    return shapes


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
            _verify(content, module, {name: torch.randn(batch, *shape, device=device) for name, shape in inputs.items()})
    return content


def _verify(content: bytes, module: nn.Module, inputs: dict[str, Tensor]) -> None:
    import onnxruntime

    expected = module(*inputs.values())
    expected = expected if isinstance(expected, tuple) else (expected,)
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        named = {each.name for each in session.get_inputs()}
        found = session.run(None, {name: value.cpu().numpy() for name, value in inputs.items() if name in named})
    except Exception as error:  # onnxruntime's own kinds
        raise OwaeError(f"onnxruntime cannot run what torch made of the model: {str(error).strip().splitlines()[0]}") from error
    for name, ours, theirs in zip(session.get_outputs(), expected, found, strict=True):
        apart = float(np.abs(ours.cpu().numpy() - np.asarray(theirs)).max())
        if not apart <= TOLERANCE * max(1.0, float(ours.abs().max())):
            raise OwaeError(f"onnxruntime computes {name.name} of {len(ours)} examples {apart:.2g} away from torch")
