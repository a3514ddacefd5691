"""The options of a training: one record for `fit` and for the table [train] of a config."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator

from owae.errors import ConfigError
from owae.registry.options import STRICT, validated

logger = logging.getLogger(__name__)

Count = Annotated[int, Field(ge=1)]
RESUMABLE = "resumable"
"""Marks an option that may differ between a run and its continuation: it leaves the steps already taken as they were."""


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


class Best(BaseModel, frozen=True):
    """Which checkpoint is kept as the best, and whether training stops when none is better.

    Attributes:
        metric: A term of the objective on the held-out examples, as in the log.
        mode: Which value is better.
        patience: Validations in a row without a better value after which training stops; never unless given.
    """

    model_config = STRICT

    metric: str = "validation/loss"
    mode: Literal["min", "max"] = "min"
    patience: Count | None = None


class Options(BaseModel, frozen=True):
    """How to train.

    Attributes:
        epochs: Passes over the data.
        batch_size: Examples of a batch, on all devices together: what the divergence sees.
        accumulate: Batches whose gradients make a step. Costs are means over all of them; the divergence sees one at a time.
        optimizer: The `name` of a class of torch, and its arguments.
        schedule: The `name` of a schedule of torch and its arguments, stepped once a step; or None.
        warmup: Steps over which the rate rises linearly.
        clip_gradients: Largest norm of the whole gradient, or None.
        skip_bad_steps: Steps in a row that are left out where something is not finite, before training stops.
        ema: Decay of the moving average of the parameters that evaluation uses, or None.
        seed: Of the parameters, the order of the examples and all noise.
        device: "auto" or the name of a device of torch.
        devices: Devices of each machine, a process each; "auto" for every GPU.
        nodes: Machines.
        precision: What networks run in; costs and divergences are float32 at least.
        compile: Whether torch.compile translates the networks; "auto" for on a GPU.
        memory_format: How images and filters lie in memory; "auto" is channels_last on a GPU.
        checkpoint_activations: Whether activations are computed again in the backward pass instead of kept: memory for time.
        deterministic: Whether torch is held to algorithms that give the same bits each time.
        workers: Processes that read examples, for sources that decode them one by one.
        validation: Share or number of training examples held out, or None.
        validate_every: Epochs between looks at them.
        best: Which checkpoint is kept as the best by these looks, and when training stops early; or None.
        log_every: Steps between lines of the log.
        pictures_every: Epochs between pictures; 0 for only at the end.
        checkpoint_every: Epochs between checkpoints.
        keep: Checkpoints kept, the newest.
        loggers: Where values and pictures go beside the run folder's own files.
    """

    model_config = STRICT

    epochs: Annotated[Count, RESUMABLE] = 100
    batch_size: Annotated[int, AfterValidator(_at_least_two)] = 128
    accumulate: Count = 1
    optimizer: dict[str, Any] = Field(default_factory=lambda: {"name": "Adam", "lr": 1e-3})
    schedule: dict[str, Any] | None = None
    warmup: Annotated[int, Field(ge=0)] = 0
    clip_gradients: Annotated[float, Field(gt=0)] | None = None
    skip_bad_steps: Annotated[int, Field(ge=0), RESUMABLE] = 0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Annotated[str, AfterValidator(_device), RESUMABLE] = "auto"
    devices: Annotated[Count | Literal["auto"], RESUMABLE] = 1
    nodes: Annotated[Count, RESUMABLE] = 1
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    compile: Annotated[Literal["auto"] | bool, RESUMABLE] = "auto"
    memory_format: Annotated[Literal["auto", "contiguous", "channels_last"], RESUMABLE] = "auto"
    checkpoint_activations: Annotated[bool, RESUMABLE] = False
    deterministic: Annotated[bool, RESUMABLE] = False
    workers: Annotated[int, Field(ge=0), RESUMABLE] = 0
    validation: Annotated[int | float, Field(gt=0), AfterValidator(_share_or_count)] | None = None
    validate_every: Annotated[Count, RESUMABLE] = 1
    best: Annotated[Best | None, RESUMABLE] = None
    log_every: Annotated[Count, RESUMABLE] = 20
    pictures_every: Annotated[int, Field(ge=0), RESUMABLE] = 5
    checkpoint_every: Annotated[Count, RESUMABLE] = 1
    keep: Annotated[Count, RESUMABLE] = 2
    loggers: Annotated[list[str], RESUMABLE] = []

    @model_validator(mode="before")
    @classmethod
    def _keys_of_old(cls, values: Any) -> Any:
        """Understands the keys of version 0.1.0 that have gone."""
        if not isinstance(values, dict) or not {"strategy", "early_stopping"} & values.keys():
            return values
        values = dict(values)
        if values.pop("strategy", None) is not None:
            logger.info("train.strategy is left out: several devices always share each batch")
        if (stopping := values.pop("early_stopping", None)) is not None:
            logger.info("train.early_stopping is now train.best with a patience")
            values["best"] = {"patience": 10, **stopping}
        return values

    @field_validator("best", mode="before")
    @classmethod
    def _metric_alone(cls, value: Any) -> Any:
        return {"metric": value} if isinstance(value, str) else value

    @classmethod
    def checked(cls, **values: Any) -> Options:
        """The options with these values.

        Raises:
            ConfigError: An option is unknown or out of its range; all that is wrong is said.
        """
        options, problems = validated(cls, values)
        if not isinstance(options, cls):
            raise ConfigError(problems)
        return options

    @classmethod
    def resumable(cls) -> frozenset[str]:
        """The names of the options that may differ between a run and its continuation."""
        return frozenset(name for name, field in cls.model_fields.items() if RESUMABLE in field.metadata)
