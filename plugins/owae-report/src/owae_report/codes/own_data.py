"""Opens data that a user names for a trained run: a split of its own, pictures, or an array."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from owae.data.sources import check_scale
from owae.errors import DataError, InputError, OwaeError
from owae.files import expanded
from owae.interfaces import DataSource, Shape
from owae.registry.discovery import extension
from owae.run.opened import Run
from owae.tensor_checks import Range
from owae_data.picture_sets import is_picture
from owae_data.tables.files import is_table
from owae_data.tables.own import of_run
from owae_report.load import Units, image_files, own_pictures, scaled, training_units

logger = logging.getLogger(__name__)

SPLITS = ("train", "test")
_WORKS = "'train', 'test', a picture, a folder of pictures, a .npy or a .npz file, or a table for a run trained on one"
_EXAMPLES = ("x", "images", "data", "x_test", "x_train", "features", "samples")
_LABELS = ("y", "labels", "label", "targets", "y_test", "y_train")


def own_data(run: Run, data: str) -> DataSource:
    """Opens `train` or `test`, a picture, a folder of pictures, a `.npy` or `.npz` file of examples, or a table, for a run's model.

    A plugin can bring a reader for a suffix, a function of the run and the path, as the name `own_data.h5ad` in the group `owae.names`.

    Raises:
        DataError: It is none of those, or its examples have another shape than the model's.
    """
    if data in SPLITS:
        return run.source(data)
    path = expanded(data)
    if not path.exists():
        raise DataError(f"found no {path}; {_WORKS} would work")
    if path.suffix and (reader := extension(f"own_data{path.suffix.lower()}")) is not None:
        return reader(run, path)
    if path.suffix.lower() in (".npy", ".npz"):
        return ArrayFile(path, run.shape, run.value_range, training_units(run), run.model.layers[0].output_range, run.class_names)
    if path.is_file() and is_table(path):
        return of_run(run, path)
    if path.is_file() and not is_picture(path.name):
        brought = ", pip install owae-anndata brings it" if path.suffix.lower() == ".h5ad" else ""
        raise DataError(f"{path}: '{path.suffix}' is read by nothing here{brought}; {_WORKS} would work")
    return PictureFiles(run, image_files([path]), path if path.is_dir() else path.parent)


class PictureFiles(DataSource):
    """Reads picture files when they are asked for, in the form that the training examples were read in.

    Attributes:
        ids: The files' names, with their folders' where these lie within the folder that was named.
    """

    name = "own-pictures"

    def __init__(self, run: Run, paths: Sequence[Path], root: Path, /) -> None:
        self._run, self._paths = run, list(paths)
        self.shape, self.value_range = tuple(run.shape), run.value_range
        self.ids = [path.relative_to(root).as_posix() for path in self._paths]

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Tensor:
        return own_pictures(self._run, [self._paths[index]])[0]


class ArrayFile(DataSource):
    """Reads examples of a `.npy` file, which is mapped, or of a `.npz`, whose array is held in memory.

    Where the training data were scaled, numbers of any type are taken to be in their units, and scaled alike. Else bytes, and whole numbers
    within 0…255, are mapped onto the run's range, and floats are taken as they are, if the bottom decoder reaches them. Channels may stand
    last, a model of one channel takes (N, H, W), and a single example needs no axis of its own. Labels are whole numbers, or texts, which
    are numbered as the run's classes are, -1 where it knows none of that name.
    """

    name = "own-array"

    def __init__(
        self,
        path: Path,
        shape: Shape,
        value_range: tuple[float, float],
        units: Units = None,
        bounds: Range | None = None,
        classes: Sequence[str] | None = None,
        /,
    ) -> None:
        self.shape, self.value_range = tuple(shape), value_range
        self._path, self._units, self._bounds = path, units, bounds
        try:
            labels = None
            if path.suffix.lower() == ".npy":
                self._array = np.load(path, allow_pickle=False, mmap_mode="r")
            else:
                with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                    self._array = file[_key(path, file.files)]
                    found = next((key for key in _LABELS if key in file.files), None)
                    labels = None if found is None else file[found]
        except OwaeError:
            raise
        except Exception as error:  # a damaged file fails in zipfile, zlib or numpy
            raise DataError(f"{path} cannot be read as an array: {error}") from error
        self._arrange(path)
        if labels is not None:
            self.labels = _labels(path, labels.squeeze(1) if labels.shape[1:] == (1,) else labels, len(self._array), classes)
            known = classes is not None and self.labels is not None and self.labels.min() >= -1 and self.labels.max() < len(classes)
            self.class_names = tuple(classes or ()) if known else None

    def _arrange(self, path: Path) -> None:
        """Brings the array to (N, *shape), as a view."""
        array, shape = self._array, self.shape
        if array.shape == shape or (shape[0] == 1 and array.shape == shape[1:] != ()):
            array = array[None]
        if len(shape) == 3 and array.ndim == 4 and array.shape[1:] != shape and (array.shape[3], *array.shape[1:3]) == shape:
            array = np.moveaxis(array, -1, 1)
        elif len(shape) == 3 and shape[0] == 1 and array.shape[1:] == shape[1:]:
            array = array[:, None]
        if array.shape[1:] != shape or not len(array):
            raise InputError(
                f"{path} holds an array {self._array.shape}; examples of the model are (N, {', '.join(map(str, shape))})"
            )
        if array.dtype.kind not in "fbui":
            raise InputError(f"{path} holds {array.dtype}; whole numbers, booleans or floats would work")
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, index: int) -> Tensor:
        return self.batch(torch.tensor([index]))[0]

    def batch(self, indices: Int[Tensor, " B"]) -> Float[Tensor, "B *x"] | Tensor:
        rows = np.array(self._array[indices.numpy()])
        if self._units is not None:
            return scaled(str(self._path), torch.from_numpy(rows.astype(np.float64)), self._units, self._bounds)
        if rows.dtype.kind == "f":
            x = torch.from_numpy(rows.astype(np.float32))
            if self._bounds is not None:
                check_scale(str(self._path), x, self._bounds, indices)
            return x
        if rows.dtype == np.bool_:
            rows = rows.astype(np.uint8) * 255
        if rows.min() < 0 or rows.max() > 255:
            raise InputError(
                f"{self._path} holds {rows.dtype} from {rows.min()} to {rows.max()}; whole numbers within 0…255, which are mapped onto "
                f"{list(self.value_range)}, or floats in that range would work"
            )
        return torch.from_numpy(rows.astype(np.uint8))


def _labels(path: Path, labels: np.ndarray, count: int, classes: Sequence[str] | None) -> Int[Tensor, " N"] | None:
    """Numbers of classes as a run numbers them; None, which is told, for labels that are none."""
    if labels.shape == (count,) and labels.dtype.kind in "iub":
        return torch.from_numpy(labels.astype(np.int64))
    if labels.shape == (count,) and labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all()):
        return torch.from_numpy(labels.astype(np.int64))
    if labels.shape == (count,) and labels.dtype.kind == "U" and classes is not None:
        number = {name: place for place, name in enumerate(classes)}
        return torch.tensor([number.get(text, -1) for text in labels.tolist()])
    said = "%s: its labels, %s of shape %s, are left out: one whole number an example, or text if the run's classes have names, would work"
    logger.warning(said, path, labels.dtype, labels.shape)
    return None


def _key(path: Path, keys: list[str]) -> str:
    found = next((key for key in _EXAMPLES if key in keys), keys[0] if len(keys) == 1 else None)
    if found is None:
        raise DataError(f"{path} holds {', '.join(keys) or 'nothing'}; call the examples x, images or data")
    return found
