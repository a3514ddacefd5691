"""Exported folders: what they hold, that they open as the same model, and what is refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from fixtures import registry
from runs import run
from safetensors.torch import load_file, save_file

import owae
from owae.errors import OwaeError
from owae.interfaces import Prior
from owae.model.stack import Stack
from owae.run.train import train
from owae_export import hub
from owae_export.cli import export as command
from owae_export.onnx import onnx_files
from owae_mmd.mmd import MMD
from owae_priors.mixture import GaussianMixture
from owae_refine.layers import Draws, Redecoded, Refined

__all__ = ["registry"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory, registry):
    folder = tmp_path_factory.mktemp("secret-place")
    return train(owae.Config.load(tiny.config(folder), registry), registry, out=folder / "tiny-run")


@pytest.fixture
def exported(trained, tmp_path) -> Path:
    result = run(command, trained.folder, tmp_path / "out", "--no-evaluate")
    assert result.stdout == f"{tmp_path / 'out'}\n"
    return tmp_path / "out"


def test_an_exported_model_is_the_model(trained, exported):
    model = owae.load(exported)
    x = tiny.images(5)
    assert all(torch.equal(a, b) for a, b in zip(model.encode(x), trained.model.encode(x), strict=True))
    assert not model.training
    info = json.loads((exported / "config.json").read_text())
    assert (info["shape"], info["value_range"], info["step"]) == ([1, 8, 8], [0.0, 1.0], trained.step)


def test_it_says_what_it_is_and_not_where_the_data_lay(trained, exported):
    texts = [(exported / name).read_text() for name in ("README.md", "config.toml", "config.json")]
    assert not any("secret-place" in text for text in texts)
    assert tomllib.loads(texts[1])["data"]["path"] == "images.npz"
    assert texts[0].startswith('---\nlibrary_name: "owae"\n')
    assert "| z_2 | mlp | 2 |" in texts[0]
    assert "exported without an evaluation" in texts[0]


def test_scores_stand_on_the_card_with_their_protocol(trained, tmp_path, monkeypatch):
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "cache"))
    trained.export(tmp_path / "out", evaluation=trained.evaluate(["pixels"], seeds=2).to_dict())
    card = (tmp_path / "out/README.md").read_text()
    assert "| KID | pixels |" in card
    assert "Samples of 2 seeds against" in card
    assert "trust KID before" in card


def damaged(name: str, folder: Path) -> None:
    path = folder / name
    if name == "model.safetensors":
        state = load_file(path)
        state.pop(sorted(state)[0])
        save_file(state, path)
    elif name == "config.json":
        path.write_text(path.read_text().replace('"format": 1', '"format": 99'))
    else:
        path.unlink()


@pytest.mark.parametrize(
    ("name", "said"), [("model.safetensors", "lacks levels.0"), ("config.json", "has format 99"), ("config.toml", "is no exported")]
)
def test_a_damaged_folder_is_refused_by_what_is_wrong(exported, name, said):
    damaged(name, exported)
    with pytest.raises(OwaeError, match=said):
        owae.load(exported)


def test_nothing_but_an_export_is_replaced(trained, exported, tmp_path):
    with pytest.raises(OwaeError, match="--overwrite replaces"):
        trained.export(exported)
    trained.export(exported, overwrite=True)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/thesis.tex").write_text("mine")
    with pytest.raises(OwaeError, match=r"holds thesis\.tex; and no export"):
        trained.export(tmp_path / "own", overwrite=True)


def test_onnx_is_the_model_at_any_batch_with_noise_as_input(trained):
    onnxruntime = pytest.importorskip("onnxruntime")
    files = onnx_files(trained.model)
    encoder, sampler = (onnxruntime.InferenceSession(files[f"{name}.onnx"]) for name in ("encoder", "sampler"))
    for batch in (1, 7):
        x = tiny.images(batch)
        found = encoder.run(None, {"x": x.numpy()})
        for ours, theirs in zip(trained.model.encode(x), found, strict=True):
            assert np.allclose(ours.detach().numpy(), theirs, atol=1e-4)
        rng = np.random.default_rng(0)
        noise = {each.name: rng.normal(size=(batch, *each.shape[1:])).astype(np.float32) for each in sampler.get_inputs()}
        assert set(noise) == {"noise_1", "noise_2"}
        top = trained.model.layers[1].decode(torch.from_numpy(noise["noise_2"]))
        z = top.mean + top.variance.sqrt() * torch.from_numpy(noise["noise_1"])
        (picture,) = sampler.run(None, noise)
        assert np.allclose(trained.model.decode(z, 1).detach().numpy(), picture, atol=1e-4)
        (other,) = sampler.run(None, {name: value + 1 for name, value in noise.items()})
        assert np.abs(other - picture).max() > 1e-4


def refined_stack(prior: Prior | None = None) -> Stack:
    """A stack as further phases leave it: refined levels, the lowest of which draws data, and a fitted prior."""
    torch.manual_seed(0)
    layers = [Refined(layer, hidden=(12, 12)) for layer in tiny.stack().layers]
    for layer in layers:
        layer.residual.scale.mul_(0.3)
    return Stack(layers, divergence=MMD(), weights=[0.5, 0.5], prior=prior).eval()


@pytest.mark.parametrize("mixture", [False, True])
def test_onnx_draws_as_refined_levels_and_a_mixture_do(mixture):
    onnxruntime = pytest.importorskip("onnxruntime")
    stack = refined_stack(GaussianMixture((2,), components=3) if mixture else None)
    sampler = onnxruntime.InferenceSession(onnx_files(stack)["sampler.onnx"])
    shapes = {each.name: tuple(each.shape[1:]) for each in sampler.get_inputs()}
    assert shapes == {"noise_2": (3,) if mixture else (2,), "noise_1": (8,), "noise_0": (64,)}
    for batch in (1, 7):
        noise = {name: torch.randn(batch, *shape) for name, shape in shapes.items()}
        with torch.no_grad():
            z = stack.prior.from_noise(noise["noise_2"]) if isinstance(stack.prior, GaussianMixture) else noise["noise_2"]
            for layer, name in ((stack.layers[1], "noise_1"), (stack.layers[0], "noise_0")):
                p = layer.decode(z)
                assert isinstance(p, Draws)
                z = p.from_noise(noise[name])
        (found,) = sampler.run(None, {name: each.numpy() for name, each in noise.items()})
        assert np.allclose(z.numpy(), found, atol=1e-4)


def test_onnx_shows_the_decoder_that_samples_show():
    onnxruntime = pytest.importorskip("onnxruntime")
    bottom, top = tiny.stack().layers
    fresh = Redecoded(bottom, tiny.stack(1).layers[0])
    stack = Stack([fresh, top], divergence=MMD(), weights=[0.5, 0.5]).eval()
    sampler = onnxruntime.InferenceSession(onnx_files(stack)["sampler.onnx"])
    noise = {each.name: np.zeros((1, *each.shape[1:]), np.float32) for each in sampler.get_inputs()}
    assert set(noise) == {"noise_2", "noise_1"}
    with torch.no_grad():
        shown = fresh.decode(top.decode(torch.zeros(1, 2)).mean).mean
        assert not torch.allclose(shown, bottom.point(top.decode(torch.zeros(1, 2)).mean), atol=1e-3)
    assert np.allclose(sampler.run(None, noise)[0], shown.numpy(), atol=1e-4)


def test_a_sampler_that_onnx_cannot_hold_costs_no_encoder(caplog):
    pytest.importorskip("onnxruntime")

    class Other(Prior):
        name = "other"

        def sample(self, n):
            return torch.rand(n, *self.shape)

    stack = refined_stack(Other((2,)))
    assert set(onnx_files(stack)) == {"encoder.onnx"}
    assert "sampler.onnx is not written" in caplog.text
    assert "the prior Other" in caplog.text


def test_the_hub_is_used_through_its_functions(exported, monkeypatch):
    calls = []

    class Hub:
        @staticmethod
        def create_repo(name, **options):
            calls.append((name, options))
            return f"https://hub/{name}"

        @staticmethod
        def upload_folder(**options):
            calls.append(options)

        @staticmethod
        def snapshot_download(name, **options):
            if name == "me/none":
                raise RuntimeError("404\nmore")
            return str(exported)

    monkeypatch.setattr(hub, "_hub", lambda: Hub)
    assert hub.push(exported, "me/tiny", private=True) == "https://hub/me/tiny"
    assert calls[0] == ("me/tiny", {"private": True, "exist_ok": True})
    assert calls[1]["repo_id"] == "me/tiny"
    assert owae.load("hub:me/tiny").depth == 2
    with pytest.raises(OwaeError, match="'me/none' could not be fetched from the Hub: 404"):
        owae.load("hub:me/none")
    with pytest.raises(OwaeError, match="no exported folder"):
        hub.push(exported.parent, "me/tiny")
