"""Computes what a page shows of a run: planes of any level, the way down from a code with noise held or drawn, codes of examples."""

from __future__ import annotations

import io
import math
import re
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from owae.data.sources import as_floats, examples
from owae.errors import DataError, InputError, OwaeError
from owae.interfaces import DataSource
from owae.model.inference import evaluating
from owae.run.opened import Run
from owae.torch_state import own_randomness
from owae_data.pictures import as_event
from owae_report.evaluation.extractors import evenly
from owae_report.load import training_form
from owae_report.pixels import channels, colours, drawable, to_pixels
from owae_report.words import counted

SIDE = 13  # of a plane's sheet; odd, so that its middle is on it
EXTENT = 2.0  # standard deviations
_SHEET = 2_000_000  # numbers of a sheet, at most
_ENCODED = 1000  # held-out examples that a level's spread is measured on
_WALKED = 8
_PIXELS = 50_000_000  # of an own picture, at most


class Session:
    """A run to be explored. One request is computed at a time, since noise is drawn from torch's own generators.

    Args:
        run: The run.
        shown: Channels of pictures, as `owae_report.pixels.channels` takes them.

    Attributes:
        lock: Held while a request is computed.
    """

    def __init__(self, run: Run, shown: str | None = None) -> None:
        self.run, self.stack = run, run.model
        self.lock = threading.Lock()
        self.shape, self.picture = tuple(run.shape), drawable(tuple(run.shape))
        self.shown = channels(self.shape, run.dtype, shown)

    @cached_property
    def source(self) -> DataSource | None:
        """The held-out examples; None where they cannot be had."""
        try:
            source = self.run.source("test")
        except OwaeError:
            return None
        return source if len(source) else None

    @cached_property
    def codes(self) -> list[Float[Tensor, "n d"]]:
        """Means of held-out examples at every level, flat, bottom first; draws on the way down from the prior where there are none."""
        if self.source is not None:
            rows = evenly(len(self.source), _ENCODED)
            parts = [self._encode(examples(self.source, part)) for part in rows.split(250)]
            return [torch.cat(each) for each in zip(*parts, strict=True)]
        with evaluating(self.stack):
            found = {self.stack.depth: self.stack.prior.sample(_ENCODED)}
            for level in range(self.stack.depth, 1, -1):
                found[level - 1] = self.stack.layers[level - 1].decode(found[level]).rsample()
        return [found[level].flatten(1).float().cpu() for level in sorted(found)]

    def about(self) -> dict[str, Any]:
        """Describes the run: levels, the data's shape, held-out examples and their classes."""
        labels = None if self.source is None or self.source.labels is None else self.source.labels.cpu().long()
        present = [] if labels is None else [each for each in labels.unique().tolist() if each >= 0]
        names = (None if self.source is None else self.source.class_names) or ()
        low, high = self.run.value_range
        if self.picture:
            count = colours(self.shape, self.shown)
            form: dict[str, Any] = {"height": self.shape[-2], "width": self.shape[-1], "channels": count, "range": [0, 255]}
        else:
            spread = self._decoded(self.codes[-1][:200], self.stack.depth)
            form = {"low": float(max(low, spread.min())), "high": float(min(high, spread.max()))}
        return {
            "dimensions": [codes.shape[1] for codes in self.codes],
            "picture": form if self.picture else None,
            "values": None if self.picture else form,
            "examples": 0 if self.source is None else len(self.source),
            "classes": [[each, names[each] if each < len(names) else str(each)] for each in present],
        }

    def plane(self, level: int, kind: str, pair: Sequence[int], through: object = None) -> dict[str, Any]:
        """Decodes a plane of a level, by two coordinates or two principal components, that passes through a code or else the middle."""
        codes = self.codes[self._level(level) - 1]
        middle, axes = self._axes(level, kind, pair)
        at = middle if through is None else self._code(level, through)
        places = [float((at - middle) @ axis / axis.square().sum()) for axis in axes]
        centre = at - sum(place * axis for place, axis in zip(places, axes, strict=True))
        side = SIDE
        while side > 5 and side * side * math.prod(self.shape) > _SHEET:
            side -= 2
        steps = torch.linspace(-1, 1, side)
        rows = [*(-steps)] if len(axes) > 1 else [torch.zeros(())]
        grid = torch.stack([centre + u * axes[0] + (v * axes[1] if len(axes) > 1 else 0) for v in rows for u in steps])
        decoded = self._decoded(grid, level)
        found = {
            "columns": side,
            "rows": len(rows),
            "centre": centre.tolist(),
            "axes": axes.tolist(),
            "place": places,
            "sheet": None,
            "spread": float(codes.std(correction=0)) if len(codes) > 1 else 1.0,
        }
        if self.picture:
            found["sheet"] = _sheet(to_pixels(decoded, self.run.value_range, self.shown), len(rows), side)
        return found

    def descend(self, level: int, z: object, noise: Mapping[int, int | None]) -> dict[str, Any]:
        """Goes down from a code: each level's code by the mean, or, where a seed is given, by a draw; and what each decodes to by means.

        Args:
            level: Where the code is.
            z: The code, flat.
            noise: By level below it, the seed of its noise; None or absent: the mean.
        """
        codes = {self._level(level): self._event(level, self._code(level, z)[None])}
        with evaluating(self.stack) as device:
            for upper in range(level, 1, -1):
                layer, seed = self.stack.layers[upper - 1], noise.get(upper - 1)
                if seed is None:
                    codes[upper - 1] = layer.point(codes[upper])
                else:
                    with own_randomness(seed, device):
                        codes[upper - 1] = layer.decode(codes[upper]).rsample()
            decoded = [self.stack.decode(codes[each], each)[0] for each in range(level, 1, -1)]
            with own_randomness(noise.get(0) or 0, device):
                decoded.append(self.stack.decode(codes[1], 1, sample=noise.get(0) is not None)[0])
        shown = self._shown(torch.stack(decoded))
        return {
            "events": shown,
            "codes": {each: codes[each].flatten().tolist() for each in codes if codes[each].numel() <= 4096},
        }

    def drawn(self, seed: int) -> dict[str, Any]:
        """Draws a code of the deepest level from the prior."""
        with evaluating(self.stack, seed):
            return {"z": self.stack.prior.sample(1).flatten().tolist()}

    def example(self, place: int) -> dict[str, Any]:
        """Encodes a held-out example, and rebuilds it through every level."""
        if self.source is None:
            raise DataError("the run's held-out examples cannot be had")
        if not 0 <= place < len(self.source):
            raise InputError(f"there is no held-out example {place}; 0 to {len(self.source) - 1} are")
        return self._rebuilt(examples(self.source, torch.tensor([place])))

    def own(self, content: bytes) -> dict[str, Any]:
        """Encodes a picture file, read as the training examples were, and rebuilds it through every level."""
        if not self.picture:
            raise DataError(f"the run's data have shape {self.shape}, which are no pictures")
        try:
            with Image.open(io.BytesIO(content)) as image:
                if math.prod(image.size) > _PIXELS:
                    raise DataError(f"the picture has {math.prod(image.size):,} pixels; {_PIXELS:,} at most would work")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError("the file is no picture of a known format; PNG or JPEG would work") from error
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "picture")
            path.write_bytes(content)
            try:
                event = as_event(path, training_form(self.run), self.shape)
            except DataError as error:
                raise DataError(str(error).replace(str(path), "the picture")) from error
        return self._rebuilt(as_floats(torch.from_numpy(event.copy())[None], self.run.value_range))

    def walk(self, level: int, label: int) -> dict[str, Any]:
        """Lists codes of examples of a class, each one followed by the nearest that is left, from the one nearest to their mean on."""
        source = self.source
        if source is None or source.labels is None:
            raise DataError("the run's held-out examples have no classes")
        rows = (source.labels.cpu() == label).nonzero()[:, 0]
        if not len(rows):
            raise InputError(f"no held-out example has class {label}")
        rows = rows[evenly(len(rows), _WALKED)]
        codes = self._encode(examples(source, rows))[self._level(level) - 1]
        left = list(range(len(codes)))
        here, order = codes.mean(0), []
        while left:
            order.append(left.pop(int((codes[left] - here).norm(dim=1).argmin())))
            here = codes[order[-1]]
        return {"codes": codes[order].tolist(), "examples": rows[order].tolist()}

    def _axes(self, level: int, kind: str, pair: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Returns the middle of a level and the vectors to a plane's right and upper edges, (1 or 2, d)."""
        codes = self.codes[level - 1]
        dimension = codes.shape[1]
        pair = list(pair)[: min(2, dimension)]
        if kind not in ("coordinates", "principal"):
            raise InputError(f"found a plane of '{kind}'; 'coordinates' and 'principal' would work")
        if len(set(pair)) < min(2, dimension) or not all(0 <= each < dimension for each in pair):
            raise InputError(f"found the pair {pair}; two different ones of 0 to {dimension - 1} would work")
        if level == self.stack.depth and kind == "coordinates":
            return torch.zeros(dimension), EXTENT * torch.eye(dimension)[pair]
        middle = codes.mean(0)
        if kind == "coordinates":
            sizes = codes.std(0).clamp(min=1e-6) if len(codes) > 1 else torch.ones(dimension)  # a single code has no spread
            return middle, torch.diag(EXTENT * sizes)[pair]
        directions, sizes = self._principal[level]
        if max(pair) >= len(directions):
            raise InputError(f"found the pair {pair}; {counted(len(directions), 'principal component')} can be had of these codes")
        return middle, EXTENT * sizes[pair, None].clamp(min=1e-6) * directions[pair]

    @cached_property
    def _principal(self) -> dict[int, tuple[Tensor, Tensor]]:
        found = {}
        for level, codes in enumerate(self.codes, start=1):
            if len(codes) < 2:  # which lie along nothing
                found[level] = torch.eye(min(2, codes.shape[1]), codes.shape[1]), torch.ones(min(2, codes.shape[1]))
                continue
            _, sizes, directions = torch.linalg.svd(codes - codes.mean(0), full_matrices=False)
            found[level] = directions, sizes / math.sqrt(max(1, len(codes) - 1))
        return found

    def _rebuilt(self, x: Tensor) -> dict[str, Any]:
        with evaluating(self.stack) as device:
            codes = self.stack.encode(x.to(device))
            events = [x[0].to(device), *(self.stack.decode(z, level)[0] for level, z in enumerate(codes, start=1))]
        return {
            "events": self._shown(torch.stack([each.float() for each in events])),
            "codes": [z.flatten().tolist() for z in codes],
            "errors": [float((each - events[0]).square().sum()) for each in events[1:]],
        }

    def _encode(self, x: Tensor) -> list[Tensor]:
        with evaluating(self.stack) as device:
            return [z.flatten(1).float().cpu() for z in self.stack.encode(x.to(device))]

    def _decoded(self, codes: Float[Tensor, "n d"], level: int) -> Tensor:
        with evaluating(self.stack):
            return torch.cat([self.stack.decode(self._event(level, part), level).float().cpu() for part in codes.split(64)])

    def _shown(self, events: Tensor) -> list[list[float]]:
        if self.picture:
            pixels = to_pixels(events, self.run.value_range, self.shown)
            return [(np.moveaxis(each, -1, 0) if each.ndim == 3 else each).ravel().tolist() for each in pixels]
        return events.flatten(1).float().cpu().nan_to_num().tolist()

    def _level(self, level: int) -> int:
        if not 1 <= level <= self.stack.depth:
            raise InputError(f"there is no level {level}; 1 to {self.stack.depth} are")
        return level

    def _code(self, level: int, z: object) -> Float[Tensor, " d"]:
        if not isinstance(z, list) or not all(type(each) in (int, float) for each in z):
            raise InputError(f"found {type(z).__name__} for a code; a list of numbers would work")
        code = torch.tensor([float(each) for each in z], dtype=torch.float32)
        dimension = math.prod(self.stack.layers[self._level(level) - 1].latent_shape)
        if code.shape != (dimension,) or not code.isfinite().all() or code.abs().max() > 1e6:
            raise InputError(f"found {len(code)} numbers for a code z_{level}; it has {dimension}, finite and not huge")
        return code

    def _event(self, level: int, codes: Float[Tensor, "n d"]) -> Tensor:
        return codes.unflatten(1, tuple(self.stack.layers[level - 1].latent_shape)).to(self.stack.prior.anchor)


def _sheet(pictures: np.ndarray, rows: int, columns: int) -> str:
    """Returns a PNG of pictures side by side as an address that holds it."""
    from owae_report.page.parts import data_address

    height, width = pictures.shape[1:3]
    array = pictures.reshape(rows, columns, *pictures.shape[1:]).swapaxes(1, 2)
    array = array.reshape(rows * height, columns * width, *pictures.shape[3:])
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG", compress_level=1)
    return data_address(buffer.getvalue(), "image/png")


def plain(text: str) -> str:
    """Returns a message without paths, which are nobody's but the machine's."""
    return re.sub(r"(/[\w.-]+){2,}", "…", text)
