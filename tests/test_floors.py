"""The house's rules that no type checker knows: who may import whom, and how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from graphlib import TopologicalSorter
from importlib import metadata
from pathlib import Path

import pytest
import tiny

ROOT = Path(__file__).parent.parent
CORE = sorted((ROOT / "owae").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("*/src/**/*.py"))
# From the ground up: a folder or file of the core imports only from those before it, types included.
FLOORS = [
    *("errors", "streams", "files", "component_checks", "distributions", "tensor_checks", "torch_state", "compilation"),
    *("interfaces", "hooks"),
    *("model", "registry", "data", "parallel", "training", "testing", "config", "run", "cli"),
]
FOLDERS = [name for name in FLOORS if (ROOT / "owae" / name).is_dir()]
FOREIGN = {"pykeops", "geomloss", "torchvision", "matplotlib", "PIL", "optuna", "sklearn", "mlxtend", "ot", "scipy"}


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


def found(paths: Iterable[Path], breaks: Callable[[str], object], *, top_only: bool = False) -> list[str]:
    """Every import that breaks a rule, with its file."""
    return [
        f"{path.relative_to(ROOT)} imports {name}" for path in paths for name in imports(path, top_only=top_only) if breaks(name)
    ]


def test_a_module_imports_only_from_below():
    breaches = []
    for path in CORE:
        own = module(path)
        if own in ("__init__", "__main__"):
            continue
        if own not in FLOORS:
            breaches.append(f"{own} stands on no floor; give it one in FLOORS")
            continue
        above = {*FLOORS[FLOORS.index(own) :]} - {own}
        breaches += found([path], lambda name, above=above: name.startswith("owae.") and name.split(".")[1] in above)
    assert not breaches


def test_no_modules_of_a_folder_import_each_other_in_a_circle():
    for folder in FOLDERS:
        paths = {path.stem: path for path in (ROOT / "owae" / folder).glob("*.py") if path.stem != "__init__"}
        graph = {}
        for stem, path in paths.items():
            parts = [name.split(".") for name in imports(path) if name.startswith(f"owae.{folder}.")]
            graph[stem] = {part[2] for part in parts if part[2] in paths and part[2] != stem}
        TopologicalSorter(graph).prepare()  # raises a CycleError that names the circle


def test_a_folder_says_what_lives_in_it_and_is_taken_in_at_a_glance():
    breaches = []
    for folder in FOLDERS:
        text = ast.get_docstring(ast.parse((ROOT / "owae" / folder / "__init__.py").read_text())) or ""
        breaches += [f"owae/{folder} does not say '{words}'" for words in ("May import:", "Start reading at") if words not in text]
        if (count := len(list((ROOT / "owae" / folder).glob("*.py")))) > 14:
            breaches.append(f"owae/{folder} holds {count} files, more than 14")
    assert not breaches


def test_the_core_knows_no_plugin():
    assert not found(CORE, lambda name: name.split(".")[0] in FOREIGN or name.startswith("owae_"))


def test_the_registry_does_not_know_the_stack():
    assert not found((ROOT / "owae" / "registry").glob("*.py"), lambda name: name.startswith("owae.model.stack"))


def test_nothing_below_config_knows_toml():
    below = [path for path in CORE if module(path) in FLOORS[: FLOORS.index("config")]]
    assert not found(below, lambda name: name.split(".")[0] in ("tomllib", "tomli_w", "tomlkit"))


def test_commands_import_nothing_heavy_when_they_are_listed():
    heavy = {"torch", "numpy", "pydantic", "PIL", "jaxtyping", "safetensors"}
    commands = [path for path in CORE if module(path) == "cli"]
    assert not found(commands, lambda name: name.split(".")[0] in heavy, top_only=True)
    # Those of plugins too, with the packages that they are in.
    modules = sorted({point.module for point in metadata.entry_points(group="owae.commands")})
    program = f"import sys, importlib; [importlib.import_module(name) for name in {modules}]; print(*{heavy} & {{*sys.modules}})"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not run.stdout.strip()


def test_plugins_import_heavy_things_where_they_use_them():
    heavy = {"pykeops", "geomloss", "torchvision", "matplotlib", "sklearn", "mlxtend", "ot", "scipy", "umap"}
    assert not found(PLUGINS, lambda name: name.split(".")[0] in heavy, top_only=True)


def test_nothing_of_posix_alone_is_imported_at_the_top():
    posix = {"fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"}
    assert not found([*CORE, *PLUGINS], lambda name: name.split(".")[0] in posix, top_only=True)


@pytest.mark.slow
def test_a_run_is_made_and_read_where_there_is_no_posix(tmp_path: Path):
    """As on Windows: without those modules, most signals, file locks and folders that can be opened. Every module is imported."""
    tiny.config(tmp_path, epochs=1)
    program = f"""
