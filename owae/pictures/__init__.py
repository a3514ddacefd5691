"""Pictures of a stack and its data: PNG by Pillow, the same bytes for the same model and seed."""

from owae.pictures.choice import representative
from owae.pictures.load import load_images
from owae.pictures.sheet import drawable, grid, labelled_rows, save, to_pixels, write
from owae.pictures.views import (
    decode_plane,
    draw_layerwise,
    draw_samples,
    latent_grid,
    latent_plane,
    layerwise,
    reconstructions,
    samples,
)

__all__ = [
    "decode_plane",
    "draw_layerwise",
    "draw_samples",
    "drawable",
    "grid",
    "labelled_rows",
    "latent_grid",
    "latent_plane",
    "layerwise",
    "load_images",
    "reconstructions",
    "representative",
    "samples",
    "save",
    "to_pixels",
    "write",
]
