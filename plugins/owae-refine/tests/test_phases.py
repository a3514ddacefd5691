"""Both further phases of training: what they leave as it was, what samples show then, and that a run goes on to the bit."""

from __future__ import annotations

import os
import signal

import pytest
import tiny
import torch
from fixtures import make, registry
from interruption import contents

from owae import Stack
from owae.errors import ConfigError, DataError, InterruptionError, TrainingError
from owae.run.metrics import Metrics
from owae.run.opened import open_run
from owae_refine import EnergyScore, fresh_bottom, refine
from owae_refine.bottom import Bottom
from owae_refine.moved import Moved, moved

__all__ = ["make", "registry"]

PHASES = ("refine={epochs=2, batch_size=16, hidden=[8], draws=2}", "bottom={epochs=2, batch_size=16, channels=[4], hidden=[8]}")


def same_use(before: Stack, after: Stack, x: torch.Tensor) -> None:
    for one, other in zip(before.eval().encode(x), after.encode(x), strict=True):
        assert torch.equal(one, other)
    for level in (1, 2):
        assert torch.equal(before.reconstruct(x, level), after.reconstruct(x, level))


def test_encoders_and_reconstructions_stay_as_they_are_to_the_bit_in_either_order():
    stack, x = tiny.stack(), tiny.images()
    refined = refine(stack, x, epochs=1, hidden=(8,), device="cpu")
    both = fresh_bottom(refined, x, epochs=1, batch_size=32, channels=(4,), hidden=(8,), device="cpu")
    same_use(stack, both, x)
    other_way = refine(
        fresh_bottom(stack, x, epochs=1, channels=(4,), hidden=(8,), device="cpu"), x, epochs=1, hidden=(8,), device="cpu"
    )
    same_use(stack, other_way, x)
    assert not torch.equal(refined.decode(both.encode(x)[0], 1, sample=True), both.decode(both.encode(x)[0], 1, sample=True))


def test_a_fitted_prior_draws_where_the_codes_lie_and_the_rest_stays_as_it_is():
    stack, x = tiny.stack(), tiny.images()
    options = {"epochs": 1, "batch_size": 16, "hidden": (8,), "device": "cpu"}
    fitted = refine(stack, x, prior_components=2, **options)
    same_use(stack, fitted, x)
    torch.manual_seed(0)
    codes, draws, before = stack.encode(x, sample=True)[-1], fitted.prior.sample(4000), stack.prior.sample(4000)
    assert torch.allclose(draws.mean(0), codes.mean(0), atol=0.1)
    assert torch.allclose(draws.std(0), codes.std(0), atol=0.1)
    assert (before.std(0) - codes.std(0)).abs().max() > 0.1  # or a prior that stayed would pass
    with pytest.raises(DataError, match="fit needs at least"):
        refine(stack, x, prior_components=len(x) + 1, **options)


def test_only_the_fresh_decoder_is_trained_and_samples_show_its_mean():
    stack = tiny.stack()
    extended = Bottom(channels=(4,), hidden=(8,)).extend(stack)
    extended(tiny.images()).loss.backward()
    trained = {name for name, parameter in extended.named_parameters() if parameter.grad is not None}
    assert trained
    assert all(name.startswith("levels.0.layer.new_decoder.decoder.") for name in trained)
    extended.eval()
    z = torch.randn(5, 8)
    assert torch.equal(extended.decode(z, 1, sample=True), extended.layers[0].decode(z).mean)
    assert torch.equal(extended.decode(z, 1, sample=True), extended.decode(z, 1, sample=True))


@pytest.mark.parametrize("shape", [(3,), (2, 5, 7)])
def test_a_fresh_bottom_is_for_events_of_any_shape(shape: tuple[int, ...]):
    x = tiny.images(40, shape)
    trained = fresh_bottom(tiny.stack(shape=shape), x, epochs=1, batch_size=20, channels=(4,), hidden=(8,), device="cpu")
    samples = trained.sample(3)
    assert samples.shape == (3, *shape)
    assert 0 <= samples.min() <= samples.max() <= 1


