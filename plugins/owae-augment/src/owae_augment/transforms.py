"""Transforms by name: those of `torchvision.transforms.v2`, and `Dequantise`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from owae.errors import ConfigError, suggestion
from owae.interfaces import Shape
from owae.torch_state import generators_kept

Transform = Callable[[Tensor], Tensor]

# Those that need several examples, boxes, labels or a function, or give something else than an example of the same size.
_REFUSED = {
    *("Transform", "Compose", "Lambda", "CutMix", "MixUp", "FiveCrop", "TenCrop", "RandomIoUCrop", "LinearTransformation"),
    *("ToTensor", "ToImage", "ToPILImage", "PILToTensor", "ToPureTensor", "ToDtype", "ConvertImageDtype"),
    *("ConvertBoundingBoxFormat", "ClampBoundingBoxes", "SanitizeBoundingBoxes", "UniformTemporalSubsample"),
    *("ClampKeyPoints", "SanitizeKeyPoints", "SetClampingMode", "AugMix"),
    *("RandomResize", "RandomShortestSize", "RandomZoomOut", "ScaleJitter"),
}
_TRIED = 8  # draws of a transform
_ANY_SHAPE = {"Dequantise", "GaussianNoise"}  # the rest are made for images


class Dequantise(nn.Module):
    """Draws each number uniformly from those within [0, 1] that round to it: the number of levels is what bytes have unless given.

    Rounding undoes it, as drawing a picture does.

    Args:
        levels: How many values a number can have: 0, 1/(levels − 1), …, 1.
    """

    def __init__(self, levels: int = 256) -> None:
        super().__init__()
        if not isinstance(levels, int) or levels < 2:
            raise ValueError(f"levels is {levels!r}; a whole number from 2 on would work")
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        half = 0.5 / (self.levels - 1) - 5e-7  # so that float32 rounds back, too
        low, high = (x - half).clamp(min=0), (x + half).clamp(max=1)
        return low + (high - low) * torch.rand(x.shape, dtype=x.dtype).to(x.device)


def names() -> list[str]:
    """Lists the transforms that can be named."""
    from torchvision.transforms import v2

    found = [name for name, cls in vars(v2).items() if isinstance(cls, type) and issubclass(cls, v2.Transform)]
    return sorted({*found, "Dequantise"} - _REFUSED)


def checked(transforms: Sequence[Any]) -> list[dict[str, Any]]:
    """Checks names and the names of options, and returns each transform as a table.

    Raises:
        ValueError: There is no such transform, or it takes no such option; the message says which would work.
    """
    return [_checked(transform) for transform in transforms]


def _checked(transform: Any) -> dict[str, Any]:
    spec = {"name": transform} if isinstance(transform, str) else transform
    if not isinstance(spec, Mapping) or not isinstance(spec.get("name"), str):
        raise ValueError(f'found {transform!r}; it should be a name or a table, as {{ name = "RandomHorizontalFlip" }}')
    name, options = spec["name"], {key: value for key, value in spec.items() if key != "name"}
    if name not in names():
        raise ValueError(f"found '{name}'; {suggestion(name, names())}")
    parameters = _parameters(name)
    for key in options:
        if key not in parameters:
            raise ValueError(f"{name} has no option '{key}'; {suggestion(key, parameters)}")
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in options and key != "size":
            raise ValueError(f"{name} needs {key}")
    if "transforms" in options:
        if not isinstance(options["transforms"], Sequence) or isinstance(options["transforms"], str):
            raise ValueError(f"{name}: transforms is {options['transforms']!r}; it should be a list")
        options["transforms"] = checked(options["transforms"])
    return {"name": name, **options}


def made(specs: Sequence[Mapping[str, Any]], shape: Shape) -> list[Transform]:
    """Makes the transforms of checked tables, and tries them on an example of zeros.

    Args:
        specs: The tables.
        shape: Of an example: (C, H, W), or (H, W); transforms of noise take any.

    Raises:
        ConfigError: A transform refuses its options, or does not give an example of the same shape.
    """
    return [_made(spec, shape) for spec in specs]


def _made(spec: Mapping[str, Any], shape: Shape) -> Transform:
    name, options = spec["name"], {key: value for key, value in spec.items() if key != "name"}
    said = f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
    inner = options.get("transforms", ())
    if name not in _ANY_SHAPE and not inner and len(shape) not in (2, 3):
        raise ConfigError(f"{said} is for images (C, H, W) or (H, W); examples have shape {shape}, which {_listed()} take")
    if inner:
        options["transforms"] = made(inner, shape)
    for key, parameter in _parameters(name).items():
        if isinstance(parameter.default, Enum) and isinstance(options.get(key), str):
            choices = {choice.value: choice for choice in type(parameter.default)}
            if options[key] not in choices:
                raise ConfigError(f"{said}: {key} is '{options[key]}'; {suggestion(options[key], map(str, choices))}")
            options[key] = choices[options[key]]
        if key == "size" and key not in options and parameter.default is parameter.empty:
            options[key] = list(shape[-2:])
    try:
        transform = _class(name)(**options)
        with generators_kept():
            result = applied(transform, torch.zeros(shape))
    except Exception as error:  # a transform that is given what it cannot take fails in many ways
        raise ConfigError(f"{said}: {error or type(error).__name__}; examples have shape {shape}") from error
    if not isinstance(result, Tensor) or tuple(result.shape) != shape or not result.is_floating_point():
        found = f"{result.dtype} {tuple(result.shape)}" if isinstance(result, Tensor) else f"a {type(result).__name__}"
        raise ConfigError(f"{said} makes {found} of an example of shape {shape}; it must keep the shape, and floats")
    return transform


def applied(transform: Transform, example: Tensor) -> Tensor:
    """Gives a transform one example; a picture (H, W) as (1, H, W)."""
    return transform(example[None])[0] if example.ndim == 2 else transform(example)


def changes_nothing(transform: Transform, shape: Shape) -> bool:
    """Tells whether a transform that is always applied leaves examples of this shape as they are, as colour jitter without a strength."""
    if getattr(transform, "p", None) is not None or hasattr(transform, "transforms"):  # by chance, or what it is made of
        return False
    with generators_kept():
        example = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        return all(torch.equal(applied(transform, example), example) for _ in range(_TRIED))


def _class(name: str) -> Any:
    from torchvision.transforms import v2

    return Dequantise if name == "Dequantise" else getattr(v2, name)


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(_class(name)).parameters)


def _listed() -> str:
    return " and ".join(sorted(_ANY_SHAPE))
