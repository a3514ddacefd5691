"""Sweeps that run: equal to training by hand, resumed after a signal, rid of dead workers, pruned, shown."""

from __future__ import annotations

import contextlib
import json
import signal
from pathlib import Path

import optuna
import pytest
import torch
from interruption import interrupt_at
from optuna.trial import FrozenTrial, TrialState
from sweeps import GRID, owae, signalling, write_config

from owae import Config, Registry
from owae.errors import TrainingError
from owae.run.metrics import read_metrics
from owae.run.opened import open_run
from owae.run.train import train
from owae_sweep.pictures import draw
from owae_sweep.search import DIED, SURPLUS, Search, default_storage, opened
from owae_sweep.show import summary, tables
from owae_sweep.space import read
from owae_sweep.start import start
from owae_sweep.worker import work

pytestmark = pytest.mark.slow  # each trains several points


def under_way(folder: Path) -> list[FrozenTrial]:
    if not (folder / "sweep.json").exists():
        return []
    try:
        with opened(folder) as (study, _):
            running = study.get_trials(states=(TrialState.RUNNING,))
    except TrainingError:  # it is being made
        return []
    return [trial for trial in running if "worker" in trial.user_attrs]


def finished_once(folder: Path) -> bool:
    with opened(folder) as (study, sweep):
        complete = [json.dumps(trial.params) for trial in study.get_trials(states=(TrialState.COMPLETE,))]
    return len(complete) == len(set(complete)) == sweep.count


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of six points and two seeds."""
    folder = tmp_path_factory.mktemp("done")
    path = write_config(folder, "seeds = [0, 3]\n" + GRID)
    return start(path, out=folder / "sweep")


def test_a_point_is_what_training_gives_to_the_bit(done: Path):
    registry = Registry.discover()
    row = summary(done)["trials"][2]
    values = Config.parse(done.parent / "tiny.toml")
    values.pop("sweep")
    texts = [*(f"{name}={value}" for name, value in row["point"].items()), "train.seed=3"]
    alone = train(Config.from_dict(values, registry, overrides=texts), registry, out=done.parent / "alone")
    of_sweep = open_run(done / row["runs"][1], registry)
    for name, tensor in alone.model.state_dict().items():
        assert torch.equal(tensor, of_sweep.model.state_dict()[name]), name


def test_it_is_told_best_first_with_its_error(done: Path):
    found = summary(done)
    assert found["finished"] == found["points"] == 6
    means = [row["mean"][0] for row in found["trials"]]
    assert means == sorted(means)
    assert found["best"] == found["trials"][0]
    row = found["trials"][0]
    assert row["mean"][0] == pytest.approx(sum(row["values"][0]) / 2)
    assert row["deviation"][0] > 0
    assert "±" in "\n".join(tables(found))
    assert [path.name for path in draw(done)] == ["heat-map.png", "parallel-coordinates.png", "importances.png", "samples.png"]


def test_a_finished_sweep_is_taken_up_without_training_and_another_space_refused(done: Path, tmp_path: Path):
    config = done.parent / "tiny.toml"
    before = {path: path.stat().st_mtime_ns for path in done.rglob("*.safetensors")}
    with pytest.raises(TrainingError, match="--resume goes on"):
        start(config, out=done)
    start(config, out=done, resume=True)
    assert before == {path: path.stat().st_mtime_ns for path in done.rglob("*.safetensors")}
    with pytest.raises(TrainingError, match="another config or space"):
        start(config, ["train.batch_size=400"], out=done, resume=True)


def test_an_unknown_metric_ends_a_point_with_the_names_there_are(tmp_path: Path):
    config = write_config(tmp_path, GRID.replace("levels[1].error", "levels[1].eror").replace("[3, 4, 5]", "[3]"))
    folder = start(config, out=tmp_path / "sweep")
    rows = summary(folder)["trials"]
    assert [row["state"] for row in rows] == ["failed", "failed"]
    assert "did you mean 'levels[1].error'" in rows[0]["reason"]


def test_a_point_given_up_by_another_worker_meanwhile_does_not_end_the_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As after a suspension: another worker saw no heartbeat and failed the trial, which this one then finishes."""
    from owae_sweep import worker

    registry = Registry.discover()
    sweep, base = read(write_config(tmp_path, GRID.replace("[3, 4, 5]", "[3]")), [], registry)
    search = Search(sweep, default_storage(tmp_path), "s", "d")
    given_up: list[int] = []
    trained = worker.run_point

    def suspended(*arguments: object) -> list[float]:
        values = trained(*arguments)  # pyright: ignore[reportArgumentType]
        if not given_up:
            (trial,) = search.trials(TrialState.RUNNING)
            given_up.append(trial.number)
            with contextlib.closing(Search(sweep, default_storage(tmp_path), "s", "d")) as other:
                other._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return values

    monkeypatch.setattr(worker, "run_point", suspended)
    work(sweep, base, search, tmp_path)
    complete = search.trials(TrialState.COMPLETE)
    assert sorted(trial.params["weights.match"] for trial in complete) == [0.1, 1.0]


