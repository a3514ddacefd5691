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

# What a reader's environment brings once active, made of what is here: the machine may have no index to install from.
READER = """
python() { "$READERS" "$@"; }
owae() { "$READERS" -m owae "$@"; }
pip() { "$OURS" -m pip --python "$READERS" --disable-pip-version-check "$@" -q --no-index --no-deps --no-build-isolation; }
"""


@pytest.mark.slow
def test_the_commands_of_the_page_run(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="builds the package; install it to run this test")
    blocks = re.findall(r"^```(console|python)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (first, begin), (second, module), (third, go_on) = blocks[:3]
    assert (first, second, third) == ("console", "python", "console")
    (tmp_path / "module.py").write_text(module)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(READER)
    written = f"cp {tmp_path}/module.py src/owae_my_distance/__init__.py\n"
    commands = "set -e\n" + begin.replace("$ ", "") + written + go_on.replace("$ ", "")
    venv.create(tmp_path / "environment", with_pip=False)
    python = tmp_path / "environment" / "bin" / "python"
    site = tmp_path / f"environment/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    (site / "here.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    ran = subprocess.run(
        ["bash", "-c", commands],
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
    assert re.search(r"^my-distance power=1.5 .* 128 ", ran.stdout, re.MULTILINE), ran.stdout
    assert (tmp_path / "owae-my-distance" / "run" / "checkpoints").is_dir()
