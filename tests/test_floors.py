"""The house's rules that no type checker knows: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "owae").rglob("*.py"))
# From the ground up: a folder or file of the core imports only from those before it, types included.
FLOORS = [
    *("errors", "problems", "files", "distributions", "numerics", "interfaces", "hooks"),
    *("model", "data", "parallel", "training", "registry", "testing", "config", "evaluation", "run", "cli"),
]
FOLDERS = [name for name in FLOORS if (ROOT / "owae" / name).is_dir()]
FOREIGN = {"pykeops", "geomloss", "torchvision", "matplotlib", "optuna", "sklearn", "mlxtend", "ot", "scipy"}


def module(path: Path) -> str:
    """The name under owae: `stack` for owae/model/stack.py, `cli` for all of owae/cli."""
    return path.relative_to(ROOT / "owae").parts[0].removesuffix(".py")


def imports(path: Path, *, top_only: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def floor(name: str) -> int:
    return FLOORS.index(name) if name in FLOORS else -1


@pytest.mark.parametrize(
    "path", [p for p in CORE if module(p) not in ("__init__", "__main__")], ids=lambda p: str(p.relative_to(ROOT))
)
def test_a_module_imports_only_from_below(path: Path):
    own = module(path)
    assert floor(own) >= 0, f"{own} stands on no floor; give it one in FLOORS"
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "owae" or len(parts) < 2 or parts[1] == own or floor(parts[1]) < 0:
            continue
        assert floor(parts[1]) < floor(own), f"{path.relative_to(ROOT)} imports {name} from its own floor or a higher one"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_modules_of_a_folder_import_each_other_in_a_circle(folder: str):
    paths = {path.stem: path for path in (ROOT / "owae" / folder).glob("*.py") if path.stem != "__init__"}
    graph = {}
    for stem, path in paths.items():
        parts = [name.split(".") for name in imports(path) if name.startswith(f"owae.{folder}.")]
        graph[stem] = {part[2] for part in parts if part[2] in paths and part[2] != stem}
    TopologicalSorter(graph).prepare()  # raises a CycleError that names the circle


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_says_what_lives_in_it_and_is_taken_in_at_a_glance(folder: str):
    text = ast.get_docstring(ast.parse((ROOT / "owae" / folder / "__init__.py").read_text())) or ""
    assert "May import:" in text
    assert "Start reading at" in text
    assert len(list((ROOT / "owae" / folder).glob("*.py"))) <= 14


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_core_knows_no_plugin(path: Path):
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in FOREIGN
        assert not top.startswith("owae_"), f"{path} imports the plugin {top}"


def test_the_registry_does_not_know_the_stack():
    for path in (ROOT / "owae" / "registry").glob("*.py"):
        assert not any(name.startswith("owae.model.stack") for name in imports(path))


@pytest.mark.parametrize("path", [p for p in CORE if floor(module(p)) < floor("config")], ids=lambda p: p.name)
def test_nothing_below_config_knows_toml(path: Path):
    assert not any(name.split(".")[0] in ("tomllib", "tomli_w", "tomlkit") for name in imports(path))


# `output` writes pictures; commands import it when they run.
@pytest.mark.parametrize("path", [p for p in CORE if module(p) == "cli" and p.name != "output.py"], ids=lambda p: p.name)
def test_commands_import_nothing_heavy_when_they_are_listed(path: Path):
    for name in imports(path, top_only=True):
        assert name.split(".")[0] not in {"torch", "numpy", "pydantic", "PIL", "jaxtyping", "safetensors"}, name


@pytest.mark.parametrize("path", sorted((ROOT / "plugins").glob("*/src/**/*.py")), ids=lambda p: p.name)
def test_plugins_import_heavy_things_where_they_use_them(path: Path):
    heavy = {"pykeops", "geomloss", "torchvision", "matplotlib", "sklearn", "mlxtend", "ot", "scipy", "umap"}
    assert not {name.split(".")[0] for name in imports(path, top_only=True)} & heavy


def test_no_file_is_long():
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    paths = [ROOT / name for name in tracked] or [p for p in ROOT.rglob("*.py") if ".venv" not in p.parts]
    long = {str(p): lines for p in paths if p.exists() and (lines := len(p.read_text().splitlines())) > 300}
    assert not long


@pytest.mark.parametrize("path", [*CORE, *sorted((ROOT / "plugins").glob("*/src/**/*.py"))], ids=lambda p: p.name)
def test_no_pickle_is_loaded(path: Path):
    names = set(imports(path))
    assert not {name for name in names if name.split(".")[0] in ("pickle", "cloudpickle", "dill", "joblib")}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
            owner = node.func.value
            assert not (isinstance(owner, ast.Name) and owner.id == "torch"), f"{path}: torch.load"
            if isinstance(owner, ast.Name) and owner.id in ("np", "numpy"):
                keywords = {k.arg: k.value for k in node.keywords}
                allowed = keywords.get("allow_pickle")
                refused = isinstance(allowed, ast.Constant) and allowed.value is False
                assert refused, f"{path}: numpy.load must say allow_pickle=False"


def test_the_core_works_without_any_plugin():
    code = (
        "import sys, torch, owae, owae.run.train, owae.evaluation.scores, owae.testing\n"
        "registry = owae.Registry.discover()\n"
        "assert registry.names('cost') == ['euclidean', 'squared-euclidean'], registry.names('cost')\n"
        f"loaded = {{name.split('.')[0] for name in sys.modules}} & {FOREIGN!r}\n"
        "assert not loaded, loaded\n"
    )
    environment = {"OWAE_PLUGINS": "", "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
