"""Writes a trained stack as a folder of plain files, and opens it again without running anything that the folder holds.

FOLDER/
├── model.safetensors   the parameters and buffers
├── config.toml         the effective config; of paths to data only the last part
├── config.json         shape, range and class names of the data, versions, step and epoch
├── README.md           a model card: data, settings, scores with their protocol, limits
├── encoder.onnx        where asked for: see `owae_export.onnx`
└── sampler.onnx
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

import owae
from owae.config.build import build_stack
from owae.config.config import Config
from owae.errors import OwaeError, TrainingError
from owae.files import expanded, write_durably
from owae.interfaces import DataSource
from owae.model.stack import Stack
from owae.registry.registry import Registry
from owae.run.opened import Run
from owae_export.card import model_card

MODEL, CONFIG, INFO, CARD = "model.safetensors", "config.toml", "config.json", "README.md"
FORMAT = 1


def export(
    run: Run, folder: str | Path, *, evaluation: Mapping[str, Any] | None = None, onnx: bool = False, overwrite: bool = False
) -> Path:
    """Writes a run's model as a folder that `owae.load` opens.

    Args:
        run: The run; its checkpoint is the model.
        folder: Where; made if it is not there.
        evaluation: Scores for the model card, as `run.evaluate().to_dict()` gives them; without them the card says so.
        onnx: Whether to write `encoder.onnx` and `sampler.onnx` too, each verified against the model.
        overwrite: Whether files of an earlier export may be replaced.

    Returns:
        The folder.

    Raises:
        OwaeError: The folder holds something already or cannot be written, or ONNX cannot hold the model.
    """
    folder = expanded(str(folder))
    files = _contents(run, evaluation)
    if onnx:
        from owae_export.onnx import onnx_files

        files |= onnx_files(run.model)
    if folder.exists() and not folder.is_dir():
        raise OwaeError(f"{folder} is a file; give a folder")
    held = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if held and (not overwrite or INFO not in held):
        how = "--overwrite replaces the files of an export" if INFO in held else "and no export of owae; give another folder"
        raise OwaeError(f"{folder} holds {', '.join(held[:3])}{' …' if len(held) > 3 else ''}; {how}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_durably(folder / name, content)
    except OSError as error:
        raise OwaeError(f"{folder} cannot be written: {error}") from error
    return folder


def _contents(run: Run, evaluation: Mapping[str, Any] | None) -> dict[str, bytes]:
    names = _class_names(run)
    info = {
        "format": FORMAT,
        "library": "owae",
        "shape": list(run.shape),
        "value_range": list(run.value_range),
        "class_names": names,
        "step": run.step,
        "epoch": run.epoch,
        "phases": list(run.phases),
        "versions": {"owae": owae.__version__, "torch": torch.__version__},
        "plugins": sorted({distribution for _, distribution, _ in run.registry.plugins}),
    }
    config = portable(run.config.to_dict())
    state = {name: value.detach().cpu().contiguous().clone() for name, value in run.model.state_dict().items()}
    return {
        MODEL: save(state, {"format": "pt"}),
        CONFIG: tomli_w.dumps(config).encode(),
        INFO: (json.dumps(info, indent=2) + "\n").encode(),
        CARD: model_card(run, config, info, evaluation).encode(),
    }


def _class_names(run: Run) -> list[str] | None:
    try:
        source: DataSource = run.source("test")
    except OwaeError:  # the data need not be there for the model to be taken away
        return None
    return None if source.class_names is None else list(source.class_names)


def portable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a config as TOML values in which absolute paths are cut to their last part: where data lay is nobody's business."""

    def cut(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: cut(item) for key, item in value.items() if item is not None}
        if isinstance(value, list | tuple):
            return [cut(item) for item in value]
        if isinstance(value, Path):
            return value.name
        if isinstance(value, str) and re.match(r"(/|[A-Za-z]:\\).", value):
            return re.split(r"[/\\]", value.rstrip("/\\"))[-1]
        return value

    return cut(config)


def load(folder: str | Path, registry: Registry | None = None) -> Stack:
    """Opens an exported folder, or one on the Hugging Face Hub as "hub:user/name", as a stack on the CPU, ready to use.

    Nothing that the folder holds is run: the config names components of installed plugins, and parameters are a safetensors file.

    Args:
        folder: The folder.
        registry: The components to build from; those of the installed plugins unless given.

    Raises:
        OwaeError: It is no exported folder, is damaged, or needs a component that is not installed.
    """
    text = str(folder)
    if text.startswith("hub:"):
        from owae_export.hub import fetch

        folder = fetch(text.removeprefix("hub:"))
    folder = expanded(str(folder))
    info = read_info(folder)
    registry = Registry.discover() if registry is None else registry
    config = Config.load(folder / CONFIG, registry)
    for name in info["phases"]:
        if name not in config.phases:
            raise TrainingError(f"{folder / INFO} names a phase '{name}', of which config.toml says nothing")
    stack = build_stack(config, registry, tuple(info["shape"]), tuple(info["value_range"]), info["phases"])
    try:
        state = load_file(folder / MODEL)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{folder / MODEL} is damaged or cannot be read: {error}") from error
    _fill(stack, state, folder / MODEL)
    return stack.eval()


def read_info(folder: Path) -> dict[str, Any]:
    """Reads config.json of an exported folder.

    Raises:
        TrainingError: It is not there, or damaged.
    """
    if not all((folder / name).is_file() for name in (MODEL, CONFIG, INFO)):
        raise TrainingError(
            f"{folder} is no exported folder: it needs {MODEL}, {CONFIG} and {INFO}; `owae export RUN FOLDER` makes one"
        )
    try:
        info = json.loads((folder / INFO).read_text())
        if info["format"] != FORMAT:
            raise TrainingError(f"{folder} has format {info['format']}, this owae reads {FORMAT}; another version of owae wrote it")
        valid = all(isinstance(size, int) and size > 0 for size in info["shape"]) and len(info["value_range"]) == 2
        if not valid or not isinstance(info["phases"], list):
            raise ValueError("shape, value_range or phases are not what they must be")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrainingError(f"{folder / INFO} is damaged or cannot be read: {error}") from error
    return info


def _fill(stack: Stack, state: Mapping[str, torch.Tensor], path: Path) -> None:
    own = stack.state_dict()
    missing, unknown = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or unknown:
        what = [f"lacks {name}" for name in missing[:1]] + [f"holds {name}, which the model has not" for name in unknown[:1]]
        raise TrainingError(f"{path} {' and '.join(what)}; it and config.toml are not of one export")
    for name, value in state.items():
        if value.shape != own[name].shape:
            raise TrainingError(f"{path}: {name} is {tuple(value.shape)}, the config's model needs {tuple(own[name].shape)}")
    stack.load_state_dict(dict(state))
