"""The numbers of an evaluation, against sums done by hand on stacks whose behaviour is known."""

from __future__ import annotations

import json
import math

import pytest
import torch

from owae.data.sources import TensorSource
from owae.distributions import Dirac, Gaussian
from owae.errors import DataError, TrainingError
from owae.interfaces import Divergence, LatentLayer
from owae.model.defaults import Ancestral
from owae.model.stack import Stack
from owae_report.evaluation.neighbours import Neighbours
from owae_report.evaluation.scores import MOST_MATCHED, evaluate


class Keep(LatentLayer):
    """Keeps the first coordinates and forgets the rest: what each level costs is known."""

    name = "keep"

    def __init__(self, in_shape, latent, variance, /):
        super().__init__()
        self.in_shape, self.latent_shape, self.variance = tuple(in_shape), (latent,), variance
        self.linear = torch.nn.Linear(1, 1)

    def encode(self, x):
        mean = x.flatten(1)[:, : self.latent_shape[0]]
        return Gaussian(mean, torch.full_like(mean, self.variance))

    def decode(self, z):
        padded = z.new_zeros(len(z), torch.Size(self.in_shape).numel())
        padded[:, : z.shape[1]] = z
        return Dirac(padded.view(-1, *self.in_shape))


class Recorder(Divergence):
    """The distance of the means; remembers what it was asked."""

    name = "recorder"

    def __init__(self):
        super().__init__()
        self.asked = []

    def forward(self, x, y):
        return (x.mean(0) - y.mean(0)).norm()

    def to_prior(self, x, prior):
        self.asked.append((x, prior, self.training, torch.is_grad_enabled()))
        return super().to_prior(x, prior)

    def describe(self, shape):
        return {"divergence": self.name, "dimension": float(shape[0]), "scale": float("nan")}


def stack_of(*dimensions: int, shape=(1, 4, 4), variance=0.25, stacked=None) -> Stack:
    layers = []
    for dimension in dimensions:
        layers.append(Keep(shape, dimension, variance))
        shape = (dimension,)
    k = len(layers) if stacked is None else stacked
    return Stack(layers, divergence=Recorder(), weights=[1.0] * k, matched_level=stacked)


def data(n: int, classes: int | None = 3, seed: int = 0, shape=(1, 4, 4)) -> TensorSource:
    generator = torch.Generator().manual_seed(seed)
    labels = None if classes is None else torch.randint(classes, (n,), generator=generator)
    return TensorSource(torch.rand(n, *shape, generator=generator), labels)


def test_errors_spreads_and_variances_are_those_of_the_whole_set():
    test = data(41)
    found = evaluate(stack_of(9, 2, variance=0.25), data(30), test, batch_size=7)
    x = test.examples.flatten(1)
    for level, kept in zip(found.levels, (9, 2), strict=True):
        assert level.error == pytest.approx(x[:, kept:].square().sum(1).mean().item(), rel=1e-5)
        assert level.shape == (kept,)
        assert level.variance == pytest.approx(0.25, rel=1e-6)
    quiet = evaluate(stack_of(9, 2, variance=1e-12), data(30), test, batch_size=7)
    for level, kept in zip(quiet.levels, (9, 2), strict=True):
        assert level.spread == pytest.approx(x[:, :kept].std(0, correction=0).mean().item(), rel=1e-4)
    # Draws, not means: two levels of noise add up.
    wide = evaluate(stack_of(9, 2, variance=100.0), data(30), data(3000), batch_size=700)
    assert wide.levels[0].spread == pytest.approx(100**0.5, rel=0.05)
    assert wide.levels[1].spread == pytest.approx(200**0.5, rel=0.05)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_a_small_spread_far_from_zero_is_measured(offset):
    test = TensorSource(torch.randn(900, 4) * 0.01 + offset)
    found = evaluate(stack_of(2, shape=(4,), variance=1e-12), test, test, batch_size=100)
    assert found.levels[0].spread == pytest.approx(test.examples[:, :2].std(0, correction=0).mean().item(), rel=0.02)


