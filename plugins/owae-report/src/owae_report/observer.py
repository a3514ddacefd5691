"""Pictures of a model while it is trained."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping

import numpy as np
import torch
from PIL import Image

import owae
from owae.data.sources import examples
from owae.interfaces import Observer, Picture
from owae.run.folder import PICTURES
from owae.run.observers import Training
from owae_report import blocks
from owae_report.events import draw_samples, reconstructions
from owae_report.grids import png
from owae_report.pixels import channels, drawable, to_pixels, write
from owae_report.representatives import representative

logger = logging.getLogger(__name__)

_SAMPLES, _EXAMPLES = 64, 10


class Pictures(Observer):
    """Samples and layer-wise reconstructions of held-out examples, in the folder `pictures` of a run.

    Drawn every `train.pictures_every` epochs and at the end, with the same noise and the same examples each time.
    """

    name = "pictures"
    always = True

    def __init__(self, training: Training, /) -> None:
        self._training = training
        test = training.test
        self._chosen = representative(_EXAMPLES, len(test), test.labels, training.options.seed)
        dtype = str(test.batch(torch.arange(1)).dtype).removeprefix("torch.") if len(test) else "uint8"
        self._channels = channels(tuple(test.shape), dtype)
        self._wanted = drawable(tuple(test.shape))
        if not self._wanted:
            logger.info("examples of shape %s are not images, so no pictures are drawn", tuple(test.shape))

    def epoch_ended(self, epoch: int, *, last: bool) -> Mapping[str, Picture]:
        every = self._training.options.pictures_every
        if not self._wanted or not (last or (every and epoch % every == 0)):
            return {}
        drawn = {}
        with self._training.averaged():
            for name, block in self._blocks():
                content = png(block)
                write(self._training.folder / PICTURES / f"{name}-epoch-{epoch:05d}.png", content)
                with Image.open(io.BytesIO(content)) as image:
                    drawn[name] = np.asarray(image.convert("RGB"))
        return drawn

    def _blocks(self) -> Iterator[tuple[str, blocks.Block]]:
        stack, test = self._training.stack, self._training.test
        events = draw_samples(stack, _SAMPLES, self._training.options.seed)
        yield "samples", blocks.samples(to_pixels(events, test.value_range, self._channels))
        if len(self._chosen):
            levels = reconstructions(stack, examples(test, self._chosen))
            yield "reconstructions", blocks.layerwise([to_pixels(events, test.value_range, self._channels) for events in levels])


@owae.hookimpl
def owae_components() -> list[type]:
    return [Pictures]
