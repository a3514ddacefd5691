"""A user's own image files as events of a model: read as its training examples were."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from owae.data.sources import as_floats, check_scale
from owae.errors import DataError
from owae.interfaces import Shape
from owae_data.layouts import Layout
from owae_data.picture_sets import is_picture
from owae_data.pictures import Form, as_event
from owae_data.rasters import is_raster, own_raster
from owae_report.pixels import COLOURS, drawable

if TYPE_CHECKING:
    from owae.run.opened import Run


_AS_THEY_ARE = Form()

Units = tuple[Tensor, Tensor] | None  # shift and scale: in the data's own units an example is `x · scale + shift`

logger = logging.getLogger(__name__)


def load_images(
    paths: Sequence[Path],
    shape: Shape,
    value_range: tuple[float, float],
    form: Form = _AS_THEY_ARE,
    units: Units = None,
    layout: Layout = "auto",
) -> Float[Tensor, "n *x"]:
    """Image files, and those in folders (sorted by name), as events of a shape, mapped onto a value range.

    Args:
        paths: The files and folders.
        shape: The model's, (H, W) or (C, H, W).
        value_range: What 0 and 255 stand for.
        form: How the training examples were read; see `training_form`.
        units: What their numbers were scaled by; see `training_units`. For files of more than bytes.
        layout: Where channels stand in `.npy` files.

    Raises:
        DataError: A file is missing or no image, a folder holds none, or events of that shape are not images.
    """
    files = image_files(paths)
    if not (drawable(shape) and (len(shape) == 2 or shape[0] in COLOURS)) and not (len(shape) == 3 and all(map(is_raster, files))):
        raise DataError(f"the model's data have shape {shape}; image files fit (H, W), or (C, H, W) with 1, 3 or 4 channels")
    return torch.stack([_load(path, shape, value_range, form, units, layout) for path in files])


def _load(
    path: Path, shape: Shape, value_range: tuple[float, float], form: Form, units: Units, layout: Layout
) -> Float[Tensor, "*x"]:
    if not is_raster(path, deep=units is not None):
        return as_floats(torch.from_numpy(as_event(path, form, shape).copy()), value_range)
    pixels, whole = own_raster(path, form, shape if len(shape) == 3 else (1, *shape), layout)
    pixels = pixels.view(shape)
    if pixels.dtype == torch.uint8:
        return as_floats(pixels, value_range)
    if units is not None:
        return scaled(str(path), pixels, units, value_range)
    if whole is not None:
        pixels = (pixels - whole[0]) * ((value_range[1] - value_range[0]) / (whole[1] - whole[0])) + value_range[0]
    check_scale(str(path), pixels[None], value_range, torch.zeros(1, dtype=torch.int64), "the range of the training pictures")
    return pixels.float()


def own_pictures(run: Run, paths: Sequence[Path]) -> Float[Tensor, "n *x"]:
    """Image files, and those in folders, as the training examples of a run were read; errors as for `load_images`."""
    return load_images(paths, run.shape, run.value_range, training_form(run), training_units(run), training_layout(run))


def scaled(name: str, x: Tensor, units: Units, bounds: tuple[float, float] | None) -> Float[Tensor, "..."]:
    """Brings numbers in the data's own units, (…, *shape), to the scale of training; what is beyond bounds is clipped and logged."""
    shift, scale = units or (0, 1)
    x = (x.double() - shift) / scale
    if bounds is not None and ((x < bounds[0]) | (x > bounds[1])).any():
        low, high = x.min().item(), x.max().item()
        text = "%s: on the scale of training its values lie from %.4g to %.4g; those beyond %s are clipped"
        logger.warning(text, name, low, high, list(bounds))
        x = torch.where(x.isfinite(), x.clamp(*bounds), x)
    return x.float()


def training_units(run: Run) -> Units:
    """Returns by what the training data of a run were shifted and scaled, each of their shape; None where they were not."""
    zeros = torch.zeros(run.shape, dtype=torch.float64)
    shift = run.natural(zeros)
    scale = run.natural(zeros + 1) - shift
    return None if not shift.any() and bool((scale == 1).all()) else (shift, scale)


def training_layout(run: Run) -> Layout:
    """Returns where the channels of `.npy` files of pictures stand, by the options in the run's config."""
    return getattr(run.config.data.options, "layout", "auto")


def training_form(run: Run) -> Form:
    """How the source that a run was trained on reads pictures, by the options in the run's config.

    A source that reads pictures has a class method `form(**options)` that says so; where there is none, a picture is read as it is.
    """
    source = run.registry.get("data", run.config.data.kind)
    form = getattr(source, "form", None)
    return Form() if form is None else form(**dict(run.config.data.options))


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Lists picture files, and those in folders, sorted by name; of a folder without any, those in the folders within, as of classes."""
    files: list[Path] = []
    for path in paths:
        files += _inside(path) if path.is_dir() else [path]
    return files


def _inside(folder: Path) -> list[Path]:
    for pattern in ("*", "**/*"):
        held = sorted(
            one
            for one in folder.glob(pattern)
            if not one.is_dir() and not any(part.startswith(".") for part in one.relative_to(folder).parts)
        )
        for also in ((), (".npy",)):
            if found := [one for one in held if is_picture(one.name, also)]:
                return found
    raise DataError(f"{folder} holds no image files, nor do folders within it")
