"""A JSON Schema (draft 2020-12) of configs: the config's own models, and every installed component from its constructor.

It is what an editor can hold against a file while it is written. What reaches beyond one table, as the number of weights,
`owae check` tells.
"""

from __future__ import annotations

import functools
import operator
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, Field, PlainValidator, WithJsonSchema, create_model
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from owae import __version__
from owae.cli import available
from owae.config.config import Config
from owae.config.schema import LevelConfig, Spec
from owae.config.weights import RULES, Weights
from owae.registry.options import options_model
from owae.registry.problems import STRICT
from owae.registry.registry import Registry
from owae.training.options import Options
from owae_dev.docstrings import described

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Lenient(GenerateJsonSchema):
    """Takes what JSON Schema cannot say to be anything: a default that is an object, a type of a plugin's own."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 # as pydantic annotates it

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> dict[str, Any]:
        return {}


def schema(registry: Registry) -> dict[str, Any]:
    """The schema of the configs that a registry's components allow."""
    fields: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        if name == "levels":
            levels = _model("Level", {key: _as_written(key, one, registry) for key, one in LevelConfig.model_fields.items()})
            fields[name] = (Annotated[list[levels], Field(min_length=1)], ...)
        elif name == "weights":
            fields[name] = (_model("Weights", {key: _weighting(key, one) for key, one in Weights.model_fields.items()}), ...)
        elif name == "train":
            fields[name] = (_train(), Field(default=None))
        elif name == "matched_level":
            fields[name] = (Annotated[int, Field(ge=1)], Field(default=None))
        else:
            fields[name] = _as_written(name, field, registry)
    for name in registry.names("phase"):
        fields[name] = (
            options_model(registry.get("phase", name)),
            Field(default=None, description=_summary(registry.get("phase", name))),
        )
    if "sweep" in available():
        fields["sweep"] = (dict[str, Any], Field(default=None, description="What `owae sweep` varies."))
    found = _model("Config", fields).model_json_schema(schema_generator=_Lenient)
    return _without_none(
        {"$schema": DIALECT, "title": f"owae {__version__} config", **{k: v for k, v in found.items() if k != "title"}}
    )


def kinds(interface: str, registry: Registry) -> list[type[BaseModel]]:
    """The tables that name a component of an interface: a model each, whose `kind` is the component's name."""
    clashes = {name for kind, name in registry.clashes() if kind == interface}
    found = []
    for name in registry.names(interface):
        if name in clashes:
            continue
        cls = registry.get(interface, name)
        found.append(_tagged(f"{interface} {name}", options_model(cls), "kind", name, _summary(cls)))
    return found


def _as_written(name: str, field: FieldInfo, registry: Registry) -> Any:
    """A field of a config as a file writes it: a component is one of the tables of its kind."""
    if not _holds_spec(field):
        return (field.annotation, field)
    models = kinds(name, registry)
    required = field.default is None and field.validate_default
    table: Any = _either(models) if models else dict[str, Any]
    return (table, ... if required else Field(default=None))


def _tagged(title: str, options: type[BaseModel], tag: str, name: str, summary: str | None = None) -> type[BaseModel]:
    """Options as a table that also names whose they are."""
    fields: dict[str, Any] = {tag: (Literal[name], ...)}
    return create_model(title, __base__=options, __doc__=summary or options.__doc__, **fields)


def _either(models: list[type[BaseModel]]) -> Any:
    return functools.reduce(operator.or_, models)


def _holds_spec(field: FieldInfo) -> bool:
    annotation = field.annotation
    return annotation is Spec or any(argument is Spec or Spec in get_args(argument) for argument in get_args(annotation))


def _weighting(name: str, field: FieldInfo) -> Any:
    if name == "match":
        return (field.annotation, field) if not field.metadata else (Annotated[float, Field(ge=0)], ...)
    rules = _either([_tagged(rule, model, "rule", rule) for rule, model in RULES.items()])
    weight = Annotated[float, Field(ge=0)]
    return (rules | list[weight] | weight, Field(default=None))


def _train() -> Any:
    """[train] as a file writes it: its options are all optional, and `best` may be the metric alone."""
    texts = described(Options)
    named = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    table = Annotated[dict, PlainValidator(lambda value: value), WithJsonSchema(named)]
    fields: dict[str, Any] = {}
    for name, field in Options.model_fields.items():
        annotation: Any = field.annotation
        if name in ("optimizer", "schedule"):
            annotation = table
        elif name == "best":
            annotation = annotation | str
        if field.metadata:
            annotation = Annotated[(annotation, *field.metadata)]
        default = field.default if isinstance(field.default, str | int | float | bool) else None
        fields[name] = (annotation, Field(default=default, description=texts.get(name)))
    return _model("Train", fields)


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n\n")[0].replace("\n", " ")


def _model(name: str, fields: dict[str, Any]) -> Any:
    return create_model(name, __config__=STRICT, **fields)


def _without_none(value: Any) -> Any:
    """The schema without null: TOML has none, and a key that is not set is left out."""
    if isinstance(value, list):
        return [_without_none(item) for item in value if item != {"type": "null"}]
    if not isinstance(value, dict):
        return value
    kept = {key: _without_none(item) for key, item in value.items() if not (key == "default" and item is None)}
    choices = kept.get("anyOf")
    if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict):
        del kept["anyOf"]
        kept = {**choices[0], **kept}
    return kept
