"""The parts of a config, and how each is written back."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, Field, model_validator

from owae.model.stack import Space, Target
from owae.registry.options import STRICT, arguments, canonical
from owae.registry.registry import Registry

Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Spec:
    """A component as a config describes it.

    Attributes:
        interface: "layer", "cost", …
        kind: Its name.
        options: Its options, as `owae.registry.options.options_model` of its class.
        values: The same as TOML values.
    """

    interface: str
    kind: str
    options: BaseModel
    values: dict[str, Any] = field(compare=False)

    @classmethod
    def within(cls, folder: Path, interface: str, kind: str, options: BaseModel) -> Spec:
        """A spec whose relative paths are taken relative to a folder."""
        return cls(interface, kind, *canonical(_absolute(options, folder)))

    def create(self, registry: Registry, *engine: Any) -> Any:
        """The component itself, from the engine's arguments and these options."""
        return registry.create(self.interface, self.kind, *engine, **arguments(self.options))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.values}


class LevelOptions(BaseModel, frozen=True):
    """The keys of a level with plain values; see `owae.model.stack.Level`."""

    model_config = STRICT

    space: Space = "latent"
    target: Target = "code"

    @model_validator(mode="after")
    def _data_in_data_space(self) -> LevelOptions:
        if self.target == "data" and self.space == "latent":
            raise ValueError('target = "data" needs space = "data": a prediction in a latent cannot be compared with the data')
        return self


@dataclass(frozen=True)
class LevelConfig:
    """One of [[levels]]; a cost or regulariser of None stands for the top-level one."""

    layer: Spec
    cost: Spec | None = None
    regulariser: Spec | None = None
    options: LevelOptions = field(default_factory=LevelOptions)

    def to_dict(self) -> dict[str, Any]:
        specs = {"layer": self.layer, "cost": self.cost, "regulariser": self.regulariser}
        return {name: spec.to_dict() for name, spec in specs.items() if spec} | self.options.model_dump()


def _device(name: str) -> str:
    if name != "auto":
        try:
            torch.device(name)
        except RuntimeError as error:
            raise ValueError("should be 'auto', 'cpu', 'cuda', 'cuda:0', 'mps' or another device of torch") from error
    return name


def _at_least_two(size: int) -> int:
    if size < 2:
        raise ValueError("should be at least 2: batch norm and an unbiased divergence need two examples")
    return size


def _share_or_count(held_out: float) -> float:
    if held_out < 1:
        return held_out
    if held_out != int(held_out) or held_out < 2:
        raise ValueError("should be a share of the training set, above 0 and below 1, or a whole number of examples from 2 on")
    return int(held_out)


class EarlyStopping(BaseModel, frozen=True):
    """When to stop before the last epoch.

    Attributes:
        metric: A term of the objective on the held-out examples, as in the log.
        patience: Validations in a row without a better value after which training stops.
        mode: Which value is better.
    """

    model_config = STRICT

    metric: str = "validation/loss"
    patience: Count = 10
    mode: Literal["min", "max"] = "min"


class TrainOptions(BaseModel, frozen=True):
    """The keys of [train] with plain values.

    Attributes:
        epochs: Passes over the data.
        batch_size: Examples of a batch, on all devices together: what the divergence sees.
        accumulate: Batches whose gradients make a step.
        seed: Of the parameters, the order of the examples and all noise.
        device: "auto" or the name of a device of torch.
        devices: Devices of each machine, a process each; "auto" for every GPU.
        nodes: Machines.
        strategy: How devices share the work: "ddp", each a part of the batch; "auto" is the same.
        precision: What networks run in; costs and divergences are float32 at least.
        compile: Whether torch.compile translates the networks; "auto" for on a GPU.
        memory_format: How images and filters lie in memory; "auto" is channels_last on a GPU.
        checkpoint_activations: Whether activations are computed again in the backward pass instead of kept.
        deterministic: Whether torch is held to algorithms that give the same bits each time.
        warmup: Steps over which the rate rises linearly.
        clip_gradients: Largest norm of the gradient, or None.
        skip_bad_steps: Steps in a row that are left out where something is not finite, before training stops.
        ema: Decay of the moving average of the parameters that evaluation uses, or None.
        validation: Share or number of training examples held out, or None.
        validate_every: Epochs between looks at them.
        early_stopping: When to stop before the last epoch, or None.
        best: The metric whose lowest value marks the checkpoint kept as the best, or None.
        log_every: Steps between lines of the log.
        pictures_every: Epochs between pictures; 0 for only at the end.
        checkpoint_every: Epochs between checkpoints.
        keep: Checkpoints kept, the newest.
        workers: Processes that read examples, for sources that decode them one by one.
        loggers: Observers by name: where values and pictures go beside the run folder's own files.
    """

    model_config = STRICT

    epochs: Count = 100
    batch_size: Annotated[int, AfterValidator(_at_least_two)] = 128
    accumulate: Count = 1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Annotated[str, AfterValidator(_device)] = "auto"
    devices: Count | Literal["auto"] = 1
    nodes: Count = 1
    strategy: Literal["auto", "ddp"] = "auto"
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    compile: Literal["auto"] | bool = "auto"
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    checkpoint_activations: bool = False
    deterministic: bool = False
    warmup: Annotated[int, Field(ge=0)] = 0
    clip_gradients: Annotated[float, Field(gt=0)] | None = None
    skip_bad_steps: Annotated[int, Field(ge=0)] = 0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    validation: Annotated[int | float, Field(gt=0), AfterValidator(_share_or_count)] | None = None
    validate_every: Count = 1
    early_stopping: EarlyStopping | None = None
    best: str | None = None
    log_every: Count = 20
    pictures_every: Annotated[int, Field(ge=0)] = 5
    checkpoint_every: Count = 1
    keep: Count = 2
    workers: Annotated[int, Field(ge=0)] = 0
    loggers: list[str] = []


def validation_metrics(stacked: int, regularised: bool) -> list[str]:
    """The names under which the log has the objective's terms on held-out examples."""
    terms = ["loss", "transport", "divergence", *(f"cost/{i}" for i in range(stacked))]
    terms += [f"penalty/{i}" for i in range(1, stacked + 1) if regularised]
    return [f"validation/{term}" for term in terms]


class TrainConfig(TrainOptions, frozen=True):
    """The table [train]. `optimizer` and `schedule` hold the `name` of a class of torch, and its arguments."""

    optimizer: dict[str, Any]
    schedule: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        return self.model_dump(exclude_none=True)


def _absolute(value: Any, folder: Path) -> Any:
    """A value, or a model's values, with every relative path in it made absolute."""
    if isinstance(value, Path):
        return folder / os.path.expanduser(value)  # noqa: PTH111 # Path's own raises where there is no such user
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: _absolute(getattr(value, name), folder) for name in value.model_fields_set})
    if isinstance(value, list | tuple):
        return type(value)([_absolute(item, folder) for item in value])
    if isinstance(value, dict):
        return {key: _absolute(item, folder) for key, item in value.items()}
    return value
