"""Chooses levels, weights and training for data of a shape, after the best recipe of docs/results.md.

That is examples/mnist_sharp.toml: perceptrons of two hidden layers, codes that halve from 32 to 2, every cost in data space against the
data, the phases [refine] and [bottom] afterwards. What depends on the data is set in proportion to what it was there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from owae_dev.init.facts import Facts

# The recipe was found on 4,000 digits of 28×28, in batches of 125, whose squared error by the best constant is about 53.
STEPS, EXAMPLES, VARIANCE = 2000, 4000, 53.0
REFINE_STEPS, REFINE_BATCH = 2400, 256
BOTTOM_STEPS, BOTTOM_BATCH = 1600, 125
WIDEST_PERCEPTRON = 1024  # numbers of an image that a perceptron takes
DRAWN = 2048  # numbers of an example up to which its own conditional is refined too
OUTPUTS = {(0.0, 1.0): "sigmoid", (-1.0, 1.0): "tanh"}


@dataclass(frozen=True)
class Recipe:
    """What a config says beside its data.

    Attributes:
        values: Its tables.
        why: What was chosen and why, by the table's name.
    """

    values: dict[str, Any]
    why: dict[str, str]


def recipe(facts: Facts) -> Recipe:
    """Returns the config for data of which this is known, without [data]."""
    count = len(facts.train)
    batch = batch_size(count)
    levels = _levels(facts)
    dims = [level["layer"]["latent"] for level in levels]
    match = float(f"{facts.variance / VARIANCE:.1g}")
    epochs = _epochs(STEPS * max(1.0, math.sqrt(count / EXAMPLES)), count, batch)
    weights: dict[str, Any] = {"reconstruction": 0.3} if len(levels) > 1 else {}
    values: dict[str, Any] = {
        "levels": levels,
        "weights": {**weights, "match": match},
        "divergence": {"kind": "mmd"},
        "train": {
            "epochs": epochs,
            "batch_size": batch,
            "optimizer": {"name": "Adam", "lr": 1e-3},
            "schedule": {"name": "OneCycleLR", "max_lr": 3e-3},
            "pictures_every": max(1, epochs // 3),
            "checkpoint_every": max(1, epochs // 6),
        },
    }
    why = {
        "levels": _why_levels(facts, levels, dims),
        "weights": f"match goes by the squared error of the best constant, {facts.variance:.3g} here; for digits it is 1 at {VARIANCE:.0f}",
        "train": f"{epochs} epochs are {epochs * math.ceil(count / batch):,} steps; {_last(count, batch)}",
    }
    if len(levels) > 1:
        refine: dict[str, Any] = {"epochs": _epochs(REFINE_STEPS, count, REFINE_BATCH)}
        refine["batch_size"] = min(REFINE_BATCH, max(2, count // 2))
        values["refine"] = refine
        why["refine"] = "the conditionals of all levels learn to draw, so that samples vary as the data do"
        if not facts.is_image and facts.size <= DRAWN:
            refine["levels"] = [*range(1, len(levels) + 1)]
            why["refine"] += "; that of the data too, since they are no pictures, where noise is unwanted"
    if facts.is_image and facts.train.value_range in OUTPUTS:
        bottom: dict[str, Any] = {"epochs": _epochs(BOTTOM_STEPS, count, BOTTOM_BATCH)}
        bottom["batch_size"] = min(BOTTOM_BATCH, max(2, count // 2))
        if "channels" in levels[0]["layer"]:
            bottom["channels"] = levels[0]["layer"]["channels"]
        values["bottom"] = bottom
        why["bottom"] = "samples get a decoder that keeps edges and contrast"
    return Recipe(values, why)


def batch_size(count: int) -> int:
    """Returns a number near 128 in which so many examples leave a last batch that is nearly whole.

    >>> batch_size(4000), batch_size(60000), batch_size(90)
    (125, 125, 23)
    """
    if count < 4 * 100:
        return max(2, -(-count // 4))
    return min(range(100, 151), key=lambda size: (round(-count % size / size, 1), abs(size - 128)))


def _epochs(steps: float, count: int, batch: int) -> int:
    return min(300, max(5, round(steps / math.ceil(count / batch))))


def _last(count: int, batch: int) -> str:
    rest = count % batch
    return f"batches of {batch} divide the {count:,} examples" if not rest else f"batches of {batch} leave a last one of {rest}"


def _levels(facts: Facts) -> list[dict[str, Any]]:
    size, shape = facts.size, tuple(facts.train.shape)
    output = OUTPUTS.get(facts.train.value_range)
    ends = {"output": output} if output else {"decoder": "deterministic"}
    convolutions = facts.is_image and size > WIDEST_PERCEPTRON
    first = 64 if convolutions else min(32, 1 << math.floor(math.log2((size + 1) // 2)))
    many = len(facts.train) >= 1000
    width = min(512 if many else 128, max(64 if many else 32, 1 << math.ceil(math.log2(4 * size))))
    bottom: dict[str, Any] = {"kind": "mlp", "latent": first, "hidden": [width, width], **ends}
    if convolutions:
        channels = [min(256, 32 << i) for i in range(max(1, math.ceil(math.log2(max(shape[1:]) / 8))))]
        bottom = {"kind": "convolutional", "latent": first, "channels": channels, "hidden": [width], **ends}
    layers, latent = [bottom], first
    while latent > 2:
        latent = latent // 4 if latent == 64 else latent // 2
        layers.append({"kind": "mlp", "latent": latent, "hidden": [width, width]})
    return [{"layer": layer, **({"space": "data", "target": "data"} if i else {})} for i, layer in enumerate(layers)]


def _why_levels(facts: Facts, levels: list[dict[str, Any]], dims: list[int]) -> str:
    what = "pictures" if facts.is_image else "vectors" if len(facts.train.shape) == 1 else "arrays"
    bottom = levels[0]["layer"]
    kind = "convolutions at the bottom" if bottom["kind"] == "convolutional" else "perceptrons"
    output = bottom.get("output")
    ends = (
        f"output = '{output}' for values in {list(facts.train.value_range)}"
        if output
        else "a linear output, for values have no fixed range"
    )
    return f"{what} of {facts.size:,} numbers: {kind}, codes of {', '.join(map(str, dims))}, costs in data space; {ends}"
