"""The constructor is the schema: a component's keyword arguments as a strict pydantic model, and its errors in our words."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic_core import ErrorDetails
from torch import nn

from owae.errors import Problem, suggestion

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=())

_WITHOUT_OPTIONS = (object.__init__, nn.Module.__init__)  # the constructor of a class that wrote none


@cache
def options_model(cls: type) -> type[BaseModel]:
    """The options of a class: its constructor's keyword-only arguments, with their annotations and defaults.

    Positional-only arguments are the engine's and do not appear.

    Raises:
        TypeError: An argument is neither positional-only nor keyword-only, or an annotation does not resolve.
    """
    if cls.__init__ in _WITHOUT_OPTIONS:
        return create_model(f"{cls.__name__}Options", __config__=STRICT)
    try:
        hints = get_type_hints(cls.__init__, include_extras=True)
    except NameError as error:
        raise TypeError(f"{cls.__name__}.__init__ has an annotation that does not resolve: {error}") from error
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY:
            default = ... if parameter.default is parameter.empty else parameter.default
            fields[parameter.name] = (hints.get(parameter.name, Any), default)
        elif parameter.kind is not parameter.POSITIONAL_ONLY:
            raise TypeError(
                f"{cls.__name__}.__init__ takes '{parameter.name}', "
                "which is neither the engine's (before a '/') nor an option (after a '*')"
            )
    return create_model(f"{cls.__name__}Options", __config__=STRICT, **fields)


def validated(model: type[BaseModel], values: Mapping[str, Any], place: str = "") -> tuple[BaseModel | None, list[Problem]]:
    """The values as an instance of the model, or every mistake in them."""
    try:
        # JSON mode is as strict about numbers, but lets an array be a tuple and a string a path, as in a TOML file.
        return model.model_validate_json(json.dumps(values, default=str)), []
    except ValidationError as error:
        return None, list(_problems(error, model, values, place))


def join(place: str, *parts: str | int) -> str:
    """A place within a place.

    >>> join("levels", 0, "layer", "hidden")
    'levels[0].layer.hidden'
    """
    for part in parts:
        place = f"{place}[{part}]" if isinstance(part, int) else f"{place}.{part}" if place else str(part)
    return place


def _problems(error: ValidationError, model: type[BaseModel], values: Mapping[str, Any], place: str) -> Iterator[Problem]:
    seen: set[tuple[str, str]] = set()
    for detail in error.errors():
        # Pydantic adds the member of a union to the place; only the parts that exist in the values mean anything to a user.
        at = join(place, *_existing(detail["loc"], values, keep_last=detail["type"] in ("missing", "extra_forbidden")))
        message = _message(detail, model)
        if (at, message) not in seen:
            seen.add((at, message))
            yield Problem(at, message)


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
        name = str(detail["loc"][-1])
        if len(detail["loc"]) > 1:
            return f"unknown key '{name}'"
        return f"unknown option '{name}'; {suggestion(name, model.model_fields)}"
    if kind == "missing":
        return "is missing; it has no default"
    found = detail["input"]
    text = detail["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if kind == "literal_error":
        expected = str(detail.get("ctx", {}).get("expected", ""))
        names = [name.strip(" '") for name in expected.replace(" or ", ", ").split(",")]
        return f"found {found!r}; {suggestion(str(found), names)}"
    return f"found {found!r}; {text}"
