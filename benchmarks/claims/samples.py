"""Judges samples by two classifiers of different making, by pixels and by nearest training digits; plain and at equal sharpness.

A Fréchet distance of one classifier mostly measures blur here: a gain on the logits of the pixels, without any training, takes it from
473 to 23. So a second classifier is trained to ignore blur and contrast, and every set of samples is also judged after the gain that
makes it as rough as the training digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from claims.quality import SEED, Classifier, frechet, pixel_mmd, pixel_sliced, train_classifier
from owae_report.evaluation.look import matching_gain, roughness, with_gain

BROKEN = 0.5  # the classifier's highest probability below which a picture counts as no digit


@dataclass(frozen=True)
class Judge:
    """What samples are compared with.

    Attributes:
        train: Training digits, (n, 1, 28, 28) in [0, 1].
        held_out: Held-out digits.
        plain: A classifier of the training digits.
        hardened: One of training digits whose blur and contrast were changed at random, which it so learns to ignore.
        roughness: That of the training digits.
        nearest: The mean distance of held-out digits from the nearest training digit.
    """

    train: Tensor
    held_out: Tensor
    plain: Classifier
    hardened: Classifier
    roughness: float
    nearest: float

    @classmethod
    def of(cls, train: Tensor, labels: Tensor, held_out: Tensor) -> Judge:
        """Trains the two classifiers, always the same for the same digits."""
        hardened = train_classifier(*hard_copies(train, labels), epochs=4)
        nearest = float(nearest_distances(held_out, train).mean())
        return cls(train, held_out, train_classifier(train, labels), hardened, roughness(train), nearest)

    def scores(self, samples: Tensor) -> dict[str, float]:
        """Measures samples (n, 1, 28, 28) in [0, 1] as they are."""
        with torch.no_grad():
            sure = self.plain(samples).softmax(1).amax(1)
        return {
            "frechet": frechet(self.plain, samples, self.held_out),
            "hardened": frechet(self.hardened, samples, self.held_out),
            "mmd": pixel_mmd(samples, self.held_out),
            "sliced": pixel_sliced(samples, self.held_out),
            "roughness": roughness(samples),
            "nearest": float(nearest_distances(samples, self.train).mean()) / self.nearest,
            "broken": float((sure < BROKEN).float().mean()),
        }

    def judged(self, samples: Tensor) -> dict[str, float]:
        """Measures samples as they are, and, as `matched …` with the gain, where they are as rough as the training digits."""
        gain = matching_gain(samples, self.roughness)
        matched = self.scores(with_gain(samples, gain))
        return self.scores(samples) | {"gain": gain} | {f"matched {key}": value for key, value in matched.items()}

    def floor(self) -> dict[str, float]:
        """Judges training digits as if they were samples, as many as are held out."""
        rows = torch.linspace(0, len(self.train) - 1, len(self.held_out)).round().long()
        floor = self.scores(self.train[rows])
        rest = torch.ones(len(self.train), dtype=torch.bool)
        rest[rows] = False  # a training digit's nearest training digit would be itself
        floor["nearest"] = float(nearest_distances(self.train[rows], self.train[rest]).mean()) / self.nearest
        return floor


def hard_copies(x: Tensor, labels: Tensor, copies: int = 3) -> tuple[Tensor, Tensor]:
    """Returns copies of digits (n, 1, 28, 28), each mixed with its 3×3 blur and given a gain, both at random, and their labels."""
    generator = torch.Generator().manual_seed(SEED)
    kernel = torch.tensor([1.0, 2.0, 1.0])
    kernel = (kernel[:, None] * kernel / 16)[None, None]
    parts = []
    for _ in range(copies):
        share = torch.rand(len(x), 1, 1, 1, generator=generator)
        gain = (torch.rand(len(x), 1, 1, 1, generator=generator) * 2 - 1).mul(0.7).exp()
        blurred = torch.lerp(x, F.conv2d(x, kernel, padding=1), share)
        parts.append(torch.sigmoid(gain * torch.logit(blurred, eps=1e-3)))
    return torch.cat(parts), labels.repeat(copies)


def nearest_distances(x: Tensor, among: Tensor) -> Tensor:
    """Euclidean distances of pictures from the nearest of others, (n,)."""
    return torch.cat([torch.cdist(rows, among.flatten(1)).amin(1) for rows in x.flatten(1).split(500)])
