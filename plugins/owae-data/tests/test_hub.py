"""Sets of the hub by name, from a folder that stands for what was downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from owae.errors import DataError
from owae.testing import check_source
from owae_data.tables.hub import CONVERTED, Hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was asked of the hub: the set has no Parquet files but in the hub's conversion."""
    asked: list[dict[str, Any]] = []

    def download(name: str, **options: Any) -> str:
        asked.append({"name": name, **options})
        folder = tmp_path / (options["revision"] or "main").replace("/", "-")
        folder.mkdir(exist_ok=True)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return asked


def _write(folder: Path, *parts: str) -> None:
    for seed, part in enumerate(parts):
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        parquet.write_table(pa.table({"x": rng.normal(size=6), "y": [0, 1] * 3}), folder / part)


def test_the_files_of_a_set_or_of_its_conversion(tmp_path: Path, hub: list[dict[str, Any]]) -> None:
    _write(tmp_path / CONVERTED.replace("/", "-"), "default/train/0000.parquet", "default/test/0000.parquet")
    check_source(Hub, name="somebody/a-set")
    assert [one["revision"] for one in hub[:2]] == [None, CONVERTED]
    assert hub[0]["repo_type"] == "dataset"
    assert (len(Hub("train", name="somebody/a-set")), len(Hub("test", name="somebody/a-set"))) == (6, 6)


def test_a_set_of_several_asks_for_one(tmp_path: Path, hub: list[dict[str, Any]]) -> None:
    _write(tmp_path / "main", "en/train-0.parquet", "de/train-0.parquet")
    with pytest.raises(DataError, match="consists of several: de, en; subset = 'de' takes one"):
        Hub("train", name="a/b")
    assert len(Hub("train", name="a/b", subset="en", holdout=0.4)) == 4
    assert hub[-1]["allow_patterns"] == ["en/*.parquet"]


def test_without_files_or_network_the_message_says_what_would_work(
    monkeypatch: pytest.MonkeyPatch, hub: list[dict[str, Any]]
) -> None:
    with pytest.raises(DataError, match="no Parquet file"):
        Hub("train", name="a/b")

    def offline(*_: Any, **__: Any) -> str:
        raise ConnectionError("name resolution")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(DataError, match=r"'a/b' cannot be had from the hub.*name resolution.*kind = 'table'"):
        Hub("train", name="a/b")
