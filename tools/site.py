"""Builds the documentation site: the documents in docs/ and pages made from the code, by Sphinx, with warnings as errors.

python tools/site.py [OUT]     the site, in build/site unless given
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from owae import Registry
from owae_dev.reference import pages

ROOT = Path(__file__).parent.parent


def stage(folder: Path) -> None:
    """Puts the documents and the generated pages into a folder."""
    shutil.copytree(ROOT / "docs", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("_build", "__pycache__"))
    shutil.copy(ROOT / "CHANGELOG.md", folder / "changelog.md")
    index = folder / "index.md"
    listed = set(index.read_text(encoding="utf-8").split())
    rest = sorted({path.stem for path in folder.glob("*.md")} - listed - {"index"})
    if rest:  # a document that the index does not place is in the contents all the same
        entries = "\n".join(rest)
        with index.open("a", encoding="utf-8") as file:
            file.write(f"\n```{{toctree}}\n:hidden:\n:caption: More\n\n{entries}\n```\n")
    for place, text in pages(Registry.discover()).items():
        path = folder / "generated" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def build(out: Path) -> int:
    """Builds the site into a folder and returns Sphinx's exit code."""
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder, "docs"))
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", f"{folder}/trees"]
        return subprocess.run([*command, f"{folder}/docs", str(out)], check=False).returncode


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "site")
    code = build(out)
    if code == 0:
        sys.stdout.write(f"{out / 'index.html'}\n")
    sys.exit(code)
