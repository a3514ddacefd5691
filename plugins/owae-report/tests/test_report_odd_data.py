"""Evaluations of odd data: what cannot be had is said, costs nothing else, and nothing misleading stands in its place."""

from __future__ import annotations

import pytest
import tiny
import torch
from blobs import blobs

from owae.data.sources import TensorSource
from owae_report.evaluation.extractors import Pixels
from owae_report.evaluation.samples import judge as judge_samples
from owae_report.evaluation.whole import Options, judge
from owae_report.page.judgement import Table, blocks


@pytest.mark.parametrize(("n", "doubted"), [(1, False), (50, True), (63, True), (64, True), (876, False)])
def test_a_covariance_of_more_features_than_examples_is_warned_of(n, doubted):
    """The 64 pixels of a picture against 1, 50 and 876 examples; of one example there is neither distance, so neither is to be trusted."""
    found = judge_samples(tiny.stack(), blobs(n + 2, 1), blobs(n, 2), {"pixels": Pixels((1, 8, 8))}, seeds=1)
    assert any(f"{n} examples for 64 features" in text and "trust KID" in text for text in found["warnings"]) == doubted
    pixels = found["extractors"]["pixels"]
    assert (pixels["frechet"]["value"] is None) == (pixels["kid"]["value"] is None) == (n == 1)


def test_of_one_held_out_example_nothing_is_said_that_takes_two():
    found = judge(tiny.stack(), blobs(9, 1), blobs(1, 2), Options(seeds=1))
    read = found.to_dict()
    assert {level["state"] for level in read["levels"]} == {"unknown"}
    assert all(level["spread"] is None and level["active"] is None for level in read["levels"])
    assert read["matching"] is None
    assert any(line.startswith("divergence from the prior") and "1 held-out example;" in line for line in read["missing"])
    assert len([line for line in read["missing"] if " by pixels: " in line]) == 3
    table = next(part for part in blocks(found)["levels"] if isinstance(part, Table))
    assert "nan" not in str(table.rows)


def test_why_there_are_no_accuracies_is_said():
    one = judge(tiny.stack(), blobs(30, 1, 1), blobs(20, 2, 1), Options(blocks=["levels"])).missing
    assert "accuracy and probe of every level: all labelled training examples are of one class" in one
    unlabelled = TensorSource(torch.rand(20, 1, 8, 8), torch.full((20,), -1))
    none = judge(tiny.stack(), blobs(30, 1), unlabelled, Options(blocks=["levels"])).missing
    assert "accuracy and probe of every level: no held-out example has a label" in none


def test_baselines_leave_out_examples_without_a_label_and_say_what_is_too_large():
    train, test = blobs(40, 1), blobs(30, 2)
    assert train.labels is not None
    train.labels[::4] = -1
    found = judge(tiny.stack(), train, test, Options(blocks=["levels"]))
    assert found.baselines[2]["pca"]["accuracy"] > 0.5
    few = judge(tiny.stack(), blobs(4, 1), test, Options(blocks=["levels"]))
    assert set(few.baselines) == {2}
    assert any(line.startswith("baselines as large as z_1: ") for line in few.missing)


def test_an_extractor_that_fails_costs_its_own_column(monkeypatch):
    class Failing(Pixels):
        def __call__(self, x):
            raise RuntimeError("out of memory, say")

    train, test = blobs(40, 1), blobs(30, 2)
    both = {"failing": Failing((1, 8, 8)), "pixels": Pixels((1, 8, 8))}
    found = judge_samples(tiny.stack(), train, test, both, seeds=1)["extractors"]
    assert "out of memory, say" in found["failing"]["why"]
    assert found["pixels"]["kid"]["value"] is not None

    def broken(*_):
        raise KeyError("resize")

    monkeypatch.setattr("owae_report.evaluation.whole.extractor", broken)
    why = judge(tiny.stack(), train, test, Options(seeds=1, blocks=["samples"])).to_dict()["samples"]["extractors"]["pixels"]["why"]
    assert "KeyError" in why


def test_what_the_classifier_is_worth_stands_beside_its_numbers():
    found = judge(tiny.stack(), blobs(90, 1), blobs(60, 2), Options(seeds=1, blocks=["samples"]))
    assert found.samples is not None
    assert found.samples["extractors"]["classifier"]["accuracy"] > 0.9
    assert "accuracy" not in found.samples["extractors"]["pixels"]
    assert any("right on" in part for part in blocks(found)["samples"] if isinstance(part, str))


def test_classes_are_a_table_whatever_their_names():
    train, test = blobs(60, 1), blobs(31, 2)
    train.class_names = test.class_names = tuple(f"a name of some length, {letter}" for letter in "abc")
    (table,) = blocks(judge(tiny.stack(), train, test, Options(seeds=1)))["classes"]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == list(test.class_names)
    assert [row[1] for row in table.rows] == ["11", "10", "10"]
    assert list(table.headings) == [
        "class", "held-out examples", "10-NN accuracy in z_2", "share of samples", "share of held-out examples"
    ]  # fmt: skip


def test_no_number_of_a_table_has_an_exponent_that_it_can_do_without():
    found = judge(tiny.stack(), blobs(40, 1), blobs(30, 2), Options(seeds=1, blocks=["samples"]))
    assert found.samples is not None
    found.samples["extractors"]["pixels"]["kid"] = {"value": 1.2544, "deviation": 0.0213, "floor": -370.0, "why": None}
    table = next(part for part in blocks(found)["samples"] if isinstance(part, Table))
    assert list(table.rows[0][:3]) == ["KID × 1000", "1250 ± 20", "-370000"]
