"""A tiny sweep's config, and a database server on loopback."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fixtures import command
from processes import free_port
from sweeps import write_config

__all__ = ["command"]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a database of a PostgreSQL server of the tests' own, which listens on loopback."""
    found = [Path(path) for path in (shutil.which("postgres"), *sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))) if path]
    if not found:
        missing = "PostgreSQL is not installed: Debian's package postgresql would do"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    programs = found[-1].parent
    folder = tmp_path_factory.mktemp("postgresql")
    as_user: list[str] = []
    if getpass.getuser() == "root":  # the server refuses to run as root; its package brings a user
        as_user = ["runuser", "-u", "postgres", "--"]
        for each in (folder, *folder.parents):
            if str(each).startswith("/tmp"):
                each.chmod(each.stat().st_mode | 0o711)
        shutil.chown(folder, "postgres", "postgres")
    port = free_port()
    data = folder / "data"
    run = [*as_user, str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "owae", "--no-sync"]
    subprocess.run(run, check=True, capture_output=True, cwd=folder)
    control = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w", "-t", "300"]
    options = f"-h 127.0.0.1 -p {port} -k {folder} -F"
    subprocess.run(
        [*control, "-l", str(folder / "log"), "-o", options, "start"],
        check=True,
        cwd=folder,
        stdout=subprocess.DEVNULL,
        timeout=900,
    )
    try:
        yield f"postgresql+psycopg://owae@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=False, cwd=folder, stdout=subprocess.DEVNULL)
