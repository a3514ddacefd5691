"""Where pictures and points stand in a figure, and that the PNG holds the values it was given."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from owae_report.blocks import Block, samples, square_rows
from owae_report.embeddings import Projection
from owae_report.grids import picture_grid, png
from owae_report.scatter import Panel, _apart, scatter
from owae_report.style import DPI, PAGE, PAGE_HEIGHT, colours, rendered, styled


def pictures_of(count: int, *shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 250, (count, *shape), dtype=np.uint8)


def drawn(blocks: list[Block], down: bool = False) -> np.ndarray:
    with styled():
        return read(rendered(picture_grid(blocks, down=down), "png"))


def read(content: bytes) -> np.ndarray:
    """The pixels of a PNG, in RGBA."""
    with Image.open(io.BytesIO(content)) as image:
        assert image.info["dpi"] == pytest.approx((DPI, DPI), abs=0.1)
        return np.asarray(image.convert("RGBA"))


def found(grid: np.ndarray, picture: np.ndarray, scale: int) -> list[tuple[int, int]]:
    """The places at which a grey or RGB picture, each pixel `scale` times as large, stands in a grid."""
    colour = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    large = colour.repeat(scale, axis=0).repeat(scale, axis=1)
    height, width = large.shape[:2]
    starts = np.argwhere((grid[: grid.shape[0] - height + 1, : grid.shape[1] - width + 1, :3] == large[0, 0]).all(-1))
    return [(y, x) for y, x in starts.tolist() if np.array_equal(grid[y : y + height, x : x + width, :3], large)]


@pytest.mark.parametrize(
    ("shape", "scale"), [((8, 8), 13), ((28, 28), 4), ((32, 32, 3), 3), ((45, 33, 3), 2), ((64, 64, 3), 2), ((9, 31), 3)]
)
def test_every_pixel_is_drawn_as_it_is_and_in_its_place(shape: tuple[int, ...], scale: int):
    images = pictures_of(6, *shape)
    block = Block([images[:3], images[3:]], labels=["$z_1$", "$x$"], title="a_title$", breaks=frozenset({1}))
    drawing = drawn([block])
    places = [found(drawing, image, scale) for image in images]
    assert [len(each) for each in places] == [1] * 6
    rows = np.array([each[0] for each in places]).reshape(2, 3, 2)
    assert (rows[:, :, 0] == rows[:, :1, 0]).all()
    assert (rows[:, :, 1] == rows[:1, :, 1]).all()
    across = np.diff(rows[0, :, 1])
    assert across[0] > across[1] == shape[1] * scale + 4


def test_rows_of_two_depths_stand_level_at_the_bottom():
    deep, shallow = pictures_of(12, 8, 8), pictures_of(6, 8, 8, seed=1)
    blocks = [Block([deep[i : i + 2] for i in range(0, 12, 2)]), Block([shallow[i : i + 2] for i in range(0, 6, 2)])]
    drawing = drawn(blocks)
    (left,), (right,) = found(drawing, deep[-1], 13), found(drawing, shallow[-1], 13)
    assert left[0] == right[0]
    assert left[1] < right[1]


def test_blocks_can_stand_one_under_the_other():
    first, second = pictures_of(2, 8, 8), pictures_of(2, 8, 8, seed=1)
    drawing = drawn([Block([first]), Block([second])], down=True)
    (upper,), (lower,) = found(drawing, first[0], 13), found(drawing, second[0], 13)
    assert upper[1] == lower[1]
    assert upper[0] + 8 * 13 < lower[0]


@pytest.mark.parametrize(
    ("shape", "down"),
    [((8, 8), False), pytest.param((300, 200, 3), True, marks=pytest.mark.slow), ((2, 90), False), ((90, 2), True), ((1, 1), True)],
)
def test_everything_fits_a_page(shape: tuple[int, ...], down: bool):
    blocks = [Block([pictures_of(20, *shape)] * 12, labels=["$z_{10}$"] * 12, title="t", below="b") for _ in range(2)]
    height, width = drawn(blocks, down).shape[:2]
    assert width <= PAGE * DPI + 1
    assert height <= PAGE_HEIGHT * DPI + 1


@pytest.mark.slow
@pytest.mark.parametrize(("count", "shape"), [(1600, (64, 64, 3)), (4, (1500, 900))])
def test_no_picture_of_a_png_is_made_smaller_than_it_is(count: int, shape: tuple[int, ...]):
    images = pictures_of(count, *shape)
    rows = square_rows(images)
    drawing = read(png(Block(rows)))
    assert max(drawing.shape[0] / PAGE_HEIGHT, drawing.shape[1] / PAGE) > DPI
    columns, (height, width) = len(rows[0]), shape[:2]
    for index in (0, columns - 1, count // 2, count - 1):
        top, left = 6 + index // columns * (height + 4), 6 + index % columns * (width + 4)
        (place,) = found(drawing[top : top + height, left : left + width], images[index], 1)
        assert place == (0, 0)


def test_the_last_row_may_be_short_and_its_rest_is_white():
    images = pictures_of(3, 8, 8)
    drawing = drawn([Block([images[:2], images[2:]])])
    (y, x), (_, right) = found(drawing, images[2], 13)[0], found(drawing, images[1], 13)[0]
    assert x < right
    assert (drawing[y : y + 104, right : right + 104, :3] == 255).all()


@pytest.mark.parametrize(("count", "rows"), [(64, 8), (1, 1), (2, 1), (12, 3), (7, 3)])
def test_samples_are_laid_out_about_square(count: int, rows: int):
    laid = square_rows(pictures_of(count, 8, 8))
    assert len(laid) == rows
    assert sum(map(len, laid)) == count


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="no picture"):
        picture_grid([Block([])])
    with pytest.raises(ValueError, match="no panel"):
        scatter([])


@pytest.mark.parametrize(
    ("classes", "panels"), [(0, 1), *(pytest.param(*each, marks=pytest.mark.slow) for each in [(1, 1), (10, 2), (25, 1), (60, 7)])]
)
def test_points_are_drawn_for_any_number_of_classes_and_levels(classes: int, panels: int):
    generator = np.random.default_rng(0)
    points = generator.normal(size=(120, 2))
    labels = np.arange(120) % classes if classes else None
    with styled(), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = scatter([Panel(Projection(points, 0.5), labels, f"$z_{i}$", "50% of variance") for i in range(panels)])
        width, height = figure.get_size_inches()
        assert width <= PAGE + 1e-6
        assert height <= PAGE_HEIGHT
        content = rendered(figure, "png")
        texts = [text.get_text() for axes in figure.axes for text in axes.texts]
        names = sorted({int(each) for each in texts})
        assert names == (list(range(classes)) if classes <= 20 else [])
        legend = [text.get_text() for each in figure.legends for text in each.get_texts()]
        assert sorted(map(int, legend)) == (list(range(classes)) if classes <= 40 else [])
    with Image.open(io.BytesIO(content)) as image:
        assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 10 * max(1, min(classes, 10))


@pytest.mark.parametrize("axes", [None, ("$z_5[0]$", "$z_5[1]$")])
def test_names_of_classes_stay_within_their_panel_and_those_of_axes_within_the_figure(axes: tuple[str, str] | None):
    generator = np.random.default_rng(0)
    clouds = [0.01 * generator.normal(size=(20, 2)) + middle for middle in ((-0.3, -0.3), (0.3, 0.3), (-0.3, 0.3))]
    labels = np.repeat(np.arange(3), 20)
    panel = Panel(Projection(np.concatenate(clouds), 0.5), labels, axes=axes, names=["three cornered", "disc", "a square"])
    with styled():
        figure = scatter([panel] * (1 if axes else 5))
        figure.draw_without_rendering()
        for each in figure.axes:
            inside = each.get_window_extent()
            for text in each.texts:
                name = text.get_window_extent()
                assert inside.x0 <= name.x0, text
                assert name.x1 <= inside.x1, text
            assert (each.get_tightbbox() or inside).x0 >= 0


def test_classes_are_called_by_their_names_and_what_has_none_by_that():
    points = np.random.default_rng(0).normal(size=(40, 2))
    labels = np.arange(40) % 4 - 1
    names = ("1", "10", "$2$ and a name longer than a legend takes")
    with styled(), warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = scatter([Panel(Projection(points), labels, names=names), Panel(Projection(points), labels)])
        rendered(figure, "png")
        (legend,) = figure.legends
        shown = [text.get_text() for text in legend.get_texts()]
        # One panel has names and the other has not.
        assert sorted(shown) == sorted(["0", "1", "10", "2", "$2$ and a name longer t…", "no class"])
        assert {text.get_text() for text in figure.axes[0].texts} == {"1", "10", "$2$ and a name longer t…"}
        assert {text.get_text() for text in figure.axes[1].texts} == {"0", "1", "2"}
        none = scatter([Panel(Projection(points), np.full(40, -1), names=names)])
        assert not none.legends


def test_names_that_would_hide_each_other_stand_in_the_legend_alone():
    points, labels = np.random.default_rng(0).normal(size=(40, 2)), np.arange(40) % 8
    panel = Panel(Projection(points), labels, names=[f"garment {i}" for i in range(8)])
    with styled():
        narrow, wide = scatter([panel] * 5), scatter([panel])
    assert [len(axes.texts) for axes in narrow.axes] == [0] * 5
    assert len(wide.axes[0].texts) == 8
    assert len(narrow.legends[0].get_texts()) == 8


@pytest.mark.parametrize("points", [np.zeros((20, 2)), np.zeros((20, 1)), np.zeros((1, 2)), np.arange(9.0)[:, None]])
def test_clouds_without_extent_are_drawn(points: np.ndarray):
    with styled(), warnings.catch_warnings():
        warnings.simplefilter("error")
        for axes in (None, ("$z_1[0]$", "")):
            assert rendered(scatter([Panel(Projection(points), None, axes=axes)]), "pdf").startswith(b"%PDF")


def test_panels_whose_coordinates_mean_something_share_them():
    wide, narrow = np.array([[-4.0, 1.0], [1.0, 2.0]]), np.array([[0.1, 0.2], [0.3, 0.1]])
    with styled():
        figure = scatter([Panel(Projection(each), None, axes=("a", "b")) for each in (wide, narrow)])
        limits = {(*axes.get_xlim(), *axes.get_ylim()) for axes in figure.axes}
    assert len(limits) == 1
    assert limits.pop()[1] > 4


@pytest.mark.parametrize("count", [1, 10, 11, 50])
def test_colours_differ(count: int):
    assert len(np.unique(colours(count).round(4), axis=0)) == count


def test_the_users_own_settings_neither_count_nor_change():
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 31.0, "savefig.bbox": "tight"}):
        with styled():
            assert mpl.rcParams["savefig.bbox"] is None
        assert mpl.rcParams["font.size"] == 31.0


def test_long_names_that_begin_alike_are_told_apart():
    names = [f"Passer domesticus, {kind} of the year" for kind in ("female", "male", "young")]
    panel = Panel(Projection(np.eye(3, 2), 0.5), np.arange(3), names=names)
    assert len({panel.name(i) for i in range(3)}) == 3
    assert max(len(panel.name(i)) for i in range(3)) <= 24
    with styled():
        figure = scatter([panel])
    assert len(figure.legends[0].get_texts()) == 3


def test_very_wide_pictures_are_drawn_so_large_that_they_are_seen():
    with styled():
        wide, square = (picture_grid([samples(np.zeros((4, *shape), np.uint8))], on_page=True) for shape in ((8, 200), (28, 28)))
    assert wide.get_figwidth() > 2, "0.67 inches a picture before"
    assert square.get_figwidth() < 1


def test_names_in_a_panel_do_not_lie_on_each_other():
    places = _apart([(0.5, 0.5), (0.52, 0.5), (0.5, 0.51), (0.9, 0.5)], [0.2, 0.2, 0.2, 0.05], 0.05)
    down = sorted(y for _, y in places[:3])
    assert min(np.diff(down)) > 0.049
    assert places[3] == (0.9, 0.5)


def test_classes_of_two_runs_that_number_others_stay_together():
    one = Panel(Projection(np.eye(3, 2), 0.5), np.arange(3), "one", names=("a", "b", "c"))
    other = Panel(Projection(np.eye(3, 2), 0.5), np.arange(3), "other")
    with styled():
        listed = [text.get_text() for text in scatter([one, other]).legends[0].get_texts()]
    assert "".join(listed) in ("abc012", "a0b1c2"), "by rows, or column by column"


def test_a_text_beside_low_rows_stands_below_them():
    low = Block([np.zeros((2, 1, 30), np.uint8)], below="z[0]", beside="a long text about z[1]")
    high = Block([np.zeros((2, 60, 30), np.uint8)] * 4, below="z[0]", beside="z[1]")
    with styled():
        texts = [[text.get_text() for text in picture_grid([block]).axes[0].texts] for block in (low, high)]
    assert texts == [["z[0], a long text about z[1] upwards"], ["z[1]", "z[0]"]]
