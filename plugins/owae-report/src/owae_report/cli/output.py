"""Where the figure commands write: pictures where the data are images, arrays where they are not; each path goes to stdout."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import typer
from PIL import Image
from torch import Tensor

from owae.interfaces import Shape
from owae_report.blocks import Block
from owae_report.codes.writers import SUFFIXES, check_suffix
from owae_report.codes.writers import write as write_columns
from owae_report.grids import png
from owae_report.pixels import drawable, to_pixels, write


def figure_path(run: Path, name: str, out: Path | None, shape: Shape) -> Path:
    """The file of a figure: RUN/figures/NAME.png, or what the user asked for; .npy, .npz or a table where examples cannot be drawn.

    Raises:
        typer.BadParameter: The user asked for another kind of file.
    """
    suffix = ".png" if drawable(shape) else ".npy"
    if out is None or out.is_dir():
        return (out or run / "figures") / f"{name}{suffix}"
    if suffix == ".npy" and out.suffix.lower() in SUFFIXES:
        check_suffix(out)
        return out
    if out.suffix.lower() not in {suffix, ".png"}:
        raise typer.BadParameter(f"{out} does not end in {suffix}, the kind of file that is written", param_hint="--out")
    return out if out.suffix.lower() == suffix else out.with_suffix(suffix)


def require_drawable(shape: Shape, option: str) -> None:
    """Refuse an option that only pictures can fulfil.

    Raises:
        typer.BadParameter: Examples of the shape cannot be drawn.
    """
    if not drawable(shape):
        raise typer.BadParameter(f"the run's data have shape {shape}, which are not images", param_hint=option)


def write_figure(path: Path, draw: Callable[[], Block], events: Tensor, layout: str) -> None:
    """Write a figure to the path from `figure_path`: the picture, or, with a note on stderr, the events themselves.

    Args:
        path: Where.
        draw: Makes what the picture shows.
        events: The array.
        layout: What the array's axes are, for the note.
    """
    if path.suffix.lower() != ".png":
        typer.echo(f"the data are not images, so an array is written instead of a picture: {layout}", err=True)
        write_array(path, events)
    else:
        typer.echo(write(path, png(draw())))


def write_array(path: Path, events: Tensor) -> None:
    """Write events as a .npy file, or as the column x of an .npz or a table, a row for each along their first axis."""
    if path.suffix.lower() in SUFFIXES:
        write_columns(path, [{"x": events.cpu().numpy()}], len(events))
        typer.echo(path)
        return
    buffer = io.BytesIO()
    np.save(buffer, events.cpu().numpy(), allow_pickle=False)
    typer.echo(write(path, buffer.getvalue()))


def write_separately(
    folder: Path,
    named: Iterable[tuple[str, Tensor]],
    value_range: tuple[float, float],
    shown: tuple[int, ...] | None = None,
) -> None:
    """Write events one by one, each a PNG of its own size, into a folder; the folder's path goes to stdout."""
    for name, event in named:
        buffer = io.BytesIO()
        Image.fromarray(to_pixels(event[None], value_range, shown)[0]).save(buffer, format="PNG")
        write(folder / f"{name}.png", buffer.getvalue())
    typer.echo(folder)
