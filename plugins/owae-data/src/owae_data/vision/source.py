"""Any set of single pictures that torchvision knows, by its name."""

from __future__ import annotations

import inspect
import logging
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

import numpy as np
import torch
from PIL import Image
from pydantic import create_model
from torch import Tensor

from owae.errors import ConfigError, DataError, suggestion
from owae.interfaces import Shape
from owae.registry.problems import STRICT, validated
from owae_data.base import Extent, Fraction, StoredSource, ValueRange, quiet
from owae_data.cache import ArrayCache, Decoder, data_root, writable_root
from owae_data.picture_sets import decode, picture_names
from owae_data.pictures import Form, ReadsPictures, read
from owae_data.public_files import Converted, Labelled
from owae_data.split_folders import find_splits
from owae_data.splits import hold_out
from owae_data.vision import file_sets
from owae_data.vision.datasets import open_dataset

OURS = {"self", "root", "transform", "target_transform", "transforms", "loader", "is_valid_file", "download", "train", "kwargs"}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Parts:
    """How a set tells its parts.

    Attributes:
        argument: Of its constructor, by which a part is chosen; None where the set has no parts.
        train: What is trained on, unless said otherwise.
        test: What is tested on; None where some are held out.
        colour: Whether its files are in colour.
        labelled: Whether classes mean the same in both parts.
    """

    argument: str | None = None
    train: str | bool = True
    test: str | bool | None = False
    colour: bool = True
    labelled: bool = True


_WHOLE = Parts(test=None)
_TEST = Parts("split", "train", "test")
_FILES = Parts("split", "train", "test")  # the names that `file_sets.find` knows
SETS: dict[str, Parts] = {
    **dict.fromkeys(file_sets.SHAPES, _FILES),
    **dict.fromkeys(("Country211", "DTD", "FER2013", "Flowers102", "Food101", "GTSRB", "LFWPeople", "PCAM"), _TEST),
    **dict.fromkeys(("RenderedSST2", "StanfordCars"), _TEST),
    **dict.fromkeys(("Caltech101", "Caltech256", "EuroSAT", "FakeData", "ImageFolder", "SEMEION", "SUN397"), _WHOLE),
    **dict.fromkeys(("CLEVRClassification", "Imagenette"), Parts("split", "train", "val")),  # the former's test part has no classes
    **dict.fromkeys(("FGVCAircraft", "OxfordIIITPet"), Parts("split", "trainval", "test")),
    "INaturalist": Parts("version", "2021_train", "2021_valid"),
    "Omniglot": Parts("background", colour=False, labelled=False),  # the test part has other alphabets
    "Places365": Parts("split", "train-standard", "val"),
    "USPS": Parts("train"),
}
_PICKLES = "its files are read by a pickle or its like; kind = 'image-folder' reads its pictures from a folder for each class"
_REFUSED = {
    "CelebA": "kind = 'celeba' reads it",
    "ImageNet": _PICKLES,
    "LSUN": _PICKLES,
    "LSUNClass": _PICKLES,
    "DatasetFolder": "name = 'ImageFolder' or kind = 'image-folder' reads a folder of pictures",
}


