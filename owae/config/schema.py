"""The parts of a config: components, levels, and what validating them needs to know of the whole file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, PlainSerializer, PlainValidator, model_validator

from owae.errors import ConfigError, PluginError
from owae.files import expanded
from owae.model.level import CostSpace, CostTarget, conflict
from owae.registry.options import arguments, canonical, options_model
from owae.registry.problems import STRICT, Info, mistake, read, read_tagged, shown
from owae.registry.registry import Registry


@dataclass(frozen=True)
class Context:
    """What validators need to know of the whole file: its values, perhaps with mistakes, the components, and where relative paths begin.

    A validator that depends on another key reads that here: pydantic would keep the other's value back where it holds a mistake, and then
    the order of fields would decide what is told.
    """

    values: Mapping[str, Any]
    registry: Registry
    folder: Path

    @property
    def levels(self) -> list[Any]:
        """The levels, bottom first; none where they are no list."""
        levels = self.values.get("levels")
        return list(levels) if isinstance(levels, list | tuple) else []

    @property
    def matched_level(self) -> int:
        """The level at which stacking stops; 0 if that is not known."""
        matched, depth = self.values.get("matched_level", len(self.levels)), len(self.levels)
        return matched if type(matched) is int and 1 <= matched <= depth else 0

    @property
    def regularised(self) -> bool:
        """Whether any level has a regulariser."""
        return any("regulariser" in table for table in (self.values, *self.levels) if isinstance(table, Mapping))

    @property
    def metrics(self) -> list[str]:
        """The names under which the log has the objective's terms on held-out examples; none where levels are not known."""
        matched = self.matched_level
        terms = ["loss", "transport", "divergence", *(f"cost/{i}" for i in range(matched))]
        terms += [f"penalty/{i}" for i in range(1, matched + 1) if self.regularised]
        return [f"validation/{term}" for term in terms] if matched else []


@dataclass(frozen=True)
class Spec:
    """A component as a config describes it.

    Attributes:
        interface: "layer", "cost", …
        kind: Its name.
        options: Its options, as `owae.registry.options.options_model` of its class; paths are absolute.
        values: The same as TOML values, defaults included.
        first: Whether it is a phase that changes the first training (`owae.interfaces.Phase.first`).
    """

    interface: str
    kind: str
    options: BaseModel
    values: dict[str, Any]
    first: bool = False

    def create(self, registry: Registry, *engine: Any) -> Any:
        """Makes the component, from the engine's arguments and these options."""
        return registry.create(self.interface, self.kind, *engine, **arguments(self.options))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **self.values}


def _component(value: object, info: Info) -> Spec:
    """Validates a component under a key that is called as its interface is."""
    registry, interface = info.context.registry, str(info.field_name)
    names = registry.names(interface)
    if value is None:
        how = (
            "layer = { kind = …, … }" if interface == "layer" else f"[{interface}] with a kind; valid: {', '.join(names) or 'none'}"
        )
        raise mistake(f"is missing; write {how}")
    kind, options = read_tagged(value, "kind", names, lambda kind: options_model(registry.get(interface, kind)))
    return _spec(interface, kind, options, value, info.context)


def _phase(value: object, info: Info) -> Spec:
    """Validates a phase's table, whose key is the phase's name."""
    name = str(info.field_name)
    if not isinstance(value, Mapping):
        raise mistake(f"found {shown(value)}; it should be a table, as [{name}]")
    cls = info.context.registry.get("phase", name)
    spec = _spec("phase", name, read(options_model(cls), value), value, info.context)
    return replace(spec, first=getattr(cls, "first", False))


def _spec(interface: str, kind: str, options: BaseModel, written: object, context: Context) -> Spec:
    try:
        return Spec(interface, kind, *canonical(_absolute(options, written, context.folder)))
    except PluginError as error:
        raise mistake(str(error)) from error


Component = Annotated[Spec, PlainValidator(_component), PlainSerializer(Spec.to_dict)]
Phase = Annotated[Spec, PlainValidator(_phase), PlainSerializer(lambda spec: spec.values)]


class LevelConfig(BaseModel, frozen=True):
    """One of [[levels]]; see `owae.model.stack.Level`. A cost or regulariser of None stands for the top-level one."""

    model_config = STRICT

    layer: Component = Field(default=None, validate_default=True)
    cost: Component | None = None
    regulariser: Component | None = None
    space: CostSpace = "latent"
    target: CostTarget = "code"
    rows: float = 1.0

    @model_validator(mode="after")
    def _consistent(self) -> LevelConfig:
        if found := conflict(self.space, self.target, self.rows):
            raise mistake(found)
        return self


def _absolute(value: Any, written: Any, folder: Path, *place: str | int) -> Any:
    """Returns a value, or a model's values, with every path in it expanded and made absolute.

    `written` is what the config holds for it, since pydantic reads "" as the path "."; the place is for messages.
    """
    if isinstance(value, Path):
        if written == "":
            raise mistake("found an empty path; '.' would mean the config's own folder", *place)
        try:
            return folder / expanded(value)
        except ConfigError as error:
            raise mistake(str(error), *place) from error
    if isinstance(value, BaseModel):
        given = {name: getattr(value, name) for name in value.model_fields_set}
        return value.model_copy(update=_absolute(given, written, folder, *place))
    parts = dict(enumerate(written)) if isinstance(written, list | tuple) else written if isinstance(written, Mapping) else {}
    if isinstance(value, list | tuple):
        return type(value)([_absolute(item, parts.get(i), folder, *place, i) for i, item in enumerate(value)])
    if isinstance(value, dict):
        return {key: _absolute(item, parts.get(key), folder, *place, key) for key, item in value.items()}
    return value
