"""Makes installed distributions out of nothing but files, and runs owae's command line as a user does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

MAIN = "from owae.cli import main; main()"
SEVERAL = """
import contextlib, io, json, logging, sys
from owae.cli import main

ends = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    logging.root.handlers.clear()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as end:
            ends.append((end.code or 0, out.getvalue(), err.getvalue()))
json.dump(ends, sys.stdout)
"""


def install(folder: Path, name: str, source: str, *, components: bool = False, commands: dict[str, str] | None = None) -> None:
    """Put a distribution into a folder of `sys.path`.

    Args:
        folder: The folder.
        name: The distribution's name; its one module is the same with underscores.
        source: That module.
        components: Whether it declares itself as a component plugin.
        commands: The commands that it declares, and what each points to within the module.
    """
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    lines = ["[owae]", f"{name} = {module}"] if components else []
    lines += ["[owae.commands]", *(f"{command} = {module}:{target}" for command, target in (commands or {}).items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def owae(*arguments: str, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, with a folder before everything else on its path."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, *arguments], capture_output=True, text=True, timeout=900, env=environ(path, **environment)
    )


def several(*commands: list[str], path: Path | None = None, **environment: str) -> list[tuple[int, str, str]]:
    """Run command lines one after another in one process, which takes longest to start: exit code, stdout and stderr of each."""
    ran = subprocess.run(
        [sys.executable, "-c", SEVERAL, json.dumps(commands)],
        capture_output=True,
        text=True,
        timeout=900,
        env=environ(path, **environment),
    )
    assert ran.returncode == 0, ran.stderr
    return [tuple(end) for end in json.loads(ran.stdout)]


def environ(path: Path | None, **environment: str) -> dict[str, str]:
    """This process's environment, but for what is said."""
    kept = {key: value for key, value in os.environ.items() if key not in ("OWAE_PLUGINS", "NO_COLOR", "FORCE_COLOR")}
    return kept | ({"PYTHONPATH": str(path)} if path else {}) | environment
