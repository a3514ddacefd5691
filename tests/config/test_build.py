"""Building follows shapes upward, tells what does not fit by its place, and depends on nothing but the config's seed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from faulty import COMPONENTS, Dense, Uniform
from torch import Tensor

from owae import Config, Registry
from owae.config.build import Built, build, build_stack
from owae.errors import ConfigError, DataError
from owae.hooks import hookimpl
from owae.interfaces import Component


@pytest.fixture(scope="module")
def registry() -> Registry:
    class Plugin:
        @hookimpl
        def owae_components(self) -> list[type[Component]]:
            return COMPONENTS

    registry = Registry()
    registry.register(Plugin(), name="toys", distribution="owae-toys")
    assert not registry.failures
    return registry


@pytest.fixture
def config(registry: Registry):
    """Makes a config of three levels, 5-3-2, with some sections replaced."""

    def made(*levels: dict[str, Any], **sections: Any) -> Config:
        values: dict[str, Any] = {
            "data": {"kind": "zeros"},
            "levels": list(levels) or [{"layer": {"kind": "dense", "latent": latent}} for latent in (5, 3, 2)],
            "weights": {"reconstruction": {"rule": "power", "base": 0.1, "per_dimension": True}, "match": 0.5},
            "divergence": {"kind": "moments"},
        }
        return Config.from_dict(values | sections, registry, source="some.toml")

    return made


def dense(latent: int, **options: Any) -> dict[str, Any]:
    return {"layer": {"kind": "dense", "latent": latent, **options}}


def told(config: Config, registry: Registry) -> dict[str, str]:
    with pytest.raises(ConfigError, match=r"some\.toml") as caught:
        build(config, registry)
    return {problem.place: problem.message for problem in caught.value.problems}


def test_a_stack_is_what_its_config_says(config, registry: Registry) -> None:
    levels = [dense(5), {**dense(3), "cost": {"kind": "choosy"}}, {**dense(2), "space": "data"}]
    made = build(config(*levels, cost={"kind": "euclidean"}, prior={"kind": "uniform"}, regulariser={"kind": "spread"}), registry)
    stack = made.stack
    made_levels: list[Any] = list(stack.levels)
    assert isinstance(made, Built)
    assert [layer.in_shape for layer in stack.layers] == [(1, 4, 4), (5,), (3,)]
    assert [layer.latent_shape for layer in stack.layers] == [(5,), (3,), (2,)]
    assert [level.cost.name for level in made_levels] == ["euclidean", "choosy", "euclidean"]
    assert [level.space for level in made_levels] == ["latent", "latent", "data"]
    assert stack.weights == pytest.approx((1, 0.1 / 5, 0.01 / 3, 0.5))
    assert isinstance(stack.prior, Uniform)
    assert stack.prior.shape == (2,)
    assert stack.training
    assert all(layer.training for layer in stack.layers)
    assert (len(made.train), made.test.shape) == (4, (1, 4, 4))
    stack(torch.rand(6, 1, 4, 4)).loss.backward()


def test_penalties_are_by_level_and_end_where_stacking_does(config, registry: Registry) -> None:
    weights = {"reconstruction": [0.1], "match": 0.5, "regulariser": {"rule": "exponential", "scale": 2.0, "last": 3.0}}
    levels = build(config(regulariser={"kind": "spread"}, weights=weights, matched_level=2), registry).stack.levels
    assert [level.penalty_weight for level in levels] == pytest.approx([2.0, 6.0 / math.e, 0.0])
    one = build(config(dense(5), {**dense(2), "regulariser": {"kind": "spread"}}), registry).stack.levels
    assert [level.regulariser is None for level in one] == [True, False]
    assert [level.penalty_weight for level in one] == [0.0, 1.0]


def test_the_seed_alone_decides_the_parameters(config, registry: Registry) -> None:
    def parameters(**sections: Any) -> Tensor:
        torch.rand(int(torch.randint(1, 9, ())))
        return torch.cat([p.detach().flatten() for p in build(config(**sections), registry).stack.parameters()])

    assert torch.equal(parameters(), parameters())
    assert torch.equal(parameters(), parameters(data={"kind": "zeros", "draws": 7}))
    assert not torch.equal(parameters(), parameters(train={"seed": 1}))


def test_a_stack_without_its_data_is_the_same_and_leaves_the_generator_alone(config, registry: Registry) -> None:
    made = build(config(), registry).stack.state_dict()
    torch.manual_seed(17)
    before = torch.random.get_rng_state()
    again = build_stack(config(), registry, (1, 4, 4), (0.0, 1.0)).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert list(again) == list(made)
    assert all(torch.equal(again[name], made[name]) for name in made)


def test_the_dry_run_leaves_no_trace(config, registry: Registry) -> None:
    norm = build(config(), registry).stack.layers[0].norm
    assert isinstance(norm, torch.nn.BatchNorm1d)
    assert norm.num_batches_tracked == 0
    torch.manual_seed(0)
    for shape, latent in (((1, 4, 4), 5), ((5,), 3), ((3,), 2)):
        Dense(shape, latent=latent)
    expected = torch.random.get_rng_state()
    build(config(), registry)
    assert torch.equal(torch.random.get_rng_state(), expected)


@pytest.mark.parametrize(
    ("way", "words"),
    [
        ("no latent_shape", ["latent_shape is None"]),
        ("empty latent_shape", ["latent_shape is (0,)"]),
        ("other in_shape", ["in_shape is (7,)", "(5,)"]),
        ("tensor", ["Crooked.encode returns Tensor", "rsample"]),
        ("encode raises", ["Crooked.encode fails", "(2, 5)", "mat1 and mat2"]),
        ("encode", ["the mean of Crooked.encode has shape (2, 4)", "latent_shape", "(2, 3)"]),
        ("draw", ["rsample() of Crooked.encode has shape (1, 3)"]),
        ("decode raises", ["Crooked.decode fails", "(2, 3)", "IndexError"]),
        ("decode", ["the mean of Crooked.decode has shape (2, 5, 1)", "in_shape", "(2, 5)"]),
    ],
)
def test_a_layer_that_breaks_its_promise_is_named(way: str, words: list[str], config, registry: Registry) -> None:
    crooked = {"layer": {"kind": "crooked", "way": way}}
    found = told(config(dense(5), crooked, dense(2)), registry)
    assert list(found) == ["levels[1].layer"]
    for word in words:
        assert word in found["levels[1].layer"]


def test_what_constructors_refuse_is_told_at_once_by_place(config, registry: Registry) -> None:
    levels = [{**dense(5), "cost": {"kind": "choosy", "power": 3}}, dense(4, odd=True), dense(2)]
    found = told(config(*levels, cost={"kind": "choosy", "power": 5}), registry)
    assert list(found) == ["levels[1].layer", "levels[0].cost", "cost"]
    assert "found latent = 4" in found["levels[1].layer"]
    assert "found power = 5" in found["cost"]


def test_what_torch_refuses_is_no_bug(config, registry: Registry) -> None:
    assert "negative dimension" in told(config(dense(5), dense(-3)), registry)["levels[1].layer"]


def test_the_first_cause_is_kept(config, registry: Registry) -> None:
    with pytest.raises(ConfigError) as caught:
        build(config(dense(4, odd=True)), registry)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(("wrong", "words"), [("shape", "(2, 1)"), ("draws", "(3, 2)"), ("error", "KeyError")])
def test_a_prior_that_breaks_its_promise_is_named(wrong: str, words: str, config, registry: Registry) -> None:
    found = told(config(prior={"kind": "uniform", "wrong": wrong}), registry)
    assert list(found) == ["prior"]
    assert words in found["prior"]


def test_weights_that_vanish_are_told(config, registry: Registry) -> None:
    weights = {"reconstruction": {"rule": "power", "base": 1.2e-38, "per_dimension": True}, "match": 0.5}
    assert "which float32 cannot" in told(config(dense(5), dense(2), weights=weights), registry)["weights"]


@pytest.mark.parametrize(
    ("output", "data_range", "fits"),
    [
        ("sigmoid", (-1.0, 1.0), ['output = "tanh"', 'output = "linear"', "value_range = [0.0, 1.0] in [data]"]),
        ("tanh", (0.0, 1.0), ['output = "sigmoid"', "value_range = [-1.0, 1.0] in [data]"]),
        ("sigmoid", (0.0, 2.0), ['output = "linear"', "value_range = [0.0, 1.0] in [data]"]),
    ],
)
def test_a_decoder_that_misses_the_datas_range_is_refused(
    output: str, data_range: tuple[float, float], fits: list[str], config, registry: Registry
) -> None:
    made = config(dense(5, output=output), dense(2), data={"kind": "zeros", "value_range": data_range})
    message = told(made, registry)["levels[0].layer"]
    positions = [message.index(fit) for fit in fits]
    assert positions == sorted(positions)


@pytest.mark.parametrize(
    ("output", "data_range"), [("sigmoid", (0.0, 1.0)), ("tanh", (-1, 1)), ("linear", (-1.0, 1.0)), ("linear", (0.0, 255.0))]
)
def test_a_decoder_that_fits_is_taken(output: str, data_range: tuple[float, float], config, registry: Registry) -> None:
    build(config(dense(5, output=output), dense(2, output="tanh"), data={"kind": "zeros", "value_range": data_range}), registry)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"count": 0}, "train split is empty"),
        ({"shape": [1, 0]}, "(1, 0)"),
        ({"test_shape": [2, 2]}, "must be alike"),
        ({"value_range": [1.0, 1.0]}, "one above it"),
        ({"fails": "os"}, "no such luck"),
        ({"fails": "data"}, "no such luck"),
    ],
)
def test_data_that_cannot_be_used(options: dict[str, Any], words: str, config, registry: Registry) -> None:
    with pytest.raises(DataError) as caught:
        build(config(data={"kind": "zeros", **options}), registry)
    assert words in str(caught.value)


def test_options_that_a_source_refuses(config, registry: Registry) -> None:
    assert "no such luck" in told(config(data={"kind": "zeros", "fails": "type"}), registry)["data"]
