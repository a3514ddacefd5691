"""Data sources for owae: what ships with a library, what a user has, what is downloaded."""

from __future__ import annotations

from owae.hooks import hookimpl
from owae_data.arrays import Arrays
from owae_data.celeba import CelebA
from owae_data.image_folder import ImageFolder
from owae_data.mnist import Mnist
from owae_data.shards.source import Shards
from owae_data.shipped import Digits, Mnist5k
from owae_data.svhn import Svhn
from owae_data.tables.hub import Hub
from owae_data.tables.source import Table
from owae_data.vision.source import Torchvision


@hookimpl
def owae_components() -> list[type]:
    return [Arrays, CelebA, Digits, Hub, ImageFolder, Mnist, Mnist5k, Shards, Svhn, Table, Torchvision]
