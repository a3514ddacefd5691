"""The parts of a config, and how each is written back."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, model_validator

from owae.model.stack import CostSpace, CostTarget
from owae.registry.options import STRICT, arguments, canonical
from owae.registry.registry import Registry


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

    space: CostSpace = "latent"
    target: CostTarget = "code"

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


def validation_metrics(stacked: int, regularised: bool) -> list[str]:
    """The names under which the log has the objective's terms on held-out examples."""
    terms = ["loss", "transport", "divergence", *(f"cost/{i}" for i in range(stacked))]
    terms += [f"penalty/{i}" for i in range(1, stacked + 1) if regularised]
    return [f"validation/{term}" for term in terms]


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
