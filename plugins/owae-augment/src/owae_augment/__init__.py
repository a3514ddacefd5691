"""Augmentation for owae: training examples changed at random by torchvision's transforms, and stacks that are trained on logits."""

from owae.hooks import hookimpl
from owae_augment.augment import Augment
from owae_augment.source import Augmented, augmented

__all__ = ["Augment", "Augmented", "augmented"]


@hookimpl
def owae_components() -> list[type]:
    return [Augment]
