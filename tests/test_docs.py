"""What the documents show, run: README's Python, its pip lines' paths, its links and its tables."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch

from owae import Config, Registry
from owae.run.train import train
from owae.testing import check_divergence

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text()


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_training_from_python_runs(capsys: pytest.CaptureFixture[str]):
    names: dict = {}
    exec(blocks((ROOT / "docs" / "from-python.md").read_text(), "python")[0], names)
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert names["images"].shape == (16, 1, 8, 8)
    assert [code.shape for code in names["codes"]] == [(512, 8), (512, 2)]
    assert names["blurred"].shape == (512, 1, 8, 8)


def test_the_readmes_divergence_is_one():
    block = blocks(README, "python")[0]
    names: dict = {}
    exec(block, names)
    (cls,) = names["owae_components"]()
    x, y = torch.randn(200, 3), torch.randn(200, 3) + 1
    assert cls()(x, y) > cls()(x, x.flip(0))
    assert cls(scale=2.0)(x, y) == pytest.approx(2 * cls()(x, y).item(), rel=1e-5)
    # cdist's expansion loses digits far from the origin, so the law of translations is not asked of 15 lines.
    check_divergence(cls(), translation_invariant=False)


def test_links_lead_somewhere():
    broken = []
    for path in DOCUMENTS:
        targets = re.findall(r"\]\(([^)#]+)", re.sub(r"`[^`]*`", "", path.read_text()))
        broken += [f"{path.name} links to {to}" for to in targets if "://" not in to and not (path.parent / to).exists()]
    assert not broken


def test_the_table_of_examples_is_whole():
    listed = set(re.findall(r"\(\.\./examples/(\w+\.toml)\)", (ROOT / "docs" / "examples.md").read_text()))
    assert listed == {path.name for path in (ROOT / "examples").glob("*.toml")}


def test_every_command_and_hook_is_documented():
    text = (ROOT / "docs" / "cli.md").read_text()
    for path in (ROOT / "pyproject.toml", *(ROOT / "plugins").glob("*/pyproject.toml")):
        project = tomllib.loads(path.read_text())["project"]
        for name in project.get("entry-points", {}).get("owae.commands", {}):
            assert f"owae {name}" in text
    assert "owae_components" in (ROOT / "docs" / "plugins.md").read_text()


def test_python_in_the_documents_runs():
    for path in DOCUMENTS:
        for block in blocks(path.read_text(), "python") if path.name not in ("README.md", "from-python.md") else ():
            exec(compile(block, str(path), "exec"), {})  # compiled, so that a traceback names the document


def test_the_config_of_the_documents_trains(tmp_path: Path, registry: Registry):
    (config,) = blocks((ROOT / "docs" / "config.md").read_text(), "toml")
    (tmp_path / "documented.toml").write_text(config)
    assert train(Config.load(tmp_path / "documented.toml", registry), registry, out=tmp_path / "run").epoch == 2


def test_the_readmes_config_is_one(registry: Registry):
    values = tomllib.loads(blocks(README, "toml")[0])
    assert len(Config.from_dict(values, registry, folder="/").levels) == 2


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.name)
def test_every_example_is_a_config(path: Path, registry: Registry):
    assert Config.load(path, registry).levels
