"""The options of a training: every key of a config's [train], in one record."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import torch
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, PlainValidator, field_validator

from owae.errors import ConfigError
from owae.registry.problems import STRICT, Info, validated
from owae.training.optimizers import checked_optimizer, checked_schedule

Value = TypeVar("Value")

_RESUMABLE = "may differ between a run and its continuation"
# Marks options that leave the mathematics of the steps already taken as it was.
Resumable = Annotated[Value, _RESUMABLE]

_MOST = 2**53  # what torch and floats can count to
Natural = Annotated[int, Field(ge=0, le=_MOST)]
Count = Annotated[int, Field(ge=1, le=_MOST)]


class Best(BaseModel, frozen=True):
    """The metric by which the best checkpoint is known.

    Attributes:
        metric: A term of the objective on the held-out examples, as in the log.
        mode: Which value is better.
        patience: Validations in a row without a better value after which training stops; None for never.
    """

    model_config = STRICT

    metric: str = "validation/loss"
    mode: Literal["min", "max"] = "min"
    patience: Count | None = None


def _metric_alone(best: Any) -> Any:
    return {"metric": best} if isinstance(best, str) else best


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


class Options(BaseModel, frozen=True):
    """The options of a training. The texts below are those of the table in `docs/config.md`, which is made from them.

    Attributes:
        epochs: passes over the data
        batch_size: rows of a batch, on all devices together, and so what the divergence compares; at least 2, which batch norm and
            an unbiased divergence need
        accumulate: batches whose gradients make a step; costs are means over all their rows, but the divergence and batch norm see
            one batch at a time
        seed: of the parameters, the order of the examples and all noise
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`
        devices: devices of each machine, a process each; `"auto"` for every GPU: [scaling.md](scaling.md)
        nodes: machines: [scaling.md](scaling.md)
        optimizer: any of torch's that a plain loop can step, with its arguments
        schedule: any of torch's that depends on the number of steps alone; stepped once a step, and spanning all of training unless
            told otherwise
        warmup: steps over which the rate rises linearly from nothing to what optimiser and schedule say; the schedule runs on beneath
        clip_gradients: largest norm of the whole gradient
        skip_bad_steps: where the objective or the gradient is not finite, up to so many steps in a row are left out, each with a
            warning, and counted in the log as `skipped`; one more ends training. 0 ends it at the first
        ema: decay of a moving average of the parameters, as 0.999: see below
        precision: `"bf16-mixed"`, `"16-mixed"`: what the networks run in; costs, penalties and divergences are float32 at least
            whatever it says
        compile: whether `torch.compile` translates the encoders and decoders: `true`, `false`, or `"auto"`: on a CUDA device, and
            without if that fails
        memory_format: `"channels_last"` or `"contiguous"` images and filters; `"auto"` is the former on a CUDA device
        checkpoint_activations: a level's activations are computed again in the backward pass instead of kept: about a third more
            time for a fraction of the memory
        deterministic: hold torch to algorithms that give the same bits each time; on a CPU they do anyway
        validation: a share (0.1) or a number (1000) of the training examples to hold out, chosen by `seed`
        validate_every: epochs between looks at them
        best: `{ metric = "validation/loss", mode = "min", patience = 10 }`, or the metric alone: the checkpoint with the lowest value
            (`mode = "max"`: the highest) is kept as `checkpoints/best.safetensors`; with a `patience`, training stops after so
            many looks in a row without a better value
        log_every: steps between lines of `metrics.jsonl` and `metrics.csv`
        pictures_every: epochs between pictures, which the plugin `owae-report` draws; 0 for the end only
        checkpoint_every: epochs between checkpoints
        checkpoint_steps: steps between checkpoints, beside those: for epochs of hours
        checkpoint_minutes: minutes after which a checkpoint is written at the next step, beside those
        keep: checkpoints kept, the newest; the best one is apart from them
        workers: processes that read examples ahead, for sources that decode them one by one; the batches are the same to the bit
        loggers: observers by name, beside the run folder's own files: `["tensorboard"]`, `["wandb"]` or both, with the plugin
            `owae-loggers`
    """

    model_config = STRICT

    epochs: Resumable[Count] = 100
    batch_size: Annotated[int, Field(le=_MOST), AfterValidator(_at_least_two)] = 128
    accumulate: Count = 1
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Resumable[Annotated[str, AfterValidator(_device)]] = "auto"
    devices: Resumable[Count | Literal["auto"]] = 1
    nodes: Resumable[Count] = 1
    optimizer: Annotated[dict[str, Any], PlainValidator(checked_optimizer)] = Field(
        {"name": "Adam", "lr": 1e-3}, validate_default=True
    )
    schedule: dict[str, Any] | None = None
    warmup: Natural = 0
    clip_gradients: Annotated[float, Field(gt=0)] | None = None
    skip_bad_steps: Resumable[Natural] = 0
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    precision: Literal["32", "bf16-mixed", "16-mixed"] = "32"
    compile: Resumable[Literal["auto"] | bool] = "auto"
    memory_format: Resumable[Literal["auto", "contiguous", "channels_last"]] = "auto"
    checkpoint_activations: Resumable[bool] = False
    deterministic: Resumable[bool] = False
    validation: Annotated[int | float, Field(gt=0), AfterValidator(_share_or_count)] | None = None
    validate_every: Resumable[Count] = 1
    best: Resumable[Annotated[Best, BeforeValidator(_metric_alone)] | None] = None
    log_every: Resumable[Count] = 20
    pictures_every: Resumable[Natural] = 5
    checkpoint_every: Resumable[Count] = 1
    checkpoint_steps: Resumable[Count | None] = None
    checkpoint_minutes: Resumable[Annotated[float, Field(gt=0)] | None] = None
    keep: Resumable[Count] = 2
    workers: Resumable[Natural] = 0
    loggers: Resumable[list[str]] = []

    @classmethod
    def checked(cls, **values: Any) -> Options:
        """Checks these values and returns them as options.

        Raises:
            ConfigError: Options are unknown or out of their range; all of them are named.
        """
        values = {name: value.item() if isinstance(value, np.generic) else value for name, value in values.items()}
        options, problems = validated(cls, values)
        if not isinstance(options, cls):
            raise ConfigError(problems)
        return options

    @field_validator("schedule", mode="plain")
    @classmethod
    def _schedule_fits_optimizer(cls, schedule: object, info: Info) -> dict[str, Any] | None:
        return None if schedule is None else checked_schedule(schedule, info.data.get("optimizer"))

    @classmethod
    def resumable(cls) -> frozenset[str]:
        """Names the options that may differ between a run and its continuation."""
        return frozenset(name for name, field in cls.model_fields.items() if _RESUMABLE in field.metadata)