@pytest.mark.parametrize("batch_size", [1, 13, 1000])
def test_batches_do_not_matter(batch_size):
    """Neither to what is computed from means, nor to what is drawn: spread and divergence."""
    whole = evaluate(stack_of(9, 2), data(60), data(133, seed=1), batch_size=250)
    parts = evaluate(stack_of(9, 2), data(60), data(133, seed=1), batch_size=batch_size)
    for one, other in zip(whole.levels, parts.levels, strict=True):
        assert one.error == pytest.approx(other.error, rel=1e-5)
        assert (one.accuracy, one.spread, one.variance) == (other.accuracy, other.spread, other.variance)
    assert whole.matching is not None
    assert parts.matching is not None
    assert whole.matching.value == parts.matching.value


def voted(train, train_labels, test, k):
    """By the book: the most frequent label of the k nearest, the smallest of several."""
    distances = torch.cdist(test.double().flatten(1), train.double().flatten(1))
    found = []
    for row in distances:
        labels = train_labels[row.argsort(stable=True)[:k]].tolist()
        found.append(min(set(labels), key=lambda label: (-labels.count(label), label)))
    return torch.tensor(found)


@pytest.mark.parametrize(
    ("shape", "k", "offset"),
    [((1,), 1, 0.0), ((2,), 2, 1000.0), ((16,), 10, 0.0), ((2, 3, 5), 10, 1000.0), ((2, 3, 5), 1, 0.0), ((1,), 10, 1000.0)],
)
def test_neighbours_vote_by_the_book_however_they_come(shape, k, offset):
    generator = torch.Generator().manual_seed(k)
    train = torch.randn(500, *shape, generator=generator) + offset
    test = torch.randn(1200, *shape, generator=generator) + offset
    labels = torch.randint(-2, 4, (500,), generator=generator)
    expected = voted(train, labels, test, k)
    for chunk in (3, 500):
        neighbours = Neighbours(test, k)
        for codes, part in zip(train.split(chunk), labels.split(chunk), strict=True):
            neighbours.add(codes, part)
        # Far from 0 float32 itself moves the points a little.
        assert (neighbours.vote() == expected).float().mean() > 0.995


def test_fewer_codes_than_voters_all_vote():
    neighbours = Neighbours(torch.zeros(1, 2), 10)
    neighbours.add(torch.rand(3, 2), torch.tensor([4, 7, 7]))
    assert neighbours.vote().tolist() == [7]


def test_of_equal_votes_the_smallest_label_wins():
    neighbours = Neighbours(torch.zeros(1, 2), 4)
    neighbours.add(torch.rand(4, 2), torch.tensor([9, 3, 3, 9]))
    assert neighbours.vote().tolist() == [3]


def test_voting_needs_voters():
    with pytest.raises(ValueError, match="k is 0"):
        Neighbours(torch.zeros(1, 2), 0)
    with pytest.raises(ValueError, match="none can vote"):
        Neighbours(torch.zeros(1, 2), 3).vote()


def test_accuracy_is_that_of_encoder_means_against_training_codes():
    train, test = data(200), data(90, seed=1)
    found = evaluate(stack_of(9, 2, variance=50.0), train, test, neighbours=5)
    assert train.labels is not None
    for level, kept in zip(found.levels, (9, 2), strict=True):
        expected = voted(train.examples.flatten(1)[:, :kept], train.labels, test.examples.flatten(1)[:, :kept], 5)
        assert level.accuracy == (expected == test.labels).sum().item() / 90
    assert (found.train, found.test, found.neighbours) == (200, 90, 5)


@pytest.mark.parametrize(("train", "test"), [(None, 3), (3, None), (None, None)])
def test_without_labels_there_is_no_accuracy(train, test):
    found = evaluate(stack_of(9, 2), data(20, train), data(10, test))
    assert [level.accuracy for level in found.levels] == [None, None]


