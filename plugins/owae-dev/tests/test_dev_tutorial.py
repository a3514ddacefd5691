"""The page on plugins shows commands from nothing to a measured divergence; they run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from installed import environ

PAGE = Path(__file__).parents[3] / "docs" / "plugins.md"

# What a reader has on the path, made of what is here: the machine may have no index to install from.
READER = """set -e
python() { "$READERS" "$@"; }
owae() { "$READERS" -m owae "$@"; }
pip() { "$OURS" -m pip --python "$READERS" --disable-pip-version-check "$@" -q --no-index --no-deps --no-build-isolation; }
"""


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="builds the package; install it to run this test")
    commands = [
        line.removeprefix("$ ") for line in re.findall(r"^```console\n(.*?)^```", PAGE.read_text(), re.M | re.S)[0].splitlines()
    ]
    assert len(commands) == 7
    venv.create(tmp_path / "environment", with_pip=False)
    python = tmp_path / "environment" / "bin" / "python"
    site = tmp_path / f"environment/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    (site / "here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    ran = subprocess.run(
        ["bash", "-c", READER + "\n".join(commands)],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        cwd=tmp_path,
        env=environ(None, READERS=str(python), OURS=sys.executable),
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout
    assert "laws hold" in ran.stdout
    assert re.search(r"^my-distance .* 128 ", ran.stdout, re.MULTILINE), ran.stdout
    assert (tmp_path / "owae-my-distance" / "run" / "checkpoints").is_dir()
