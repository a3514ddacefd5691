"""The release script: what it refuses before anything is built, and that refusing changes nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from owae import __version__

SCRIPT = Path(__file__).parent.parent / "tools" / "release.sh"
IDENTITY = {f"GIT_{who}_{what}": "someone@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
NO_SETTINGS = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}

pytestmark = pytest.mark.skipif(not (shutil.which("git") and shutil.which("bash")), reason="needs git and bash")


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | IDENTITY | NO_SETTINGS
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=900)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository that can be released."""
    for name, text in {
        "owae/__init__.py": '__version__ = "1.2.3"\n',
        "CHANGELOG.md": "# Changelog\n\n## 1.2.3, 1 May 2027\n\n- A change.\n",
        "Makefile": "lint types test dist:\n\t@touch made\n\t@false\n",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    (tmp_path / "tools").mkdir()
    shutil.copy(SCRIPT, tmp_path / "tools")
    for command in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "All")):
        assert run(tmp_path, "git", *command).returncode == 0
    return tmp_path


def commit(project: Path, name: str, text: str) -> None:
    (project / name).write_text(text)
    assert run(project, "git", "commit", "-q", "-a", "-m", "A change").returncode == 0


def refused(project: Path) -> str:
    """What the script says, which must end with code 2, having built and tagged nothing."""
    tags = run(project, "git", "tag").stdout
    ran = run(project, "bash", "tools/release.sh")
    assert ran.returncode == 2, ran
    assert not (project / "made").exists()
    assert run(project, "git", "tag").stdout == tags
    return ran.stderr


def test_a_clean_tree_with_a_dated_heading_can_be_released(project: Path) -> None:
    checked = run(project, "bash", "tools/release.sh", "--check")
    assert (checked.returncode, checked.stdout) == (0, "1.2.3 can be released\n")


def test_a_change_or_a_new_file_makes_a_dirty_tree(project: Path) -> None:
    (project / "new.py").write_text("")
    assert "the tree is dirty" in refused(project)
    (project / "new.py").unlink()
    (project / "CHANGELOG.md").write_text("## 1.2.3, today\n")
    assert "the tree is dirty" in refused(project)


def test_a_version_is_tagged_once(project: Path) -> None:
    assert run(project, "git", "tag", "v1.2.3").returncode == 0
    assert "the tag v1.2.3 exists; raise __version__" in refused(project)


def test_the_changelog_must_name_the_version_itself_with_a_date(project: Path) -> None:
    commit(project, "CHANGELOG.md", "## 1.2.3, unreleased\n")
    assert "calls 1.2.3 unreleased" in refused(project)
    for other in ("## 1.2.30, 1 May 2027\n", "## 1x2x3, 1 May 2027\n", "## 1.2.2, 1 May 2027\n"):
        commit(project, "CHANGELOG.md", other)
        assert "has no heading for 1.2.3" in refused(project)


def test_no_version_is_no_release(project: Path) -> None:
    commit(project, "owae/__init__.py", "version = 1\n")
    assert "has no __version__" in refused(project)


def test_a_failing_test_leaves_no_tag(project: Path) -> None:
    ran = run(project, "bash", "tools/release.sh")
    assert ran.returncode != 0
    assert (project / "made").exists()
    assert not run(project, "git", "tag").stdout


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {__version__}\n" in (SCRIPT.parent.parent / "CITATION.cff").read_text()