def test_examples_without_a_label_neither_vote_nor_count():
    """−1 is no class."""
    train, test = data(60), data(30, seed=1)
    whole = evaluate(stack_of(9, 2), train, test, neighbours=3)
    stray = data(40, seed=2)
    assert train.labels is not None
    assert test.labels is not None
    more = TensorSource(torch.cat([train.examples, stray.examples]), torch.cat([train.labels, torch.full((40,), -1)]))
    asked = TensorSource(torch.cat([test.examples, stray.examples]), torch.cat([test.labels, torch.full((40,), -1)]))
    found = evaluate(stack_of(9, 2), more, asked, neighbours=3)
    assert [level.accuracy for level in found.levels] == [level.accuracy for level in whole.levels]
    none = TensorSource(test.examples, torch.full((30,), -1))
    assert [level.accuracy for level in evaluate(stack_of(9, 2), none, none).levels] == [None, None]


def test_bytes_are_mapped_onto_the_range():
    examples = torch.randint(256, (20, 1, 4, 4), dtype=torch.uint8)
    as_bytes = evaluate(stack_of(9), TensorSource(examples), TensorSource(examples))
    as_floats = evaluate(stack_of(9), TensorSource(examples / 255), TensorSource(examples / 255))
    assert as_bytes.levels[0].error == pytest.approx(as_floats.levels[0].error, rel=1e-5)


def test_the_divergence_is_of_held_out_draws_at_the_matched_level():
    stack = stack_of(9, 2, variance=25.0)
    assert isinstance(stack.divergence, Recorder)
    found = evaluate(stack, data(5), data(3000, seed=1), batch_size=700)
    (codes, prior, training, gradients) = stack.divergence.asked[0]
    assert codes.shape == (MOST_MATCHED, 2)
    assert codes.std(0).mean() == pytest.approx(50**0.5, rel=0.1)
    assert prior is stack.prior
    assert not training
    assert not gradients
    assert found.matching is not None
    assert (found.matching.level, found.matching.n) == (2, MOST_MATCHED)
    assert found.matching.value > 0
    assert found.matching.description["dimension"] == 2


def test_a_stack_that_stops_early_is_matched_there_with_the_ancestral_prior():
    stack = stack_of(9, 2, stacked=1)
    assert isinstance(stack.divergence, Recorder)
    found = evaluate(stack, data(5), data(20, seed=1))
    assert stack.divergence.asked[0][0].shape == (20, 9)
    assert isinstance(stack.divergence.asked[0][1], Ancestral)
    assert found.matching is not None
    assert (found.stacked, found.matching.level, len(found.levels)) == (1, 1, 2)


@pytest.mark.parametrize("training", [True, False])
def test_evaluating_leaves_no_trace(training):
    stack = stack_of(9, 2).train(training)
    generator = torch.get_rng_state()
    first = evaluate(stack, data(20), data(10))
    assert torch.equal(torch.get_rng_state(), generator)
    assert {module.training for module in stack.modules()} == {training}
    torch.rand(3)
    assert evaluate(stack, data(20), data(10)).levels == first.levels
    assert evaluate(stack, data(20), data(10), seed=1).levels != first.levels


def test_one_example_is_enough_for_all_but_the_divergence():
    found = evaluate(stack_of(9, 2), data(20), data(1))
    assert found.matching is None
    assert found.levels[0].error > 0
    assert math.isnan(found.levels[0].spread)  # one code has none


def test_none_is_refused():
    source = data(3)
    source.examples = source.examples[:0]
    with pytest.raises(DataError, match="empty"):
        evaluate(stack_of(9), data(3), source)


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"neighbours": 0}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(ValueError, match="start at 1"):
        evaluate(stack_of(9), data(3), data(3), **arguments)


def test_codes_beyond_comparison_are_the_runs_fault():
    test = TensorSource(torch.full((5, 1, 4, 4), 1e20))
    with pytest.raises(TrainingError, match="z_2 cannot be compared"):
        evaluate(stack_of(9, 2), data(3, None), test)


def test_the_record_is_json():
    found = evaluate(stack_of(9, 2), data(20), data(10))
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["levels"] == found.rows()
    assert read["levels"][1]["shape"] == [2]
    assert read["matching"]["n"] == 10
    assert read["matching"]["description"]["scale"] is None
