"""What a picture file is read as, whatever its format, mode, depth or orientation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from owae import DataError
from owae.data.sources import examples
from owae_data.image_folder import ImageFolder
from owae_data.pictures import Form, as_event, read, survey


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


def test_the_first_picture_of_an_animation_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frames = [Image.new("L", (6, 5), value) for value in (0, 255)]
    assert (_read(tmp_path, "x.gif", frames[0], save_all=True, append_images=frames[1:]) == 0).all()
    caplog.set_level("INFO")
    assert (as_event(tmp_path / "x.gif", Form(channels=1), (1, 5, 6)) == 0).all()
    assert "x.gif holds further pages or frames, and the first is read" in caplog.text


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


# --- a user's own files ---

OPTIONS: list[dict[str, Any]] = [
    {"size": (16, 20)},
    {"crop": (12, 10)},
    {"crop": (12, 10), "size": (8, 8), "channels": 1},
    {"crop": (14, 14), "background": "black", "channels": 3},
    {"size": (9, 9), "background": "black", "value_range": (-1.0, 1.0)},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_a_training_picture_given_by_hand_is_the_example_that_was_trained_on(tmp_path: Path, options: dict[str, Any]) -> None:
    turned = Image.Exif()
    turned[0x0112] = 6
    wide = np.concatenate([WHEEL, WHEEL[:, ::-1]], 1)
    Image.fromarray(wide).save(tmp_path / "turned.jpg", exif=turned)
    Image.fromarray(wide[..., 0].astype(np.uint16) * 257).save(tmp_path / "deep.png")
    Image.fromarray(np.dstack([wide, wide[..., 1]])).save(tmp_path / "alpha.png")
    Image.merge("LA", [Image.fromarray(wide[..., 0]), Image.fromarray(wide[..., 2])]).save(tmp_path / "grey-alpha.png")
    Image.fromarray(wide).quantize(16).save(tmp_path / "palette.gif", transparency=3)
    Image.fromarray(wide).convert("CMYK").save(tmp_path / "inks.tif")
    defaults = {"channels": None, "size": None, "crop": None, "background": "white"}
    for split in ("train", "test"):
        source = ImageFolder(split, path=tmp_path, **options)
        form = ImageFolder.form(**{**defaults, **options})
        trained = examples(source, torch.arange(len(source)))
        for name, example in zip(source._names, trained, strict=True):
            own = torch.from_numpy(as_event(tmp_path / name, form, source.shape).copy())
            assert torch.equal(own, source[source._names.index(name)]), name
            low, high = source.value_range
            assert torch.allclose(own * ((high - low) / 255) + low, example, atol=1e-6)


def test_a_picture_that_was_cropped_before_is_taken_whole_and_a_smaller_one_refused(tmp_path: Path) -> None:
    Image.fromarray(WHEEL).save(tmp_path / "x.png")
    taken = as_event(tmp_path / "x.png", Form(crop=(20, 20), size=(16, 16)), (3, 16, 16))
    assert np.array_equal(taken, WHEEL.transpose(2, 0, 1))
    with pytest.raises(DataError, match=r"x\.png cannot be read as a picture: 16x16 is smaller than the crop 20x20"):
        as_event(tmp_path / "x.png", Form(crop=(20, 20), size=(8, 8)), (3, 8, 8))


def test_what_shows_through_is_the_users_choice(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (0, 0, 0, 128)).save(tmp_path / "x.png")
    assert set(read(tmp_path / "x.png", Form(3, background="black")).flatten().tolist()) == {0}
    kept = as_event(tmp_path / "x.png", Form(), (4, 4, 4))
    assert kept[:, 0, 0].tolist() == [0, 0, 0, 128]
