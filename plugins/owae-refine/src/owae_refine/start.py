"""Weights of another run to start from: the table [start] of a config."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import Tensor, nn

from owae import Stack
from owae.errors import ConfigError, TrainingError
from owae.interfaces import DataSource, LatentLayer, Phase
from owae.run import checkpoint as checkpoints
from owae.run.folder import CHECKPOINTS
from owae_refine.layers import Frozen

logger = logging.getLogger(__name__)

LISTED = 8  # tensors that a message names
DEEPEST = 4  # wrappers around a layer that are looked through


class Start(Phase):
    """Starts the first training from the weights of another run, all of them or those of some levels, frozen if asked.

    They are taken once, before the first step: a run that has a checkpoint of its own needs the other run no more. Where that run kept a
    moving average of its parameters, the averages are taken. Of a run with further phases it is the first training's weights.

    Args:
        from_: The other run's folder, or one of its checkpoints, a safetensors file.
        levels: The levels, counted from 1, whose layers are taken; all unless given, and then the prior with them, if it fits.
        freeze: Leave these levels as they are, in evaluation mode, while the others are trained.
        checkpoint: The newest checkpoint of the other run, or the best one by its `train.best`.
    """

    name = "start"
    first = True

    def __init__(
        self,
        *,
        from_: Path,
        levels: Annotated[Sequence[Annotated[int, Field(ge=1)]], Field(min_length=1)] | None = None,
        freeze: bool = False,
        checkpoint: Literal["newest", "best"] = "newest",
    ) -> None:
        self.path, self.levels, self.freeze, self.checkpoint = Path(from_), levels, freeze, checkpoint
        self._origin: dict[str, Any] = {}

    def extend(self, stack: Stack) -> Stack:
        """Returns the stack, with the chosen levels frozen if asked for; the other run is not looked at.

        Raises:
            ConfigError: The levels are none of the stack's.
        """
        chosen = self._chosen(stack)
        if not {*chosen} <= {*range(1, stack.depth + 1)}:
            raise ConfigError(f"levels are {list(chosen)}; this stack has {[*range(1, stack.depth + 1)]}")
        for number in chosen if self.freeze else ():
            level: Any = stack.levels[number - 1]
            level.layer = Frozen(level.layer)
        return stack

    def prepare(self, stack: Stack, data: DataSource) -> None:
        """Loads the weights.

        Raises:
            TrainingError: The other run has no whole checkpoint.
            ConfigError: A level's tensors have other names or shapes there; the message names them, and the levels that fit.
        """
        path, state = self._read()
        average = (state.get("average") or {}).get("parameters", {})
        saved = {**state["model"], **average}
        found = {number: _fitting(_bare(stack.layers[number - 1]), saved, number) for number in range(1, stack.depth + 1)}
        chosen = self._chosen(stack)
        faults = [fault for number in chosen for fault in found[number][1]]
        if faults:
            fits = [number for number, (_, wrong) in found.items() if not wrong]
            would = f"levels = {fits} would fit" if fits else "no level of this stack fits"
            more = f"\n  and {len(faults) - LISTED} more" if len(faults) > LISTED else ""
            raise ConfigError(f"start: {path} does not fit: {would}\n  " + "\n  ".join(faults[:LISTED]) + more)
        for number in chosen:
            _bare(stack.layers[number - 1]).load_state_dict(found[number][0])
        others = _others(stack, saved, chosen, everything=self.levels is None)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self._origin = {"from": str(path), "sha256": digest, "step": state["step"], "levels": list(chosen), "others": others}
        also = f", and of {', '.join(others)}" if others else ""
        logger.info("weights of levels %s%s are those of %s%s", list(chosen), also, path, ", frozen" if self.freeze else "")

    def origin(self) -> Mapping[str, Any]:
        return self._origin

    def _chosen(self, stack: Stack) -> Sequence[int]:
        return range(1, stack.depth + 1) if self.levels is None else sorted({*self.levels})

    def _read(self) -> tuple[Path, dict[str, Any]]:
        """Returns the checkpoint and what is in it."""
        if self.path.is_file():
            return self.path, checkpoints.load(self.path)
        folder = self.path / CHECKPOINTS
        if self.checkpoint == "best":
            best = checkpoints.best_path(folder)
            if not best.exists():
                raise TrainingError(f'start: {self.path} keeps no best checkpoint; checkpoint = "newest" would work')
            return best, checkpoints.load(best)
        newest = checkpoints.load_newest(folder)
        if newest is None:
            what = "has no checkpoint" if self.path.is_dir() else "does not exist"
            raise TrainingError(f"start: {self.path} {what}; from takes the folder of a trained run, or a checkpoint in it")
        return newest


def _bare(layer: LatentLayer) -> LatentLayer:
    """Returns a layer without what is wrapped around it."""
    inner: Any = layer
    while isinstance(getattr(inner, "layer", None), LatentLayer):
        inner = inner.layer
    return inner


def _fitting(layer: nn.Module, saved: Mapping[str, Tensor], number: int) -> tuple[dict[str, Tensor], list[str]]:
    """Returns the tensors of a level's layer by their names in the layer, and what is wrong with them, each in a sentence."""
    own = layer.state_dict()
    # Of a layer that was frozen or wrapped there, names begin so often with "layer.".
    prefixes = [f"levels.{number - 1}.layer." + "layer." * depth for depth in range(DEEPEST + 1)]
    prefix = max(prefixes, key=lambda prefix: sum(prefix + name in saved for name in own))
    faults = []
    for name, tensor in own.items():
        other = saved.get(prefix + name)
        if other is None:
            faults.append(f"level {number}: {name} {tuple(tensor.shape)} is not there")
        elif other.shape != tensor.shape:
            faults.append(f"level {number}: {name} is {tuple(tensor.shape)} here and {tuple(other.shape)} there")
    extra = [name for name in saved if name.startswith(prefix) and name.removeprefix(prefix) not in own]
    faults += [f"level {number}: {name.removeprefix(prefix)} {tuple(saved[name].shape)} is only there" for name in extra]
    return {name: saved[prefix + name] for name in own if prefix + name in saved}, faults


def _others(stack: Stack, saved: Mapping[str, Tensor], chosen: Sequence[int], *, everything: bool) -> list[str]:
    """Loads the chosen levels' costs and regularisers, and with all levels prior and divergence, where they fit; returns their names."""
    names = [f"levels.{number - 1}.{part}" for number in chosen for part in ("cost", "regulariser")]
    taken = []
    for name in [*names, *(("prior", "divergence") if everything else ())]:
        module = stack.get_submodule(name) if name in dict(stack.named_modules()) else nn.Module()
        own = module.state_dict()
        there = {key.removeprefix(f"{name}."): value for key, value in saved.items() if key.startswith(f"{name}.")}
        if own and {key: value.shape for key, value in own.items()} == {key: value.shape for key, value in there.items()}:
            module.load_state_dict(there)
            taken.append(name)
    return taken
