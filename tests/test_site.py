"""The documentation site: it builds without a warning, and every hook, interface, component, command and key is on its page."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from owae import Registry, hooks
from owae.cli import available
from owae.config.config import Config
from owae.config.schema import LevelConfig
from owae.config.weights import RULES, Weights
from owae.interfaces import INTERFACES
from owae.registry.options import options_model
from owae.training.options import Options
from owae_dev.reference import pages, slug

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted((ROOT / "docs").glob("*.md"))


@pytest.fixture(scope="module")
def generated(registry: Registry) -> dict[str, str]:
    return pages(registry)


def test_every_key_is_on_the_page_of_keys_with_what_it_is(generated: dict[str, str]) -> None:
    text = generated["keys.md"]
    for model in (Config, LevelConfig, Weights, Options, *RULES.values()):
        for name in model.model_fields:
            assert re.search(rf"^\| `{name}` \|", text, re.MULTILINE) or f'`rule = "{name}"`' in text or name == "rule", name
    for name in Options.model_fields:
        (row,) = re.findall(rf"^\| `{name}` \|.*$", text.partition("## [train]")[2].partition("## best")[0], re.MULTILINE)
        assert len(re.split(r"(?<!\\)\|", row)[-2].strip()) > 10, row


def test_every_component_has_a_page_with_every_option(generated: dict[str, str], registry: Registry) -> None:
    for entry in registry.entries:
        assert f"](components/{slug(entry)}.md)" in generated["components.md"]
        text = generated[f"components/{slug(entry)}.md"]
        assert len(text.split()) > 15
        for option in options_model(entry.cls).model_fields:
            assert f"| `{option}` |" in text, f"{entry.name}: {option}"


def test_every_command_is_on_the_page_of_commands(generated: dict[str, str]) -> None:
    for name in (*available(), "plugins new", "plugins check", "bench divergences"):
        assert f"\n## owae {name}\n" in generated["commands.md"], name


def test_the_page_on_plugins_has_every_hook_and_interface() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text()
    for name in [name for name, value in vars(hooks).items() if hasattr(value, "owae_spec")]:
        assert name in text
    for interface in INTERFACES:
        assert f"`{interface.__name__}`" in text, interface


def test_every_toml_in_the_documents_loads() -> None:
    for path in [*DOCUMENTS, ROOT / "README.md"]:
        for block in re.findall(r"^```toml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
            tomllib.loads(block)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "site.py"), str(tmp_path / "site")], capture_output=True, text=True, timeout=900
    )
    assert built.returncode == 0, built.stderr
    assert built.stdout.strip() == str(tmp_path / "site" / "index.html")
    for page in ("index.html", "searchindex.js", "generated/components/divergence-mmd.html", "generated/keys.html"):
        assert (tmp_path / "site" / page).is_file()
    # Whatever a page loads comes with the site: it is read, and searched, without a network.
    loaded = re.findall(r'<(?:script|link|img)[^>]* (?:src|href)="([^"]+)"', (tmp_path / "site" / "search.html").read_text())
    assert loaded
    assert not [address for address in loaded if "://" in address]
