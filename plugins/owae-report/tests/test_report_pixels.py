"""Every byte of an event is a pixel's, and files are written whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from owae.errors import OwaeError
from owae_report.pixels import channels, drawable, to_pixels, write

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
        ((2, 16, 16), True),
        ((5, 8, 8), True),
        ((3, 0, 8), False),
        ((3, 8, 8, 8), False),
        ((), False),
    ],
)
def test_images_are_told_from_other_events(shape, answer):
    assert drawable(shape) is answer
    if answer:
        assert to_pixels(torch.zeros(2, *shape), (0.0, 1.0)).shape[:1] == (2,)
    else:
        with pytest.raises(ValueError, match="cannot be drawn"):
            to_pixels(torch.zeros(2, *shape), (0.0, 1.0))


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.4242, 2.8215), (1e-3, 2e-3)])
def test_bytes_come_back_as_they_were(value_range):
    low, high = value_range
    values = torch.arange(256, dtype=torch.uint8).view(1, 16, 16)
    batch = values.float() * ((high - low) / 255) + low
    assert np.array_equal(to_pixels(batch, value_range)[0], values[0].numpy())


def test_channels_that_are_no_colours_are_shown_as_asked():
    batch = torch.arange(5.0).view(1, 5, 1, 1).expand(2, 5, 3, 3) * 51
    assert to_pixels(batch, (0, 255))[0, 0, 0].tolist() == [0, 51, 102]
    assert to_pixels(batch, (0, 255), channels((5, 3, 3), asked="4, 0"))[0, 0, 0].tolist() == [204, 0, 0]
    assert to_pixels(batch, (0, 255), channels((5, 3, 3), asked="3")).tolist() == np.full((2, 3, 3), 153).tolist()
    assert to_pixels(batch[:, :2], (0, 255))[0, 0, 0].tolist() == [0, 51, 0]
    for shape, asked in (((5, 3, 3), "5"), ((5, 3, 3), "0,1,2,3"), ((5, 3, 3), "red"), ((3, 3), "0")):
        with pytest.raises(OwaeError, match="cannot be shown"):
            channels(shape, asked=asked)


def test_values_are_rounded_half_up_and_clipped():
    batch = torch.tensor([[[0.49 / 255, 0.5 / 255, 2.5 / 255, -3.0, 7.0, torch.nan, torch.inf, -torch.inf]]])
    assert to_pixels(batch, (0.0, 1.0)).tolist() == [[[0, 1, 3, 0, 255, 0, 255, 0]]]


@pytest.mark.parametrize("value_range", [(1.0, 1.0), (1.0, 0.0), (0.0, torch.nan)])
def test_an_empty_range_is_refused(value_range):
    with pytest.raises(ValueError, match="value_range"):
        to_pixels(torch.zeros(1, 8, 8), value_range)


def test_colours_stand_last():
    batch = torch.zeros(1, 3, 4, 5)
    batch[:, 1] = 1
    assert np.array_equal(to_pixels(batch, (0.0, 1.0)), np.broadcast_to(np.array([0, 255, 0], np.uint8), (1, 4, 5, 3)))


# Files


def test_a_file_is_written_whole_and_alone(tmp_path):
    path = tmp_path / "made" / "on the way" / "grid.png"
    assert write(path, b"first") == path
    write(path, b"second")
    assert path.read_bytes() == b"second"
    assert [p.name for p in path.parent.iterdir()] == ["grid.png"]


def test_a_file_that_cannot_be_written_says_where(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OwaeError, match=r"grid\.png could not be written"):
        write(tmp_path / "file" / "grid.png", b"")