def test_a_fresh_bottom_refuses_a_range_that_it_cannot_give():
    stack = tiny.stack()
    stack.layers[0].output_range = (0.0, 2.0)
    with pytest.raises(ConfigError, match="bottom decoder gives"):
        Bottom().extend(stack)


def test_moved_images_keep_contrast_and_detail_and_a_share_stays():
    from owae.data.sources import TensorSource, examples
    from owae_report.evaluation.look import roughness

    x = torch.zeros(400, 1, 12, 12)
    x[:, :, 3:9, 4:7] = 1.0
    with torch.random.fork_rng():
        torch.manual_seed(0)
        after, within = moved(x, (-9.0, 9.0)), moved(x)
    assert torch.allclose(after.std((1, 2, 3)), x.std((1, 2, 3)), rtol=0.02)
    assert abs(roughness(after) / roughness(x) - 1) < 0.05
    assert abs(roughness(within) / roughness(x) - 1) < 0.1
    assert 0 <= within.min() <= within.max() <= 1
    assert (after - x).square().flatten(1).sum(1).max() > 1
    read = examples(Moved(TensorSource(x), 0.25))
    share = (read != x).flatten(1).any(1).float().mean()
    assert 0.15 < share < 0.35
    assert 0 <= read.min() <= read.max() <= 1


def test_the_energy_score_prefers_the_right_variance():
    from owae.distributions import Gaussian

    torch.manual_seed(0)
    x = torch.randn(20_000, 1)
    scores = [
        float(EnergyScore().expected(x, Gaussian(torch.zeros_like(x), torch.full_like(x, variance))).mean())
        for variance in (0.0, 1.0, 4.0)
    ]
    assert scores[1] == min(scores)


@pytest.mark.slow
def test_a_run_through_both_phases_is_one_to_the_bit_and_goes_on_to_the_bit(make, monkeypatch: pytest.MonkeyPatch):
    whole, again = make("a", *PHASES), make("b", *PHASES)
    kept = {phase: contents(whole.folder / phase, "checkpoints/*") for phase in ("refine", "bottom")}
    assert all(kept.values())
    for phase, files in kept.items():
        assert contents(again.folder / phase, "checkpoints/*") == files
    for phase, at in (("refine", 3), ("bottom", 6)):
        write, seen = Metrics.write, []

        def killing(self, fit, now, *more, write=write, seen=seen, place=(phase, at)):
            seen.append(now.step)
            before = {"refine": 8, "bottom": 16}[place[0]]  # steps of the trainings before
            if len(seen) == before + place[1]:
                os.kill(os.getpid(), signal.SIGTERM)
            return write(self, fit, now, *more)

        with monkeypatch.context() as patch:
            patch.setattr(Metrics, "write", killing)
            with pytest.raises(InterruptionError, match=f"step {at} is saved"):
                make(f"killed-in-{phase}", *PHASES)
        make(f"killed-in-{phase}", *PHASES, resume=True)
        for each, files in kept.items():
            newest = max(files)
            assert contents(whole.folder.parent / f"killed-in-{phase}" / each, "checkpoints/*")[newest] == files[newest]
    assert open_run(whole.folder).phases == ("refine", "bottom")


def test_a_phase_of_a_training_that_has_gone_on_since_is_not_gone_on_with(make):
    run = make("a", PHASES[0])
    before = contents(run.folder / "refine", "checkpoints/*")
    with pytest.raises(
        TrainingError, match=r"went on from step \d+ of the training before it, which has now taken \d+: move or delete"
    ):
        make("a", PHASES[0], "train.epochs=5", resume=True)
    assert contents(run.folder / "refine", "checkpoints/*") == before
    for path in (run.folder / "refine").rglob("*.safetensors"):
        path.unlink()
    assert make("a", PHASES[0], "train.epochs=5", resume=True).phases == ("refine",)
