"""Chooses in which size the pictures of a folder are read."""

from __future__ import annotations

import contextlib
import statistics
import warnings
from pathlib import Path
from typing import Any

LOOKED_AT = 500  # pictures whose sizes are read, spread over all
LARGEST = 64  # pixels of the longer side
STEP = 8


def picture_options(paths: list[Path]) -> tuple[dict[str, Any], list[str]]:
    """Returns the options of `image-folder` for these pictures, and what was seen.

    Pictures of one size up to 64 pixels keep it; others are resized to the median shape with 64 pixels on its longer side.
    """
    sizes, unread = [], 0
    for path in paths[:: max(1, len(paths) // LOOKED_AT)]:
        size = _size(path)
        if size is None:
            unread += 1
        else:
            sizes.append(size)
    found = [f"{unread:,} of {len(sizes) + unread:,} pictures that were looked at cannot be read"] if unread else []
    if not sizes:
        return {}, found
    heights, widths = [size[0] for size in sizes], [size[1] for size in sizes]
    if len(set(sizes)) == 1 and max(sizes[0]) <= LARGEST:
        return {}, [*found, f"they have one size, {sizes[0][0]}×{sizes[0][1]}, and keep it"]
    chosen = _fitting(statistics.median(heights), statistics.median(widths))
    seen = (
        f"from {min(heights)}×{min(widths)} to {max(heights)}×{max(widths)}" if len(set(sizes)) > 1 else f"{heights[0]}×{widths[0]}"
    )
    return {"size": list(chosen)}, [*found, f"their sizes are {seen}; they are resized to {chosen[0]}×{chosen[1]}"]


def _fitting(height: float, width: float) -> tuple[int, int]:
    scale = min(1.0, LARGEST / max(height, width))
    height, width = (max(STEP, STEP * round(side * scale / STEP)) for side in (height, width))
    return height, width


def _size(path: Path) -> tuple[int, int] | None:
    """Height and width as a viewer shows the picture; None if it cannot be read."""
    from PIL import Image

    if path.suffix.lower() == ".npy":
        return _size_of_array(path)
    if path.suffix.lower() in (".tif", ".tiff"):
        with contextlib.suppress(Exception):  # of what tifffile cannot read, or where it is missing, Pillow may know the size
            import tifffile

            with tifffile.TiffFile(path) as file:
                sizes = dict(zip(file.series[0].axes, file.series[0].shape, strict=True))
                return sizes["Y"], sizes["X"]
    with contextlib.suppress(Exception), warnings.catch_warnings():  # Pillow raises whatever a damaged file leads it into
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            turned = image.getexif().get(0x0112, 1) >= 5  # orientation: a quarter turn
            width, height = image.size
            return (width, height) if turned else (height, width)
    return None


def _size_of_array(path: Path) -> tuple[int, int] | None:
    """Height and width of the array in a file: all but the axis of channels, the shortest at one end, and that of several pictures."""
    import numpy as np

    with contextlib.suppress(Exception):  # numpy raises whatever a damaged file leads it into
        shape = np.load(path, allow_pickle=False, mmap_mode="r").shape[-3:] if path.stat().st_size else ()
        if len(shape) == 3:
            shape = shape[1:] if shape[0] <= shape[2] else shape[:2]
        if len(shape) == 2:
            return int(shape[0]), int(shape[1])
    return None
