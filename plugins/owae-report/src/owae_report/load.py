"""A user's own image files as events of a model: read as its training examples were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from owae.data.sources import as_floats
from owae.errors import DataError
from owae.interfaces import Shape
from owae_data.picture_sets import is_picture
from owae_data.pictures import Form, as_event
from owae_report.pixels import drawable

if TYPE_CHECKING:
    from owae.run.opened import Run


_AS_THEY_ARE = Form()


def load_images(
    paths: Sequence[Path], shape: Shape, value_range: tuple[float, float], form: Form = _AS_THEY_ARE
) -> Float[Tensor, "n *x"]:
    """Image files, and those in folders (sorted by name), as events of a shape, mapped onto a value range.

    Args:
        paths: The files and folders.
        shape: The model's, (H, W) or (C, H, W).
        value_range: What 0 and 255 stand for.
        form: How the training examples were read; see `training_form`.

    Raises:
        DataError: A file is missing or no image, a folder holds none, or events of that shape are not images.
    """
    if not drawable(shape):
        raise DataError(f"the model's data have shape {shape}; image files fit (H, W), or (C, H, W) with 1, 3 or 4 channels")
    images = np.stack([as_event(path, form, shape) for path in image_files(paths)])
    return as_floats(torch.from_numpy(images), value_range)


def training_form(run: Run) -> Form:
    """How the source that a run was trained on reads pictures, by the options in the run's config.

    A source that reads pictures has a class method `form(**options)` that says so; where there is none, a picture is read as it is.
    """
    source = run.registry.get("data", run.config.data.kind)
    form = getattr(source, "form", None)
    return Form() if form is None else form(**dict(run.config.data.options))


def image_files(paths: Sequence[Path]) -> list[Path]:
    """Lists picture files, and those in folders, sorted by name."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(one for one in path.iterdir() if is_picture(one.name))
            if not inside:
                raise DataError(f"{path} holds no image files")
            files += inside
        else:
            files.append(path)
    return files
