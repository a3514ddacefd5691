"""Sheets show every byte in its place, at a size to be looked at, and files hold them whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from owae import pictures
from owae.errors import OwaeError


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


# Pixels


@pytest.mark.parametrize(
    ("shape", "answer"),
    [
        ((28, 28), True),
        ((1, 28, 28), True),
        ((3, 45, 33), True),
        ((4, 8, 8), True),
        ((1, 1, 1), True),
        ((784,), False),
        ((2, 16, 16), False),
        ((5, 8, 8), False),
        ((3, 0, 8), False),
        ((3, 8, 8, 8), False),
        ((), False),
    ],
)
def test_images_are_told_from_other_events(shape, answer):
    assert pictures.drawable(shape) is answer
    if answer:
        assert pictures.to_pixels(torch.zeros(2, *shape), (0.0, 1.0)).shape[:1] == (2,)
    else:
        with pytest.raises(ValueError, match="cannot be drawn"):
            pictures.to_pixels(torch.zeros(2, *shape), (0.0, 1.0))


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.4242, 2.8215), (1e-3, 2e-3)])
def test_bytes_come_back_as_they_were(value_range):
    low, high = value_range
    values = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    batch = values.float() * ((high - low) / 255) + low
    assert np.array_equal(pictures.to_pixels(batch, value_range)[0], values[0].numpy())


def test_values_are_rounded_half_up_and_clipped():
    batch = torch.tensor([[[0.49 / 255, 0.5 / 255, 2.5 / 255, -3.0, 7.0, torch.nan, torch.inf, -torch.inf]]])
    assert pictures.to_pixels(batch, (0.0, 1.0)).tolist() == [[[0, 1, 3, 0, 255, 0, 255, 0]]]


@pytest.mark.parametrize("value_range", [(1.0, 1.0), (1.0, 0.0), (0.0, torch.nan)])
def test_an_empty_range_is_refused(value_range):
    with pytest.raises(ValueError, match="value_range"):
        pictures.to_pixels(torch.zeros(1, 8, 8), value_range)


def test_colours_stand_last():
    batch = torch.zeros(1, 3, 4, 5)
    batch[:, 1] = 1
    assert np.array_equal(pictures.to_pixels(batch, (0.0, 1.0)), np.broadcast_to(np.array([0, 255, 0], np.uint8), (1, 4, 5, 3)))


# Sheets


LAYOUTS = [(5, 3, 4, 2, 2, 1), (1, 7, 5, 1, 1, 0), (6, 2, 9, 3, 3, 2)]


@pytest.mark.parametrize("tail", [(), (3,), (4,)])
@pytest.mark.parametrize(
    ("count", "height", "width", "columns", "scale", "pad"), [(5, 3, 4, 2, 2, 1), (1, 7, 5, 1, 1, 0), (6, 2, 9, 3, 3, 2)]
)
def test_every_picture_lies_in_its_place(tail, count, height, width, columns, scale, pad):
    images = np.random.default_rng(0).integers(0, 200, (count, height, width, *tail)).astype(np.uint8)
    sheet = np.asarray(pictures.grid(images, columns, scale, pad)).copy()
    rows = -(-count // columns)
    assert sheet.shape[:2] == (rows * (scale * height + pad) + pad, columns * (scale * width + pad) + pad)
    for index, image in enumerate(images):
        top, left = (index // columns) * (scale * height + pad) + pad, (index % columns) * (scale * width + pad) + pad
        tile = sheet[top : top + scale * height, left : left + scale * width]
        assert np.array_equal(tile[::scale, ::scale], image)
        assert np.array_equal(tile, np.kron(image, np.ones((scale, scale, *(1 for _ in tail)), np.uint8)))
        tile[:] = [240, 240, 240, 255][-tail[0] :] if tail == (4,) else 240
    # What is left is ground, light and opaque.
    assert (sheet[..., :3] == 240).all()
    assert tail != (4,) or (sheet[..., 3] == 255).all()


@pytest.mark.parametrize(
    ("count", "height", "width", "size"),
    [
        (64, 28, 28, (466, 466)),
        (10, 28, 28, (292, 118)),
        (64, 64, 64, (530, 530)),
        (1, 28, 28, (228, 228)),
        (400, 8, 8, (1162, 1162)),
        (7, 45, 33, (274, 186)),
        (4, 1000, 700, (1406, 2006)),
    ],
)
def test_sheets_are_of_a_size_to_be_looked_at(count, height, width, size):
    assert pictures.grid(np.zeros((count, height, width), np.uint8)).size == size


@pytest.mark.parametrize("count", range(1, 70))
def test_sheets_are_about_square(count):
    sheet = pictures.grid(np.zeros((count, 8, 8), np.uint8))
    assert count < 4 or 0.6 < sheet.width / sheet.height < 2.6


@pytest.mark.parametrize("arguments", [{"columns": 0}, {"scale": 0}, {"pad": -1}])
def test_a_grid_refuses_what_cannot_be_laid_out(arguments):
    with pytest.raises(ValueError, match="start"):
        pictures.grid(np.zeros((2, 8, 8), np.uint8), **arguments)


def test_a_grid_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no picture"):
        pictures.grid(np.zeros((0, 8, 8), np.uint8))


@pytest.mark.parametrize(("shape", "rows"), [((28, 28), 6), ((64, 64, 3), 11), ((1, 90), 3), ((8, 8, 4), 13)])
def test_labels_are_whole_distinct_and_beside_their_rows(shape, rows):
    names = ["x", *(f"z_{i}" for i in range(1, rows))][::-1]
    images = [np.full((3, *shape), 10, np.uint8)] * rows
    sheet = np.asarray(pictures.labelled_rows(images, names))
    grey = sheet if sheet.ndim == 2 else sheet[..., 0]
    # The pictures are darker than the ink.
    margin = (grey == 10).any(0).argmax()
    ink = grey[:, :margin] < 128
    assert not ink[:, 0].any()
    assert not ink[:, -1].any()
    assert not ink[0].any()
    assert not ink[-1].any()
    bands = [ink[round(len(ink) * i / rows) : round(len(ink) * (i + 1) / rows)] for i in range(rows)]
    assert all(band.any() for band in bands)
    assert len({np.packbits(band[:, band.any(0)]).tobytes() for band in bands}) == rows


# Files


def test_a_saved_picture_is_whole_repeatable_and_alone(tmp_path):
    image = pictures.grid(np.arange(256, dtype=np.uint8).reshape(4, 8, 8))
    path = tmp_path / "made" / "on the way" / "sheet.png"
    assert pictures.save(image, path) == path
    first = path.read_bytes()
    pictures.save(image, path)
    assert path.read_bytes() == first
    assert [p.name for p in path.parent.iterdir()] == ["sheet.png"]
    assert np.array_equal(pixels_of(path), np.asarray(image))


def test_a_picture_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OwaeError, match=r"sheet\.png could not be written"):
        pictures.save(Image.new("L", (2, 2)), tmp_path / "file" / "sheet.png")
