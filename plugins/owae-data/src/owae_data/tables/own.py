"""A table that a user names for a trained run, as the table that the run was trained on was read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from owae.errors import DataError
from owae_data.base import StoredSource
from owae_data.cache import ArrayCache, data_root
from owae_data.picture_sets import decode
from owae_data.tables.files import find_shards
from owae_data.tables.images import pictures_in
from owae_data.tables.labels import read_labels
from owae_data.tables.numbers import read_numbers
from owae_data.tables.source import Table, form_key


def of_run(run: Any, path: Path) -> StoredSource:
    """Returns the rows of a file as the model of a run takes them: the same columns by name, shifted and scaled by what the run's were.

    Classes are numbered as the run's are, -1 where the run knows none of that name; a file without them has none.

    Raises:
        DataError: The run was trained on no table, or the file has other columns.
    """
    trained = run.source("train")
    if not isinstance(trained, Table):
        kind = run.config.data.kind
        raise DataError(f"{path} is a table, but {run.folder} was trained on '{kind}': a file of that kind, or a .npy, would work")
    files = find_shards([path], None).train
    for file in files:
        file.require_rows()
    labels = None
    if trained.label is not None and all(trained.label in file.schema.names for file in files):
        labels = _numbered(*read_labels([files], trained.label), trained.class_names)
    if trained.image is not None:
        options = run.config.data.options
        size = (trained.shape[1], trained.shape[2])
        form = trained.form(channels=3 if trained.shape[0] == 3 else 1, size=size, crop=options.crop, background=options.background)
        cached = ArrayCache(data_root(), trained.name, form_key(form, trained.image, files))
        examples = decode(pictures_in(files, trained.image), form, cached, skip_broken=False).examples
    else:
        values, _, _ = read_numbers(files, trained.columns)
        if values.shape[1:] != trained.shape:
            raise DataError(
                f"{path}: a row has the shape {values.shape[1:]}, those that {run.folder} was trained on {trained.shape}"
            )
        examples = torch.from_numpy(values)
        if trained.units is not None:
            shift, scale = (torch.tensor(trained.units[key], dtype=torch.float64).view(trained.shape) for key in ("shift", "scale"))
            examples = ((examples - shift) / scale).float()
    source = StoredSource(examples, labels=labels, value_range=trained.value_range)
    source.class_names = None if labels is None else trained.class_names
    return source


def _numbered(numbers: list[np.ndarray], names: tuple[str, ...] | None, known: tuple[str, ...] | None) -> Int[Tensor, " N"]:
    """Classes as the run numbers them."""
    if names is None or known is None:
        return torch.from_numpy(numbers[0])
    places = np.array([*(known.index(name) if name in known else -1 for name in names), -1])
    return torch.from_numpy(places[numbers[0]])
