"""The constructor is the schema: a component's keyword arguments as a strict pydantic model, and its errors in our words."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticSerializationError
from torch import nn

from owae.errors import PluginError, Problem, suggestion
from owae.interfaces import INTERFACES, Component

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=())


@cache
def options_model(cls: type) -> type[BaseModel]:
    """The options of a class: its constructor's keyword-only arguments, with their annotations and defaults.

    Positional-only arguments are the engine's and do not appear.

    Raises:
        TypeError: An argument is neither positional-only nor keyword-only, or an annotation does not resolve.
    """
    # The class wrote no constructor. Looked up here, since torch.compile puts another in the place of nn.Module's.
    if cls.__init__ in (object.__init__, nn.Module.__init__):
        return create_model(f"{cls.__name__}Options", __config__=STRICT)
    try:
        hints = get_type_hints(cls.__init__, include_extras=True)
    except NameError as error:
        raise TypeError(f"{cls.__name__}.__init__ has an annotation that does not resolve: {error}") from error
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        if parameter.name == "kind":
            raise TypeError(f"{cls.__name__}.__init__ takes 'kind', which in a config names the component itself")
        if parameter.kind is parameter.KEYWORD_ONLY:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints.get(parameter.name, Any), default)
        elif parameter.kind is not parameter.POSITIONAL_ONLY:
            raise TypeError(
                f"{cls.__name__}.__init__ takes '{parameter.name}', "
                "which is neither the engine's (before a '/') nor an option (after a '*')"
            )
    return create_model(f"{cls.__name__}Options", __config__=STRICT, **fields)


def breach(cls: object) -> str:
    """How a class breaks the contract of a component, in words; empty where it does not."""
    if not isinstance(cls, type) or not issubclass(cls, Component) or not hasattr(cls, "interface"):
        return f"{cls!r} is not a subclass of {', '.join(interface.__name__ for interface in INTERFACES)}"
    if not isinstance(getattr(cls, "name", None), str):
        return f"{cls.__name__} has no `name`: the string that a config writes after `kind =`"
    if inspect.isabstract(cls):
        return f"{cls.__name__} leaves {', '.join(sorted(cls.__abstractmethods__))} unwritten"
    try:
        options_model(cls)
    except Exception as error:  # whatever an annotation does when it is read
        return str(error)
    return ""


def validated(model: type[BaseModel], values: Mapping[str, Any], place: str = "") -> tuple[BaseModel | None, list[Problem]]:
    """The values as an instance of the model, or every mistake in them."""
    try:
        # JSON mode is as strict about numbers, but lets an array be a tuple and a string a path, as in a TOML file.
        return model.model_validate_json(json.dumps(values, default=str)), []
    except ValidationError as error:
        return None, list(_problems(error, model, values, place))


def arguments(options: BaseModel) -> dict[str, Any]:
    """Options as the component's constructor takes them."""
    return {name: getattr(options, name) for name in type(options).model_fields}


def canonical(options: BaseModel) -> tuple[BaseModel, dict[str, Any]]:
    """The options as a file can say them, defaults included, and the model read back from that.

    A default that TOML cannot express (None, an infinity, an object) is left out; reading the file gives it again.

    Raises:
        PluginError: A default does not fit its own annotation.
    """
    values: dict[str, Any] = {}
    for name in type(options).model_fields:
        try:
            value = options.model_dump(mode="json", include={name}, exclude_none=True, warnings=False).get(name)
        except PydanticSerializationError:
            continue
        if name in options.model_fields_set or _expressible(value):
            values[name] = value
    try:
        return type(options).model_validate_json(json.dumps(values)), values
    except ValidationError as error:
        faults = "; ".join(str(problem) for problem in _problems(error, type(options), values, ""))
        raise PluginError(f"{type(options).__name__}: a default does not fit its own annotation: {faults}") from error


def _expressible(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_expressible(item) for item in value.values())
    if isinstance(value, list):
        return all(_expressible(item) for item in value)
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def join(place: str, *parts: str | int) -> str:
    """A place within a place.

    >>> join("levels", 0, "layer", "hidden")
    'levels[0].layer.hidden'
    """
    for part in parts:
        place = f"{place}[{part}]" if isinstance(part, int) else f"{place}.{part}" if place else str(part)
    return place


def _problems(error: ValidationError, model: type[BaseModel], values: Mapping[str, Any], place: str) -> Iterator[Problem]:
    # The members of a union each have their say about one place; a user reads them as one sentence.
    said: dict[str, list[str]] = {}
    for detail in error.errors():
        # Pydantic adds the member of a union to the place; only the parts that exist in the values mean anything to a user.
        at = join(place, *_existing(detail["loc"], values, keep_last=detail["type"] in ("missing", "extra_forbidden")))
        messages = said.setdefault(at, [])
        message = _message(detail, model)
        if message not in messages:
            messages.append(message)
    for at, messages in said.items():
        found, _, _ = messages[0].partition("; ")
        yield Problem(at, "; or ".join([messages[0], *(message.removeprefix(f"{found}; ") for message in messages[1:])]))


def _existing(loc: tuple[str | int, ...], values: Any, *, keep_last: bool) -> list[str | int]:
    kept: list[str | int] = []
    for i, part in enumerate(loc):
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            if keep_last and i == len(loc) - 1:
                kept.append(part)
            continue
        kept.append(part)
    return kept


def _message(detail: ErrorDetails, model: type[BaseModel]) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        *path, name = detail["loc"]
        return f"unknown {'key' if path else 'option'}; {suggestion(str(name), _valid_keys(model, path))}"
    if kind == "missing":
        return "is missing; it has no default"
    found = shown(detail["input"])
    text = detail["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if kind == "literal_error":
        expected = str(detail.get("ctx", {}).get("expected", ""))
        names = [name.strip(" '") for name in expected.replace(" or ", ", ").split(",")]
        return f"found {found}; {suggestion(str(detail['input']), names)}"
    return f"found {found}; {text}"


def shown(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _valid_keys(model: type[BaseModel], path: list[str | int]) -> set[str]:
    """The keys of the models that an option's annotation holds at a place within it."""
    models = {model}
    for part in path:
        inner = {m for outer in models if part in outer.model_fields for m in _models(outer.model_fields[str(part)].annotation)}
        models = inner or models  # an index or a union's member, which pydantic counts as a part, changes nothing
    return {name for model in models for name in model.model_fields}


def _models(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for argument in get_args(annotation) for model in _models(argument)}
