"""Measures codes: a linear probe, the intrinsic dimension, active coordinates, and the codes of simpler encoders to compare with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from owae_report.evaluation.neighbours import votes
from owae_report.words import counted

MOST_PROBED = 5000  # training examples that a probe is fitted to
MOST_TWONN = 2000
ACTIVE = 0.01  # share of a coordinate's variance that its mean must carry to be called active


@dataclass(frozen=True)
class Labelled:
    """Codes (n, d) of labelled examples, and held-out ones."""

    codes: Float[Tensor, "n d"]
    labels: Int[Tensor, " n"]
    test_codes: Float[Tensor, "m d"]
    test_labels: Int[Tensor, " m"]


def probe(data: Labelled) -> float:
    """Fits a logistic regression to standardised codes, and returns its accuracy on held-out ones; scikit-learn's.

    Raises:
        ValueError: There is one class alone.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted.fit(data.codes.double().numpy(), data.labels.numpy())
    return float(fitted.score(data.test_codes.double().numpy(), data.test_labels.numpy()))


def neighbour_accuracy(data: Labelled, k: int) -> float:
    """Returns the share of held-out codes whose k nearest training codes vote for their label."""
    return float((votes(data.codes, data.labels, data.test_codes, k) == data.test_labels).float().mean())


def intrinsic_dimension(codes: Float[Tensor, "n d"]) -> float:
    """Estimates the dimension by the ratio of distances to the two nearest neighbours (TwoNN, Facco et al. 2017); scikit-dimension's.

    Raises:
        ValueError: Fewer than 20 codes differ.
    """
    distinct = codes.double().unique(dim=0)
    if codes.shape[1] == 1:
        distinct = torch.nn.functional.pad(distinct, (0, 1))  # scikit-dimension takes no numbers alone; distances stay
    if len(distinct) < 20:
        raise ValueError(f"found {counted(len(distinct), 'different code')}; TwoNN needs at least 20")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from skdim.id import TwoNN

        generator = np.random.default_rng(0)
        chosen = np.sort(generator.permutation(len(distinct))[:MOST_TWONN])
        return float(TwoNN().fit(distinct.numpy()[chosen]).dimension_)


def active_share(means: Float[Tensor, "n d"], variances: Float[Tensor, " d"]) -> float:
    """Returns the share of coordinates whose encoder means vary with the data.

    A coordinate is active where the variance of its mean is over 1% of its whole variance (that plus the mean encoder variance), and over
    1e-6 of the most varied coordinate's: Burda et al. 2016's rule, freed of the scale, which levels below the top may have.

    Args:
        means: The encoder's means of n examples.
        variances: The encoder's variance, mean over the examples.

    Raises:
        ValueError: There are fewer than two examples, so nothing can vary.
    """
    if len(means) < 2:
        raise ValueError(f"found {counted(len(means), 'code')}; whether coordinates vary takes at least 2")
    between = means.double().var(0, correction=0)
    whole = between + variances.double()
    return float(((between > ACTIVE * whole) & (between > 1e-6 * between.max())).float().mean())


def baselines(
    train: Float[Tensor, "n D"],
    test: Float[Tensor, "m D"],
    dimensions: Mapping[int, int],
    labels: tuple[Tensor, Tensor] | None,
    k: int,
) -> dict[int, dict[str, dict[str, float]]]:
    """Measures PCA and a random projection of the data to as many dimensions as each level has.

    Args:
        train: Flat training examples.
        test: Held-out ones.
        dimensions: By level, how many numbers its code holds.
        labels: Of both, below 0 where an example has none, or None.
        k: Neighbours that vote.

    Returns:
        By level and then "pca" or "random": `error` (squared, summed over an example, after the best linear decoding), and with labels
        `accuracy` and `probe`. Nothing for levels of more numbers than there are examples, or than an example has.
    """
    from sklearn.decomposition import PCA

    limit = min(len(train), train.shape[1])
    most = max((d for d in dimensions.values() if d <= limit), default=0)
    if not most:
        return {}
    numbers = train.double().numpy()
    with np.errstate(invalid="ignore", divide="ignore"):  # data that do not vary have no shares of variance
        fitted = PCA(most, random_state=0).fit(numbers)
    centre = torch.from_numpy(fitted.mean_).float()
    components = torch.from_numpy(fitted.components_).float().T
    generator = torch.Generator().manual_seed(0)
    found: dict[int, dict[str, dict[str, float]]] = {}
    for level, d in dimensions.items():
        if d > limit:
            continue
        directions = torch.randn(train.shape[1], d, generator=generator) / train.shape[1] ** 0.5
        found[level] = {}
        for name, basis in (("pca", components[:, :d]), ("random", directions)):
            codes, test_codes = (train - centre) @ basis, (test - centre) @ basis
            decoder = torch.linalg.lstsq(codes.double(), (train - centre).double(), driver="gelsd").solution
            error = ((test - centre).double() - test_codes.double() @ decoder).square().sum(1).mean()
            found[level][name] = {"error": float(error)}
            if labels is not None:
                known, test_known = (each >= 0 for each in labels)
                data = Labelled(codes[known], labels[0][known], test_codes[test_known], labels[1][test_known])
                found[level][name] |= {"accuracy": neighbour_accuracy(data, k), "probe": probe(data)}
    return found
