"""A small classifier as an extractor: trained once for a labelled data set, and kept in the cache by the data's fingerprint.

It works offline and on any data, but knows nothing except what tells these classes apart; its distances compare with each other and
with the floor, not with published ones.
"""

from __future__ import annotations

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from owae.data.sources import examples
from owae.errors import DataError
from owae.files import replace_durably, temporary_for
from owae.interfaces import DataSource, Shape
from owae.run.identity import fingerprint
from owae.torch_state import own_randomness
from owae_report.evaluation.extractors import Extractor, as_channels, evenly, is_picture, unit_scale

logger = logging.getLogger(__name__)

FEATURES = 32  # few, for a covariance needs many more examples than features
VERSION = 1  # of network and training: another number trains all classifiers anew
_LARGEST = 32  # pixels a side that the network looks at
_MOST = 20_000  # examples it is trained on
_SEED = 1234
_BATCH = 128


class Network(nn.Module):
    """A small network: events (n, *x) in [0, 1] to features (n, 32) to logits (n, classes). Convolutions for pictures, else an MLP."""

    def __init__(self, shape: Shape, classes: int) -> None:
        super().__init__()
        if is_picture(shape):
            channels = 1 if len(shape) == 2 else shape[0]
            size = min(shape[-2], _LARGEST), min(shape[-1], _LARGEST)
            self.resize = size if max(shape[-2:]) > _LARGEST else None
            flat = 32 * (size[0] // 4) * (size[1] // 4)
            # Pooling before the ReLU gives the same numbers, and leaves it a quarter of them.
            self.body = nn.Sequential(
                nn.Conv2d(channels, 16, 3, padding=1), nn.BatchNorm2d(16), nn.MaxPool2d(2), nn.ReLU(),
                nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.MaxPool2d(2), nn.ReLU(),
                nn.Flatten(), nn.Linear(flat, FEATURES), nn.ReLU(),
            )  # fmt: skip
        else:
            self.resize = None
            size = torch.Size(shape).numel()
            self.body = nn.Sequential(
                nn.Flatten(), nn.Linear(size, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, FEATURES), nn.ReLU()
            )
        self.head = nn.Linear(FEATURES, classes)
        # Brings features to a mean square of 1, so that the numbers of different data sets are of one size.
        self.register_buffer("scale", torch.ones(()))
        self._convolves = is_picture(shape)

    def features(self, x: Float[Tensor, "n *x"]) -> Float[Tensor, "n d"]:
        """Returns the last layer before the logits, scaled."""
        if self._convolves:
            x = as_channels(x)
        if self.resize is not None:
            x = nn.functional.adaptive_avg_pool2d(x, self.resize)
        return self.body(x) * self.get_buffer("scale")

    def logits(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        """Returns the classes' logits from scaled features."""
        return self.head(features / self.get_buffer("scale"))

    def forward(self, x: Float[Tensor, "n *x"]) -> Float[Tensor, "n classes"]:
        return self.logits(self.features(x))

    @torch.no_grad()
    def rescale(self, x: Float[Tensor, "n *x"]) -> None:
        """Sets the scale by examples."""
        self.eval()
        size = self.features(x[evenly(len(x), 2000)]).square().mean()
        if size > 0:
            self.get_buffer("scale").div_(size.sqrt())


def train_network(x: Float[Tensor, "n *x"], labels: Int[Tensor, " n"], classes: int, epochs: int = 8) -> Network:
    """Trains a classifier, always the same for the same examples."""
    with own_randomness(_SEED), torch.enable_grad():
        network = Network(tuple(x.shape[1:]), classes)
        batches = max(1, len(x) // _BATCH)
        epochs = max(epochs, -(-60 // batches))
        optimizer = torch.optim.Adam(network.parameters(), 1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=epochs * batches)
        for _ in range(epochs):
            for rows in torch.randperm(len(x)).tensor_split(batches):
                optimizer.zero_grad()
                nn.functional.cross_entropy(network(x[rows]), labels[rows]).backward()
                optimizer.step()
                schedule.step()
    network.rescale(x)
    return network.eval().requires_grad_(False)


class Trained(Extractor):
    """A classifier of the training examples; trained where the cache has none for them.

    Raises:
        DataError: There are fewer than two classes.
    """

    name = "classifier"

    def __init__(self, train: DataSource) -> None:
        labels = train.labels
        rows = torch.arange(0) if labels is None else torch.nonzero(labels >= 0)[:, 0]
        if labels is None or len(labels[rows].unique()) < 2:
            raise DataError("the classifier needs training examples of at least two classes; 'pixels' and 'random' need no labels")
        self.classes = int(labels.max()) + 1
        rows = rows[evenly(len(rows), _MOST)]
        text = f"{VERSION} {tuple(train.shape)} {tuple(train.value_range)} {fingerprint(train)}"
        key = hashlib.sha256(text.encode()).hexdigest()
        path = cache_folder() / f"classifier-{key[:16]}.safetensors"
        self.network = _kept(path, tuple(train.shape), self.classes)
        if self.network is None:
            logger.info("training a classifier on %d examples, which judges samples; kept in %s", len(rows), path)
            x = unit_scale(examples(train, rows), train.value_range)
            self.network = train_network(x, labels[rows].to("cpu", torch.long), self.classes)
            _keep(path, self.network)

    def __call__(self, x: Float[Tensor, "n *x"]) -> Float[Tensor, "n d"]:
        assert self.network is not None
        return self.network.features(x)

    def probabilities(self, features: Float[Tensor, "n d"]) -> Float[Tensor, "n classes"]:
        """Returns the classes' probabilities from features."""
        assert self.network is not None
        return self.network.logits(features).softmax(1)

    def accuracy(self, features: Float[Tensor, "n d"], source: DataSource, rows: Int[Tensor, " n"]) -> float | None:
        """Returns the share of the labelled among a source's examples that it gets right by their features; None where none is labelled."""
        if source.labels is None or not ((labels := source.labels.cpu()[rows]) >= 0).any():
            return None
        right = self.probabilities(features).argmax(1) == labels
        return float(right[labels >= 0].float().mean())

    def describe(self) -> dict[str, Any]:
        assert self.network is not None
        resize = self.network.resize
        return {"resize": None if resize is None else list(resize), "hash": weights_hash(self.network)}


class Untrained(Extractor):
    """The same network with random weights, always the same ones: for data without labels."""

    name = "random"

    def __init__(self, shape: Shape) -> None:
        with own_randomness(_SEED):
            self.network = Network(shape, 1).eval().requires_grad_(False)

    def __call__(self, x: Float[Tensor, "n *x"]) -> Float[Tensor, "n d"]:
        return self.network.features(x)

    def describe(self) -> dict[str, Any]:
        resize = self.network.resize
        return {"resize": None if resize is None else list(resize), "hash": weights_hash(self.network)}


def weights_hash(network: nn.Module) -> str:
    """Returns twelve digits that tell a network's parameters and buffers from others."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def cache_folder() -> Path:
    """Returns the folder for classifiers: below `OWAE_DATA`, else in the user's cache folder."""
    if os.environ.get("OWAE_DATA"):
        return Path(os.environ["OWAE_DATA"]).expanduser() / "classifiers"
    home = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "owae" / "classifiers"


def _kept(path: Path, shape: Shape, classes: int) -> Network | None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        return None
    with own_randomness(_SEED):
        network = Network(shape, classes).eval().requires_grad_(False)
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        logger.warning("%s cannot be read (%s) and is made anew", path, error)
        return None
    return network


def _keep(path: Path, network: Network) -> None:
    from safetensors.torch import save_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_for(path)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, temporary)
        replace_durably(temporary, path)
    except OSError as error:
        logger.warning("the classifier cannot be kept in %s (%s), so it is trained each time", path, error)
