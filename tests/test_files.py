"""Paths as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from owae import ConfigError, TrainingError
from owae.files import expanded
from owae.run.opened import open_run


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("", "found an empty path, as of a variable that is not set"),
        ("~nobody-of-this-name/run", "there is no user of that name; './~nobody"),
    ],
)
def test_a_path_that_is_none_is_no_other(path: str, words: str):
    with pytest.raises(ConfigError, match=words):
        expanded(path)


def test_a_folder_may_begin_with_a_tilde():
    assert expanded("./~x/run") == Path("~x/run")
    assert expanded("~x") == Path("~x")


def test_a_file_is_no_run(tmp_path: Path):
    (tmp_path / "run").touch()
    with pytest.raises(TrainingError, match="is a file; a run folder"):
        open_run(tmp_path / "run")
