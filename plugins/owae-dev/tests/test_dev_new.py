"""`owae plugins new`: what it writes is whole, passes its own tests, installs beside owae and trains; what it cannot write is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from installed import environ, owae, several

from owae.errors import ConfigError, OwaeError, PluginError
from owae_dev.kinds import Kind
from owae_dev.package import Names, checked, rendered, write

KINDS = list(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_is_python_or_toml_and_no_placeholder_is_left(kind: Kind) -> None:
    import tomllib

    files = rendered(Names("an-odd-name2", kind))
    for path, text in files.items():
        assert "@" not in text.replace("@owae.hookimpl", "").replace("@classmethod", "").replace("@pytest", ""), path
        if path.endswith(".py"):
            compile(text, path, "exec")
        if path.endswith(".toml"):
            tomllib.loads(text)
    assert "an-odd-name2" in files["pyproject.toml"]
    assert all("owae plugins check" not in text for text in files.values()) == (kind == Kind.COMMAND)


def test_what_is_written_is_sorted_and_annotated_as_others_wish(tmp_path: Path) -> None:
    pytest.importorskip("ruff")
    for kind in KINDS:
        folder = write(Names(f"s-{kind}", kind), tmp_path)
        (folder / "ruff.toml").write_text(
            'line-length = 132\n[lint]\nselect = ["E", "F", "W", "I", "B", "UP", "SIM", "PT", "N", "C4", "PL", "ANN"]\n'
        )
    for asked in (["check", "--ignore", "PLR2004,PLC0415,ANN401"], ["format", "--check"]):
        done = subprocess.run([sys.executable, "-m", "ruff", *asked, str(tmp_path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("MyCost", "as 'my-cost'"),
        ("my_cost", "as 'my-cost'"),
        ("my cost", "as 'my-cost'"),
        ("2d", "starts with a letter, as 'my-d'"),
        ("-a", "as 'a'"),
        ("a--b", "as 'a-b'"),
        ("a-", "as 'a'"),
        ("", "as 'my-cost'"),
        ("../a", "as 'a'"),
        ("größe", "as 'gr-e'"),
        ("a" * 51, "51 characters"),
        ("owae-", "found the name ''"),
    ],
)
def test_what_is_no_name_is_refused_with_one_that_would_work(name: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        checked(name, Kind.COST)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("mmd", Kind.DIVERGENCE, "divergence 'mmd' exists already, from owae-mmd"),
        ("digits", Kind.SOURCE, "data 'digits' exists already, from owae-data"),
        ("squared-euclidean", Kind.COST, "from owae; another name"),
        ("train", Kind.COMMAND, "command 'train' exists already, from owae"),
        ("layers", Kind.COST, "'owae-layers' is installed already"),
        ("data", Kind.COMMAND, "'owae-data' is installed already"),
    ],
)
def test_a_name_that_is_taken_is_refused(name: str, kind: Kind, words: str) -> None:
    with pytest.raises(PluginError, match=words):
        checked(name, kind)


@pytest.mark.parametrize("name", ["class", "none", "l3", "w2-2d", "owae-energy", "cost", "tensor"])
def test_keywords_and_digits_are_names(name: str) -> None:
    names = checked(name, Kind.COST)
    assert names.distribution == f"owae-{name.removeprefix('owae-')}"
    for path, text in rendered(names).items():
        if path.endswith(".py"):
            compile(text, path, "exec")


def test_what_exists_is_left_as_it_is(tmp_path: Path) -> None:
    names = checked("twice", Kind.PRIOR)
    folder = write(names, tmp_path / "new" / "folder")
    (folder / "README.md").write_text("mine")
    with pytest.raises(OwaeError, match="exists and is left as it is"):
        write(names, tmp_path / "new" / "folder")
    assert (folder / "README.md").read_text() == "mine"
    (tmp_path / "file").touch()
    with pytest.raises(OwaeError, match="file is no folder"):
        write(names, tmp_path / "file")


BUILD = """
import os, sys, hatchling.build
for folder in sys.argv[2:]:
    os.chdir(folder)
    hatchling.build.build_wheel(sys.argv[1])
"""

EVERY_KIND = """
[data]
kind = "t-source"

[[levels]]
layer = { kind = "t-layer", latent = 8, output = "sigmoid" }

[[levels]]
layer = { kind = "t-layer", latent = 2 }

[weights]
reconstruction = [0.5]
match = 0.5
regulariser = 0.1

[cost]
kind = "t-cost"

[regulariser]
kind = "t-regulariser"

[prior]
kind = "t-prior"

[divergence]
kind = "t-divergence"

[train]
epochs = 1
batch_size = 256
"""


@pytest.mark.slow
def test_packages_of_every_kind_pass_their_tests_install_and_train(tmp_path: Path) -> None:
    made = owae("plugins", "new", "t-command", "--kind", "command", "--into", str(tmp_path))
    assert (made.returncode, made.stdout.strip()) == (0, str(tmp_path / "owae-t-command")), made.stderr
    folders = [write(checked(f"t-{kind}", kind), tmp_path) for kind in KINDS if kind != Kind.COMMAND]
    folders.append(tmp_path / "owae-t-command")

    def run(*arguments: str, path: Path | None = None) -> subprocess.CompletedProcess[str]:
        command, variables = [sys.executable, *arguments], environ(path)
        return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False, cwd=tmp_path, env=variables)

    # Before anything is installed. In one process, to import torch once; each package's own settings say where its module is.
    sources = " ".join(str(folder / "src") for folder in folders)
    tests = [str(folder / "tests") for folder in folders]
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-o", f"pythonpath={sources}", "--rootdir", str(tmp_path)]
    tested = run("-m", "pytest", *options, *tests)
    assert tested.returncode == 0, tested.stdout
    assert "19 passed" in tested.stdout
    # Installed, from wheels that the packages' own build backend makes.
    built = run("-c", BUILD, str(tmp_path / "wheels"), *map(str, folders))
    assert built.returncode == 0, built.stderr
    wheels = sorted(map(str, (tmp_path / "wheels").iterdir()))
    site = tmp_path / "site"
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-index", "--no-deps", "--no-compile"]
    installed = run(*pip, "--target", str(site), *wheels)
    assert installed.returncode == 0, installed.stderr
    # Trained with, all in one stack; then checked, by the name of the distribution and of the component.
    (tmp_path / "every.toml").write_text(EVERY_KIND)
    trained = str(tmp_path / "run")
    ends = several(
        ["plugins", "--json"],
        ["train", str(tmp_path / "every.toml"), "--out", trained],
        ["t-command", trained, "--json"],
        ["plugins", "check", "owae-t-cost"],
        ["plugins", "check", "t-regulariser"],
        path=site,
    )
    for code, _, err in ends:
        assert code == 0, err
    listed, _, counted, *laws = (out for _, out, _ in ends)
    rows = {row["name"]: row for row in json.loads(listed)}
    for kind in KINDS:
        row = rows[f"t-{kind}"]
        assert (row["distribution"], row["status"]) == (f"owae-t-{kind}", "ok")
    assert json.loads(counted) == [64 * 65 + 65 * 16 + 9 * 64 + 65 * 64, 9 * 64 + 65 * 4 + 3 * 64 + 65 * 8]
    assert all("laws hold" in out for out in laws)
