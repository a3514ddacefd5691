"""A stranger's package, installed beside owae in a scratch environment, is found, trains from TOML, and passes its own tests.

Offline: the environment sees what is installed here, and its package is built from source by what is installed here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent / "examples" / "plugin"
NAME, DISTRIBUTION = "sliced-example", "owae-sliced-example"

pytestmark = pytest.mark.slow
Python = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, so that building it leaves nothing in the repository."""
    return shutil.copytree(EXAMPLE, tmp_path_factory.mktemp("stranger") / "plugin")


@pytest.fixture(scope="module")
def python(package: Path) -> Python:
    """The interpreter of a scratch environment that has the package and sees everything installed in this one."""
    pytest.importorskip("hatchling", reason="builds the package; install it to run this test")
    folder = package.parent / "environment"
    venv.create(folder, with_pip=False)
    interpreter = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "OWAE_PLUGINS", "PYTHONHOME")}

    def run(*arguments: str, **keywords) -> subprocess.CompletedProcess[str]:
        command = [str(interpreter), *arguments]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=900, env=variables, cwd=package, check=False, **keywords
        )

    site = run("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    # `addsitedir` also follows the links of packages installed in editable mode, as owae itself may be.
    here = sysconfig.get_path("purelib")
    Path(site, "this_environment.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(interpreter)]
    install = [*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation", str(package)]
    installed = subprocess.run(install, capture_output=True, text=True, timeout=900, env=variables, check=False)
    assert installed.returncode == 0, installed.stderr
    assert Path(site, "owae_sliced_example").is_dir()
    return run


def test_it_is_not_installed_here():
    with pytest.raises(metadata.PackageNotFoundError):
        metadata.distribution(DISTRIBUTION)


def test_it_is_listed(python):
    listed = python("-m", "owae", "plugins", "--json")
    assert listed.returncode == 0, listed.stderr
    rows = {row["name"]: row for row in json.loads(listed.stdout)}
    assert rows[NAME] == {"name": NAME, "kind": "divergence", "distribution": DISTRIBUTION, "version": "0.1.0", "status": "ok"}
    assert rows["mlp"]["distribution"] == "owae-layers"


def test_it_trains_from_toml(python, package, tmp_path):
    run = tmp_path / "run"
    trained = python("-m", "owae", "train", "digits.toml", "--out", str(run), "--set", "train.epochs=2")
    assert trained.returncode == 0, trained.stderr
    assert trained.stdout.strip() == str(run)
    assert NAME in (run / "config.toml").read_text()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    values = [line["divergence"] for line in lines if isinstance(line.get("divergence"), float)]
    assert values
    assert all(value > 0 for value in values)
    sampled = python("-m", "owae", "sample", str(run), "-n", "4")
    assert sampled.returncode == 0, sampled.stderr


def test_a_mistake_in_its_options_is_refused_with_its_place(python, tmp_path):
    refused = python("-m", "owae", "train", "digits.toml", "--out", str(tmp_path / "run"), "--set", "divergence.projections=0")
    assert refused.returncode == 2
    assert "divergence.projections" in refused.stderr
    assert not (tmp_path / "run").exists()


def test_its_own_tests_pass(python):
    tested = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert "3 passed" in tested.stdout