class Torchvision(ReadsPictures, StoredSource):
    """A set that torchvision knows, (C, H, W): `{ kind = "torchvision", name = "FashionMNIST" }`.

    MNIST and the sets made after it, CIFAR (its binary version), STL10 and SVHN are read by owae: found where torchvision or a person
    put them, or downloaded, gone on with and checked as `mnist` is. The others are opened and downloaded by torchvision's classes, and
    their pictures read as those of a folder are. No pickle is loaded. The splits are the set's own, or held out where it has none.

    Args:
        name: What torchvision calls it.
        split: The part to train on, as the set calls it, where it has several ("train+unlabeled" of STL10); of EMNIST, which of the six
            sets that it consists of.
        test_split: The part to test on; false holds examples of the other part out.
        options: Other arguments of torchvision's class: `{ partition = 2 }` for DTD.
        root: The data folder, as given to torchvision; by default that in the environment variable `OWAE_DATA`, or else the user's cache
            folder.
        download: Whether to download what is missing.
        verify: Whether archives and packed files that owae reads must have the official checksums.
        channels: 1 for grey, 3 for RGB; by default as the set is.
        size: Height and width to resize to, antialiased; needed where pictures differ in size.
        crop: Height and width of the middle part to keep before that.
        background: What shows through where pictures are transparent.
        holdout: The share to hold out for testing, where the set has no part for it.
        skip_broken: Leave pictures that cannot be read out, with a warning, instead of refusing them.
        value_range: What black and white stand for.
    """

    name = "torchvision"

    def __init__(
        self,
        part: Literal["train", "test"],
        /,
        *,
        name: str,
        split: str | None = None,
        test_split: str | Literal[False] | None = None,
        options: dict[str, Any] = {},  # noqa: B006 # never changed; None could not be told from what a config says
        root: Path | None = None,
        download: bool = True,
        verify: bool = True,
        channels: Literal[1, 3] | None = None,
        size: Extent | None = None,
        crop: Extent | None = None,
        background: Literal["white", "black"] = "white",
        holdout: Fraction = 0.1,
        skip_broken: bool = False,
        value_range: ValueRange = (0.0, 1.0),
    ) -> None:
        dataset, parts, takes = _lookup(name)
        if name == "ImageFolder":
            _refuse_splits(data_root(root))
        form = self.form(channels=channels, size=size, crop=crop, background=background)
        given = _checked(name, dataset, parts, takes, options, split)
        chosen = {"train": parts.train, "test": parts.test}
        if name != "EMNIST":
            chosen["train"] = parts.train if split is None else _told(parts, split)
        if test_split is not None:
            chosen["test"] = None if test_split is False else _told(parts, test_split)
        held = chosen["test"] is None
        if not held and chosen["train"] == chosen["test"]:
            raise ValueError(f"{name}: '{split}' is what is tested on; name another split, or test_split = false to hold some out")
        wanted = chosen["train"] if held else chosen[part]
        rows = None
        if name in file_sets.SHAPES:
            found = file_sets.find(dataset, str(wanted), given, root, download=download, verify=verify)
            shaped = {} if form == Form() else asdict(form)
            whole = found.files.convert(*found.found, decode=lambda: _formed(name, found.decode(), form), **found.key, **shaped)
        else:
            if parts.argument:
                given[parts.argument] = wanted
            whole, rows = self._opened(dataset, given, takes, root, form, download, skip_broken, parts)
        labels = whole.labels if parts.labelled else None
        labels = None if labels is None or not (labels >= 0).any() else labels
        if held:
            own = hold_out(len(whole.examples) if rows is None else len(rows), holdout, labels)[part]
            labels, rows = None if labels is None else labels[own], own if rows is None else rows[own]
        super().__init__(whole.examples, rows=rows, labels=labels, value_range=value_range)
        self.class_names = whole.classes if parts.labelled else None

    def _opened(
        self,
        dataset: Any,
        arguments: dict[str, Any],
        takes: set[str],
        root: Path | None,
        form: Form,
        download: bool,
        skip_broken: bool,
        parts: Parts,
    ) -> tuple[Converted, Tensor]:
        """What torchvision's class reads, and the rows that could be read."""
        opened = open_dataset(dataset, data_root(root), arguments, takes, download=download, colour=parts.colour)
        form = replace(form, channels=form.channels or opened.channels)
        key = {**asdict(form), "set": dataset.__name__, "arguments": sorted(map(str, arguments.items())), "pictures": opened.key}
        cached = ArrayCache(writable_root(root), self.name, key)
        # Kept, since the other split finds it decoded as long as it lives.
        self._album = decode(opened.pictures, form, cached, skip_broken=skip_broken)
        good = self._album.good.nonzero()[:, 0]
        labels = torch.full((len(good),), -1) if opened.labels is None else opened.labels[good]
        return Converted(self._album.examples, labels, opened.classes), good

    @classmethod
    def declared_shape(
        cls, *, name: str, verify: bool, channels: int | None, size: Extent | None, crop: Extent | None, **options: Any
    ) -> Shape | None:
        """That of the official pictures, or what the options make of them."""
        if name in file_sets.SHAPES and verify:
            own = file_sets.SHAPES[name]
            return (channels or own[0], *(size or crop or own[1:]))
        extent = size or crop
        return None if channels is None or extent is None else (channels, *extent)


