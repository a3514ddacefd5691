"""What a picture file is read as, whatever its format, mode, depth or orientation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from owae_data.pictures import Form, read, survey


def _read(folder: Path, name: str, picture: Image.Image, **options: Any) -> torch.Tensor:
    """What a picture is read as, saved and taken as it is; that must be what a look at it announces."""
    picture.save(folder / name, **options)
    shape = survey(folder / name, Form())
    pixels = read(folder / name, Form(channels=1 if shape[0] == 1 else 3))
    assert pixels.shape == shape
    return torch.from_numpy(pixels.copy())


RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
WHEEL = np.stack([RAMP, RAMP.T, 255 - RAMP], 2)


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "tif", "tiff", "webp"])
def test_lossless_formats_give_the_very_pixels(tmp_path: Path, suffix: str) -> None:
    read = _read(tmp_path, f"x.{suffix}", Image.fromarray(WHEEL), **({"lossless": True} if suffix == "webp" else {}))
    assert np.array_equal(read.numpy(), WHEEL.transpose(2, 0, 1))


@pytest.mark.parametrize("name", ["x.jpg", "x.JPEG"])
def test_jpegs_come_close(tmp_path: Path, name: str) -> None:
    smooth = np.stack([np.full_like(RAMP, 40), np.full_like(RAMP, 90), np.full_like(RAMP, 200)], 2)
    read = _read(tmp_path, name, Image.fromarray(smooth), quality=100)
    assert np.abs(read.numpy().astype(int) - smooth.transpose(2, 0, 1)).max() <= 3


GREY: dict[str, Image.Image] = {
    "8 bits": Image.fromarray(RAMP),
    "16 bits": Image.fromarray(RAMP.astype(np.uint16) * 257),
    "palette": Image.fromarray(RAMP).convert("P"),
    "alpha": Image.merge("LA", [Image.fromarray(RAMP), Image.new("L", (16, 16), 255)]),
}


@pytest.mark.parametrize("kind", GREY)
def test_grey_pictures_have_one_channel(tmp_path: Path, kind: str) -> None:
    assert np.array_equal(_read(tmp_path, "x.png", GREY[kind]).numpy(), RAMP[None])


def test_16_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    values = np.array([[0, 128, 129, 256, 257], [32768, 40000, 65000, 65534, 65535]], np.uint16)
    expected = np.rint(values / 257)
    for suffix in ("png", "tif"):
        assert np.array_equal(_read(tmp_path, f"x.{suffix}", Image.fromarray(values))[0].numpy(), expected)


def test_black_and_white_pictures_use_the_whole_range(tmp_path: Path) -> None:
    assert set(_read(tmp_path, "x.png", Image.fromarray(RAMP > 99)).flatten().tolist()) == {0, 255}


TRANSPARENT: dict[str, Callable[[], tuple[Image.Image, dict[str, Any]]]] = {
    "alpha": lambda: (Image.new("RGBA", (4, 4), (10, 20, 30, 0)), {}),
    "grey alpha": lambda: (Image.new("LA", (4, 4), (10, 0)), {}),
    "colour key": lambda: (Image.new("RGB", (4, 4), (10, 20, 30)), {"transparency": (10, 20, 30)}),
    "palette": lambda: (Image.new("P", (4, 4), 0), {"transparency": 0}),
}


@pytest.mark.parametrize("kind", TRANSPARENT)
def test_what_is_transparent_is_white(tmp_path: Path, kind: str) -> None:
    picture, options = TRANSPARENT[kind]()
    assert (_read(tmp_path, "x.png", picture, **options) == 255).all()


def test_half_transparent_black_is_grey(tmp_path: Path) -> None:
    assert set(_read(tmp_path, "x.png", Image.new("RGBA", (4, 4), (0, 0, 0, 128))).flatten().tolist()) == {127}


def test_inks_become_colours(tmp_path: Path) -> None:
    read = _read(tmp_path, "x.tif", Image.new("CMYK", (4, 4), (255, 0, 0, 0)))
    assert read[:, 0, 0].tolist() == [0, 255, 255]
    (tmp_path / "jpeg").mkdir()
    read = _read(tmp_path / "jpeg", "x.jpg", Image.new("CMYK", (8, 8), (0, 0, 0, 255)), quality=100)
    assert read.max() <= 3


def test_colours_of_a_palette_are_looked_up(tmp_path: Path) -> None:
    read = _read(tmp_path, "x.gif", Image.fromarray(WHEEL).quantize(4))
    assert read.shape[0] == 3
    assert np.abs(read.numpy().astype(int) - WHEEL.transpose(2, 0, 1)).mean() < 60


def test_the_first_picture_of_an_animation_counts(tmp_path: Path) -> None:
    frames = [Image.new("L", (6, 5), value) for value in (0, 255)]
    assert (_read(tmp_path, "x.gif", frames[0], save_all=True, append_images=frames[1:]) == 0).all()


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_orientation_is_respected(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: what is stored as the left edge is the top
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :15] = 255
    read = _read(tmp_path, f"x.{suffix}", Image.fromarray(pixels), exif=exif)
    assert read.shape == (3, 30, 20)
    assert read[:, :14].min() > 240
    assert read[:, 16:].max() < 15


def test_pixels_without_an_agreed_white_are_refused(tmp_path: Path) -> None:
    for values in (RAMP.astype(np.float32), RAMP.astype(np.int32) * 1_000_000):
        with pytest.raises(ValueError, match="agreed white"):
            _read(tmp_path, "x.tif", Image.fromarray(values))
