"""Prints pip constraints that hold every direct dependency of the core and of the plugins to the lowest version it allows."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def lowest() -> dict[str, str]:
    """Each dependency and its lowest version: the highest of the lower bounds, where several projects name it."""
    found: dict[str, str] = {}
    for path in (ROOT / "pyproject.toml", *sorted((ROOT / "plugins").glob("*/pyproject.toml"))):
        for text in tomllib.loads(path.read_text(encoding="utf-8"))["project"].get("dependencies", []):
            match = re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*>=\s*([0-9.]+)", text)
            if match is None:
                sys.exit(f"{path}: '{text}' has no lowest version; write name>=version")
            name, version = match[1].lower(), match[2]
            if not name.startswith("owae"):
                found[name] = max(found.get(name, version), version, key=lambda one: [int(part) for part in one.split(".")])
    return found


if __name__ == "__main__":
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(lowest().items()))
