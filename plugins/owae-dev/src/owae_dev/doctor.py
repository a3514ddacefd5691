"""What an installation can do: each finding is of one part, whether it works, and what is done without it."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from owae.registry.discovery import reason
from owae.registry.registry import Registry

State = Literal["ok", "fallback", "absent", "failed"]


@dataclass(frozen=True)
class Finding:
    """One part of an installation.

    Attributes:
        part: What was looked at.
        state: "ok"; "fallback", if something else is used in its place; "absent", if it is optional and not there; "failed".
        found: What there is.
        instead: What happens without it, and what would bring it; empty where it works.
    """

    part: str
    state: State
    found: str
    instead: str = ""

    def as_json(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        line = f"{self.state:<8}  {self.part}: {self.found}"
        return f"{line}\n          → {self.instead}" if self.instead else line


def findings() -> list[Finding]:
    """Looks at every part. A part whose look fails is a finding, and stops no other."""
    found: list[Finding] = []
    for look in (_python, _torch, _devices, _inductor, _keops, _geomloss, _data, _plugins):
        try:
            found += look()
        except Exception as error:
            found.append(Finding(look.__name__.strip("_"), "failed", reason(error)))
    return found


def _python() -> Iterator[Finding]:
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}")


def _torch() -> Iterator[Finding]:
    import torch

    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores"
    yield Finding("torch", "ok", f"{torch.__version__}, {threads}")


def _devices() -> Iterator[Finding]:
    import torch

    from owae.parallel.devices import choose_device

    count = torch.cuda.device_count()
    for i in range(count):
        memory = torch.cuda.get_device_properties(i).total_memory / 2**30
        yield Finding(f"cuda:{i}", "ok", f"{torch.cuda.get_device_name(i)}, {memory:.0f} GiB")
    if not count:
        built = torch.version.cuda or getattr(torch.version, "hip", None)
        why = "no GPU is seen by torch" if built else "this torch is built for the CPU alone"
        yield Finding("cuda", "absent", why)
    if torch.backends.mps.is_available():
        yield Finding("mps", "ok", "Apple's GPU")
    yield Finding("device = 'auto'", "ok", f"is {choose_device('auto')}")


def _compiler() -> str | None:
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++", "cl"]
    return next((path for name in names if name and (path := shutil.which(name))), None)


def _inductor() -> Iterator[Finding]:
    compiler = _compiler()
    eager = (
        "`compile = true` and the compiled kernels of owae-mmd run eagerly, slower and with the same results; install g++ or clang"
    )
    if compiler is None:
        yield Finding("C++ compiler", "fallback", "none found", eager)
        yield Finding("torch.compile", "fallback", "needs a C++ compiler on a CPU", eager)
        return
    yield Finding("C++ compiler", "ok", compiler)
    why = _tried(_compile)
    yield Finding("torch.compile", "fallback", why, eager) if why else Finding("torch.compile", "ok", "compiles a function")


def _compile() -> None:
    import torch

    def function(x: Any) -> Any:
        return (x * 2 + 1).sin().sum()

    x = torch.arange(8.0)
    compiled = torch.compile(function)(x)
    if not torch.allclose(compiled, function(x)):
        raise RuntimeError("a compiled function gives another result")


def _keops() -> Iterator[Finding]:
    without = "mmd computes in tiles, by torch.compile or plain torch, and refuses backend = 'keops'"
    if (version := _version("pykeops")) is None:
        yield Finding("KeOps", "absent", "pykeops is not installed", f"{without}; pip install pykeops would bring it")
        return
    folder = Path(os.environ.get("KEOPS_CACHE_FOLDER") or Path.home() / ".cache" / f"keops{version}")
    moved = f"{without}; KEOPS_CACHE_FOLDER moves the cache"
    if why := unwritable(folder):
        yield Finding("KeOps", "fallback", f"its cache {folder} cannot be written: {why}", moved)
        return
    if " " in str(folder):
        yield Finding("KeOps", "fallback", f"its cache {folder} has a space in its path", moved)
        return
    if _compiler() is None:
        yield Finding("KeOps", "fallback", f"{version}, without a C++ compiler", f"{without}; install g++ or clang")
        return
    why = _tried(_sum_by_keops)
    yield Finding("KeOps", "fallback", why, without) if why else Finding("KeOps", "ok", f"{version}, compiles, cache in {folder}")


def _sum_by_keops() -> None:
    import torch

    lazy = importlib.import_module("pykeops.torch").LazyTensor
    x = torch.rand(4, 2)
    found = ((lazy(x[:, None, :]) - lazy(x[None, :, :])) ** 2).sum(-1).sum(1).sum()
    if not torch.isclose(found, (x[:, None] - x[None]).square().sum()):
        raise RuntimeError("a sum over pairs is wrong")


def _geomloss() -> Iterator[Finding]:
    if (version := _version("geomloss")) is None:
        yield Finding("geomloss", "absent", "is not installed", "the divergence sinkhorn cannot be used; pip install owae-sinkhorn")
        return
    large = (
        "tensors to 5,000 × 5,000 pairs, KeOps beyond" if _version("pykeops") else "tensors alone, since pykeops is not installed"
    )
    yield Finding("geomloss", "ok", f"{version}, {large}")


def _data() -> Iterator[Finding]:
    # As owae-data chooses it.
    given = os.environ.get("OWAE_DATA")
    cache = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    home = Path(given) if given else Path(cache) / "owae"
    why = unwritable(home)
    if why:
        yield Finding("data folder", "failed", f"{home} cannot be written: {why}", "sets that are downloaded need `root` in [data]")
    else:
        yield Finding("data folder", "ok", str(home))
    free = shutil.disk_usage(_existing(home)).free / 2**30
    state = "ok" if free > 2 else "failed"
    yield Finding("free space there", state, f"{free:.1f} GiB", "" if state == "ok" else "SVHN and CelebA take 1.5 GB each")


def _plugins() -> Iterator[Finding]:
    registry = Registry.discover()
    for name, distribution, version in registry.plugins:
        brought = [
            f"{entry.interface} {entry.name}"
            for entry in registry.entries
            if (entry.plugin, entry.distribution) == (name, distribution)
        ]
        if brought:
            yield Finding(f"plugin {distribution or name} {version}".rstrip(), "ok", ", ".join(brought))
    for failure in registry.failures:
        instead = "its components cannot be used; everything else can"
        yield Finding(f"plugin {failure.distribution or failure.plugin}", "failed", failure.reason, instead)
    for (interface, name), owners in registry.clashes().items():
        claims = " and ".join(owner.distribution or owner.plugin for owner in owners)
        yield Finding(f"{interface} {name}", "failed", f"is claimed by {claims}", "uninstall one, or name plugins in OWAE_PLUGINS")


def unwritable(folder: Path) -> str:
    """Why nothing can be written into a folder, or it cannot be made; empty if it can. Nothing is left behind."""
    try:
        with tempfile.TemporaryFile(dir=_existing(folder)):
            return ""
    except OSError as error:
        return error.strerror or str(error)


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _tried(action: Callable[[], None]) -> str:
    try:
        action()
    except Exception as error:
        return reason(error)[:300]
    return ""