@pytest.mark.filterwarnings("ignore:Heartbeat")  # it is `optimize` that asks otherwise
def test_two_workers_that_ask_at_once_do_not_train_a_point_twice(tmp_path: Path):
    """The second of two gets a trial of its own from the sampler, which has no place in a grid."""
    sweep, _ = read(
        write_config(tmp_path, GRID.replace("[0.1, 1.0]", "[1.0]").replace("[3, 4, 5]", "[3]")), [], Registry.discover()
    )
    search = Search(sweep, default_storage(tmp_path), "s", "d")
    search.fill()
    first, second = search.study.ask(), search.study.ask()
    assert search.claim(first) == {"weights.match": 1.0, "levels[0].layer.latent": 3}
    assert search.claim(second) is None
    assert SURPLUS in second.user_attrs
    assert len(search.trials()) == 1


def test_a_sampler_stops_at_its_number_of_points(tmp_path: Path):
    text = GRID.replace("[0.1, 1.0]", "{ low = 0.01, high = 1.0, log = true }").replace(
        'direction = "minimize"', 'direction = "minimize"\nsampler = "tpe"\ntrials = 3'
    )
    folder = start(write_config(tmp_path, text), out=tmp_path / "sweep")
    found = summary(folder)
    assert found["finished"] == 3
    assert len({row["point"]["weights.match"] for row in found["trials"]}) == 3


def test_a_pruner_ends_training_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(optuna.pruners.MedianPruner, "prune", lambda self, study, trial: trial.number > 0)
    text = 'pruner = "median"\nprune_by = "loss"\n' + GRID.replace("[0.1, 1.0]", "[0.1]").replace("[3, 4, 5]", "[3, 4]")
    folder = start(write_config(tmp_path, text, epochs=3), out=tmp_path / "sweep")
    assert [row["state"] for row in summary(folder)["trials"]] == ["finished", "pruned"]


def test_several_metrics_make_a_front(tmp_path: Path):
    text = GRID.replace('"levels[1].error"', '["levels[1].error", "matching.value"]').replace(
        '"minimize"', '["minimize", "minimize"]'
    )
    found = summary(start(write_config(tmp_path, text.replace("[3, 4, 5]", "[3]")), out=tmp_path / "sweep"))
    assert 1 <= len(found["best"]) <= 2
    assert all(len(row["mean"]) == 2 for row in found["trials"])


def test_an_interrupted_sweep_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command):
    """By a real signal, in the first point."""
    config, folder = write_config(tmp_path, GRID.replace("[3, 4, 5]", "[3]"), epochs=4), tmp_path / "sweep"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 5)
        code, out, told = command("sweep", config, "--out", folder, "--set", "train.log_every=1")
    assert (code, out) == (143, ""), told
    assert "--resume" in told
    (stopped,) = folder.glob("runs/*")
    assert read_metrics(stopped / "metrics.jsonl")[-1]["step"] == 5
    start(config, ["train.log_every=1"], out=folder, resume=True)
    assert finished_once(folder)
    steps = [line["step"] for line in read_metrics(stopped / "metrics.jsonl")]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > 5


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_killed_worker_costs_nothing(tmp_path: Path, database: str, request: pytest.FixtureRequest):
    """One of two is killed with SIGKILL while it trains: every point is finished once, the killed one tried again."""
    storage = [] if database == "sqlite" else ["--storage", request.getfixturevalue("postgresql"), "--name", "killed"]
    folder, steps = tmp_path / "sweep", "train.log_every=1"
    config, environment = (
        write_config(tmp_path, GRID.replace("[3, 4, 5]", "[3, 4]"), epochs=2),
        signalling(tmp_path, signal.SIGKILL),
    )
    process = owae("sweep", config, "--out", folder, "--workers", "2", "--heartbeat", "2", *storage, "--set", steps, **environment)
    told = process.communicate(timeout=900)[1]
    assert process.returncode == 0, told
    assert "a worker ended with -9; 1 point(s) put back" in told
    assert finished_once(folder)
    with opened(folder) as (study, _):
        trials = study.get_trials()
    (killed,) = [trial for trial in trials if DIED in trial.user_attrs]
    assert killed.state is TrialState.FAIL
    assert killed.user_attrs["worker"].endswith(f":{(tmp_path / 'sent-by').read_text()}")
    assert sum(trial.params == killed.params for trial in trials) == 2
    found = summary(folder)["trials"]
    assert len({run for row in found for run in row["runs"]}) == len(found) == 4


def test_a_worker_elsewhere_that_dies_is_noticed_by_its_heartbeat(tmp_path: Path):
    """A lone worker is killed, with nobody to watch it; another that joins takes its point again."""
    config = write_config(tmp_path, GRID.replace("[3, 4, 5]", "[3]").replace("[0.1, 1.0]", "[1.0]"), epochs=4)
    folder, steps = tmp_path / "sweep", "train.log_every=1"
    alone = owae("sweep", config, "--out", folder, "--heartbeat", "1", "--set", steps, **signalling(tmp_path, signal.SIGKILL))
    alone.communicate(timeout=900)
    assert alone.returncode == -signal.SIGKILL
    assert under_way(folder)
    start(config, [steps], out=folder, resume=True, heartbeat=1)
    assert finished_once(folder)
