"""Samples of one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from runs import run, said
from sklearn.neighbors import KNeighborsClassifier

from owae import Config, Registry
from owae.data.sources import TensorSource, examples
from owae.errors import DataError
from owae.run.train import train
from owae_report.classes import class_number
from owae_report.cli import sample

DIGITS = Path(__file__).parents[3] / "examples" / "digits.toml"


@pytest.mark.slow
def test_samples_of_a_class_are_of_that_class(tmp_path: Path):
    registry = Registry.discover(["owae-layers", "owae-mmd", "owae-data", "owae-priors"])
    changes = ["train.epochs=20", 'prior={kind="class-conditional"}', "levels.2.layer.latent=4"]
    trained = train(Config.load(DIGITS, registry, changes), registry, out=tmp_path / "run")
    source = trained.source("train")
    assert source.labels is not None
    nearest = KNeighborsClassifier(5).fit(examples(source).flatten(1).numpy(), source.labels.numpy())
    for label, level in ((0, []), (7, ["--level", 1])):
        result = run(sample, trained.folder, "--label", label, *level, "-n", 100, "--npy", tmp_path / "x.npy")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.splitlines()[0].endswith(f"samples-{label}.png")
        drawn = np.load(tmp_path / "x.npy")
        assert (nearest.predict(drawn.reshape(100, -1)) == label).mean() > 0.6  # by chance: 0.1
    for arguments, words in ((("--label", 11), "no training example is of class"), (("--level", 2), "give --label too")):
        refused = run(sample, trained.folder, *arguments)
        assert refused.exit_code != 0
        assert words in said(refused) + str(refused.exception)


def test_classes_are_known_by_number_or_name():
    source = TensorSource(torch.rand(4, 2), torch.tensor([0, 1, 1, -1]))
    assert class_number(source, "1") == 1
    source.class_names = ("cat", "7", "bird")
    assert class_number(source, "cat") == class_number(source, "0") == 0
    assert class_number(source, "7") == 1
    for label in ("bird", "2", "-1", "ca"):
        with pytest.raises(DataError, match="valid: 7, cat"):
            class_number(source, label)
    with pytest.raises(DataError, match="no labels"):
        class_number(TensorSource(torch.rand(4, 2), None), "0")