import importlib, os, pathlib, pkgutil, signal, sys
import torch, lightning_fabric, torch.utils.data, multiprocessing.resource_tracker, numpy, PIL.Image, pydantic, rich.console, typer
import matplotlib.figure, torch._dynamo, multiprocessing.pool
for name in ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty"):
    sys.modules[name] = None
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "pthread_sigmask", "SIGKILL"):
    delattr(signal, name)
opened = os.open
def open_file(path, flags, *more, **options):
    if os.path.isdir(path):
        raise PermissionError(13, "Permission denied", str(path))
    return opened(path, flags, *more, **options)
os.open = open_file
import owae, owae_data, owae_layers, owae_mmd, owae_report, owae_loggers
for package in (owae, owae_data, owae_layers, owae_mmd, owae_report, owae_loggers):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
from owae.run.train import train
registry = owae.Registry.discover(["owae-layers", "owae-mmd", "owae-data", "owae-report", "owae-loggers"])
for overrides in ([], ["train.epochs=2"]):
    config = owae.Config.load({str(tmp_path / "tiny.toml")!r}, registry, overrides)
    run = train(config, registry, out=pathlib.Path({str(tmp_path / "run")!r}), resume=True)
assert run.step == 8
assert run.model.sample(2).isfinite().all() and len(run.source("test"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("cannot be locked") == 2


def test_no_file_is_long():
    tracked = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    paths = [ROOT / name for name in tracked] or [p for p in ROOT.rglob("*.py") if ".venv" not in p.parts]
    long = {str(p): lines for p in paths if p.exists() and (lines := len(p.read_text().splitlines())) > 300}
    assert not long


def test_no_pickle_is_loaded():
    breaches = found([*CORE, *PLUGINS], lambda name: name.split(".")[0] in ("pickle", "cloudpickle", "dill", "joblib"))
    for path in [*CORE, *PLUGINS]:
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call):
                continue
            loader, keywords = ast.unparse(call.func), {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            if loader == "torch.load" and keywords.get("weights_only") != "True":
                breaches.append(f"{path}: torch.load must say weights_only=True")
            if loader in ("np.load", "numpy.load") and keywords.get("allow_pickle") != "False":
                breaches.append(f"{path}: numpy.load must say allow_pickle=False")
    for path in [path for folder in ("owae", "plugins", "tests", "benchmarks", "tools") for path in (ROOT / folder).rglob("*.py")]:
        if re.search(r"\bpickle\.(loads?|Unpickler)\(", path.read_text()):  # tests may write one, to see it refused
            breaches.append(f"{path}: a pickle is loaded")
    assert not breaches


@pytest.mark.slow
def test_the_core_works_without_any_plugin():
    code = (
        "import sys, torch, owae, owae.run.train, owae.model.noise_floor, owae.testing\n"
        "registry = owae.Registry.discover()\n"
        "assert registry.names('cost') == ['euclidean', 'squared-euclidean'], registry.names('cost')\n"
        f"loaded = {{name.split('.')[0] for name in sys.modules}} & {FOREIGN!r}\n"
        "assert not loaded, loaded\n"
    )
    environment = {"OWAE_PLUGINS": "", "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
