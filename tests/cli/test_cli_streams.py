"""Standard streams that are closed, full or no longer read: no command takes a terminal for granted, and lost results are told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import tiny
from installed import MAIN, environ, install

OWAE = f"'{sys.executable}' -c '{MAIN}'"
COMMANDS = """
import errno, sys

def talks():
    print("a result that is only flushed at the end")

def full():
    open("/dev/full", "w").write("x" * 100_000)

def forbidden():
    raise PermissionError(errno.EACCES, "Permission denied", "/some/where.png")

def unreachable():
    raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
"""

pytestmark = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    names = ("talks", "full", "forbidden", "unreachable")
    install(folder, "owae-p-streams", COMMANDS, commands={name: name for name in names})
    return folder


def shell(site: Path, line: str) -> tuple[int, str, str]:
    variables = environ(site, OWAE_PLUGINS="owae-p-streams")
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=900, env=variables, check=False)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("command", "redirected", "code", "told"),
    [
        ("talks", "> /dev/full", 1, "error: the results could not be written: No space left on device\n"),
        ("--version", "> /dev/full", 1, "error: the results could not be written: No space left on device\n"),
        ("talks", ">&-", 1, "error: the results could not be written: Bad file descriptor\n"),
        ("--version", ">&-", 1, "error: the results could not be written: Bad file descriptor\n"),
        ("talks", ">&- 2>&-", 1, ""),
        ("talks", "2>&-", 0, ""),
        ("--version", "2>&-", 0, ""),
        ("talks", "<&-", 0, ""),
        ("talks", "2>/dev/full", 0, ""),
    ],
)
def test_a_stream_that_is_closed_or_full(site: Path, command: str, redirected: str, code: int, told: str):
    found, out, err = shell(site, f"{OWAE} {command} {redirected}")
    assert (found, err) == (code, told)
    assert bool(out) == (code == 0)


def test_a_reader_that_has_gone_is_no_error(site: Path):
    """Whether the end of the pipe is met while a command writes or when Python ends."""
    assert shell(site, f"({OWAE} talks; echo $? >&2) | true")[1:] in (("", "0\n"), ("", "1\n"))


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [("full", 1, "error: the results could not be written"), ("forbidden", 2, "error: /some/where.png: Permission denied\n")],
)
def test_what_the_system_refuses_is_told_in_one_line(site: Path, command: str, code: int, told: str):
    found, out, err = shell(site, f"{OWAE} {command}")
    assert (found, out, len(err.splitlines())) == (code, "", 1)
    assert err.startswith(told)


def test_other_errors_of_the_system_stay_bugs(site: Path):
    code, _, err = shell(site, f"{OWAE} unreachable")
    assert code == 1
    assert "this is a bug" in err


@pytest.mark.slow
def test_training_without_a_stderr(tmp_path: Path, site: Path):
    """With stdout and stderr closed, files of the run take no number that a library prints to."""
    config = tiny.config(tmp_path, epochs=1)
    line = f"OWAE_PLUGINS=owae-data,owae-mmd,owae-layers {OWAE} train '{config}' --out '{tmp_path / 'run'}'"
    assert shell(site, f"{line} 2>&-") == (0, f"{tmp_path / 'run'}\n", "")
    assert shell(site, f"{line} --overwrite >&- 2>&-") == (1, "", "")
    assert list((tmp_path / "run" / "checkpoints").glob("*.safetensors"))