def _refuse_splits(folder: Path) -> None:
    """Refuses a folder whose sub-folders are splits, which torchvision's `ImageFolder` takes for classes."""
    names = picture_names(folder)
    if names and find_splits(folder, names) is not None:
        raise DataError(f"{folder} has splits in it; kind = 'image-folder', path = '{folder}' takes them as such")


def _lookup(name: str) -> tuple[Any, Parts, set[str]]:
    """torchvision's class of a set, how that tells its parts, and the arguments that it takes."""
    if name not in SETS:
        known = f"torchvision's '{name}': {_REFUSED[name]}" if name in _REFUSED else f"no set of single pictures is called '{name}'"
        raise ValueError(f"name: {known}; {suggestion(name, SETS)}")
    with quiet():
        from torchvision import datasets
    dataset = getattr(datasets, name, None)
    if dataset is None:
        raise DataError(f"this version of torchvision has no {name}; a newer one has: pip install -U torchvision")
    signature = inspect.signature(dataset.__init__).parameters
    return dataset, SETS[name], {*signature, "download"} if "kwargs" in signature else {*signature}


def _checked(name: str, dataset: Any, parts: Parts, takes: set[str], options: dict[str, Any], split: str | None) -> dict[str, Any]:
    """The set's own options, held against the signature of its constructor.

    Raises:
        ConfigError: One is unknown, missing, or of another type.
    """
    hints = get_type_hints(dataset.__init__)
    ours = OURS | {str(parts.argument)} | ({"what", "compat"} if name == "QMNIST" else set())
    fields: dict[str, Any] = {}
    for key, parameter in inspect.signature(dataset.__init__).parameters.items():
        if key not in ours:
            fields[key] = (hints.get(key, Any), ... if parameter.default is parameter.empty else parameter.default)
    model, problems = validated(create_model(f"{name}Options", __config__=STRICT, **fields), options, "options")
    if name == "EMNIST" and split is None:
        problems = [*problems, *validated(create_model("EMNIST", split=(str, ...)), {})[1]]
        problems[-1] = replace(problems[-1], message=f"EMNIST consists of six sets; {suggestion('', dataset.splits)}")
    if split is not None and not parts.argument:
        raise ValueError(f"split: {name} has no parts to choose from; holdout is the share that is tested on")
    if model is None or problems:
        takes_text = f"the options of {name} are: {', '.join(sorted(fields)) or 'none'}"
        raise ConfigError([*problems[:-1], replace(problems[-1], message=f"{problems[-1].message} ({takes_text})")])
    given = {key: getattr(model, key) for key in fields if key in options}
    return {**given, "split": split} if name == "EMNIST" else given


def _told(parts: Parts, value: str) -> str | bool:
    """A part as the constructor is told it."""
    if isinstance(parts.train, bool):
        if value not in ("train", "test"):
            raise ValueError(f"split: found '{value}'; this set has the parts 'train' and 'test'")
        return parts.train if value == "train" else not parts.train
    return value


def _formed(name: str, found: Labelled, form: Form) -> Labelled:
    """Decoded pictures made into another form, as files would be."""
    shape = found.decoder.shape
    channels = form.channels or shape[1]
    wanted = (channels, *(form.size or form.crop or shape[2:]))
    if form.crop is not None and (form.crop[0] > shape[2] or form.crop[1] > shape[3]):
        raise ValueError(f"crop: {form.crop[0]}x{form.crop[1]} is larger than the pictures of {name}, {shape[2]}x{shape[3]}")
    if wanted == shape[1:]:
        return found
    form = replace(form, channels=1 if channels == 1 else 3)

    def picture(pixels: np.ndarray) -> np.ndarray:
        return read(Image.fromarray(np.ascontiguousarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))), form)

    def blocks() -> Any:
        for block in found.decoder.blocks():
            for at in range(0, len(block), 1024):
                yield np.stack([picture(pixels) for pixels in block[at : at + 1024]])

    return replace(found, decoder=Decoder((shape[0], *wanted), blocks))
