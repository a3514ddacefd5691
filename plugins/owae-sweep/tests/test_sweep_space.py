"""The table [sweep]: what it may say, and how what it may not is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest
from sweeps import GRID, write_config

from owae import ConfigError, Registry
from owae_sweep.space import Range, Sweep, read


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.discover()


def mistakes(folder: Path, sweep: str, registry: Registry) -> str:
    with pytest.raises(ConfigError) as caught:
        read(write_config(folder, sweep), [], registry)
    return str(caught.value)


def test_a_grid_has_every_combination_once_the_last_parameter_fastest(config: Path, registry: Registry):
    sweep, base = read(config, [], registry)
    points = list(sweep.points())
    assert sweep.count == len(points) == 6
    assert [tuple(point.values()) for point in points] == [(0.1, 3), (0.1, 4), (0.1, 5), (1.0, 3), (1.0, 4), (1.0, 5)]
    at = base.at(points[4], 7)
    assert at.train.seed == 7
    assert at.to_dict()["levels"][0]["layer"]["latent"] == 4
    assert at.to_dict()["weights"]["match"] == 1.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"weights.match" = [0.1, 1.0]', '"weights.match" = [0.1, -1.0]'), "weights.match"),
        (("[3, 4, 5]", "[3, -4]"), "levels[0].layer.latent"),
        (('"weights.match"', '"weights.macht"'), "did you mean 'match'"),
        (('"levels[0].layer.latent"', '"levels[7].layer.latent"'), "counted from 0"),
        (('"weights.match" = [0.1, 1.0]', '"levels.0.layer.latent" = [3]'), "same place"),
        (('"weights.match" = [0.1, 1.0]', '"levels[0].layer" = [{ kind = "mlp", latent = 2 }]'), "same place"),
        (("[0.1, 1.0]", "[0.1, 0.1]"), "twice"),
        (("[0.1, 1.0]", "[]"), "at least one"),
        (("[0.1, 1.0]", "0.1"), "a list of values"),
        (('"weights.match"', '"train.seed"'), "seeds ="),
        (("[0.1, 1.0]", "{ low = 0.1, high = 1.0 }"), "a grid needs a list"),
        (("[0.1, 1.0]", "{ low = 1.0, high = 0.1 }"), "below"),
        (("[0.1, 1.0]", "{ low = 0.0, high = 0.1, log = true }"), "above 0"),
        (('"minimize"', '["minimize", "maximize"]'), "one each"),
        (('"minimize"', '"least"'), "sweep.direction"),
        (('metric = "levels[1].error"', 'metric = "levels[1].error"\nsampler = "tpe"'), "trials = 50"),
        (('metric = "levels[1].error"', 'metric = "levels[1].error"\ntrials = 3'), "leave this out"),
        (('metric = "levels[1].error"', 'metric = "levels[1].error"\nseeds = [1, 1]'), "twice"),
        (('metric = "levels[1].error"', 'metric = "levels[1].error"\npruner = "median"\nseeds = [0, 1]'), "one seed"),
        (('metric = "levels[1].error"', 'metric = "levels[1].error"\nsampel = "tpe"'), "sweep.sampel"),
    ],
)
def test_mistakes_are_named_by_their_place(tmp_path: Path, registry: Registry, change: tuple[str, str], said: str):
    assert change[0] in GRID
    assert said in mistakes(tmp_path, GRID.replace(*change), registry)


def test_all_impossible_values_are_told_at_once(tmp_path: Path, registry: Registry):
    text = mistakes(tmp_path, GRID.replace("[0.1, 1.0]", "[-0.1, -1.0]").replace("[3, 4, 5]", "[-3]"), registry)
    assert "weights.match" in text
    assert "levels[0].layer.latent" in text


def test_bounds_of_ranges_are_checked_too(tmp_path: Path, registry: Registry):
    sweep = GRID.replace("[3, 4, 5]", "{ low = -2, high = 5, integer = true }").replace(
        'direction = "minimize"', 'direction = "minimize"\nsampler = "random"\ntrials = 4'
    )
    assert "levels[0].layer.latent" in mistakes(tmp_path, sweep, registry)


def test_a_value_can_be_a_table(tmp_path: Path, registry: Registry):
    sweep, base = read(
        write_config(
            tmp_path, GRID.replace('"weights.match" = [0.1, 1.0]', '"divergence" = [{ kind = "mmd", kernel = "energy" }]')
        ),
        [],
        registry,
    )
    point = next(sweep.points())
    assert base.at(point, 0).to_dict()["divergence"]["kernel"] == "energy"


def test_the_table_can_stand_in_a_file_of_its_own(tmp_path: Path, config: Path, registry: Registry):
    beside = tmp_path / "grid.toml"
    beside.write_text(f'[sweep]\nconfig = "{config.name}"\n{GRID}')
    sweep, base = read(beside, ["train.epochs=3"], registry)
    assert sweep.count == 6
    assert base.at({}, 0).train.epochs == 3
    beside.write_text(f'[train]\nepochs = 2\n[sweep]\nconfig = "{config.name}"\n{GRID}')
    with pytest.raises(ConfigError, match="holds 'train' too"):
        read(beside, [], registry)


def test_an_objective_whose_weights_vary_is_cautioned(tmp_path: Path, registry: Registry):
    sweep, _ = read(write_config(tmp_path, GRID.replace("levels[1].error", "transport")), [], registry)
    assert "small weights win" in sweep.cautions()[0]
    sweep, _ = read(write_config(tmp_path), [], registry)
    assert not sweep.cautions()


def test_a_range_draws_within_its_bounds():
    import optuna

    whole = Range(low=2, high=64, log=True, integer=True)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [whole.suggest(study.ask(), "width") for _ in range(20)]
    assert all(isinstance(value, int) and 2 <= value <= 64 for value in drawn)
    assert len(set(drawn)) > 5


def test_points_are_equal_only_where_they_are():
    sweep = Sweep.model_validate({"parameters": {"a": [1, 1.0001]}, "metric": "m", "direction": "minimize"})
    assert len({str(point) for point in sweep.points()}) == 2


@pytest.mark.slow
def test_the_example_is_the_papers_grid_and_its_small_sibling_the_corners(registry: Registry):
    """25 pairs; w_i = λ_rec^i / d_i, w_5 = λ_match."""
    examples = Path(__file__).parents[3] / "examples"
    sweep, base = read(examples / "mnist_grid.toml", [], registry)
    assert [tuple(point.values()) for point in sweep.points()] == [
        (rec, match) for rec in (0.01, 0.05, 0.1, 0.5, 1.0) for match in (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    ]
    assert sweep.cautions()
    weights = base.at({"weights.reconstruction.base": 0.5, "weights.match": 0.01}, 0).to_dict()["weights"]
    assert weights["match"] == 0.01
    assert {"rule": "power", "base": 0.5, "per_dimension": True}.items() <= weights["reconstruction"].items()
    small, _ = read(examples / "smoke" / "mnist_grid.toml", [], registry)
    assert [tuple(point.values()) for point in small.points()] == [(0.01, 1e-4), (0.01, 1.0), (1.0, 1e-4), (1.0, 1.0)]
