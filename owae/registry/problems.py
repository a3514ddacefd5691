"""Options as strict pydantic models, and the mistakes in them: each with its place, what was found and what would work."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError, PydanticSerializationError

from owae.errors import OwaeError, PluginError, Problem, suggestion

Model = TypeVar("Model", bound=BaseModel)

STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=())

Info = Any  # pydantic's ValidationInfo, a protocol, which no type check at run time can look at
_OURS = "ours"  # the type of an error whose message is already in our words


def mistake(message: str, *place: str | int) -> ValidationError:
    """Makes an error for a validator to raise: a message of ours about a place within the value that it validates."""
    return ValidationError.from_exception_data(
        "", [{"type": PydanticCustomError(_OURS, "{message}", {"message": message}), "loc": place, "input": None}]
    )


def read_tagged(value: object, tag: str, names: Iterable[str], model_of: Callable[[str], type[BaseModel]]) -> tuple[str, BaseModel]:
    """Reads a table that names a class under `tag` and gives its options; returns the name, and the options.

    `model_of` gives the options of a name, or an `OwaeError` for one that is not among `names`.

    Raises:
        ValidationError: It is no table, names nothing there is, or its options are wrong.
    """
    if not isinstance(value, Mapping):
        example = shown(value) if isinstance(value, str) else "…"
        raise mistake(f"found {shown(value)}; it should be a table, as {{ {tag} = {example}, … }}")
    options = dict(value)
    name = options.pop(tag, None)
    if name is None:
        raise mistake(f"is missing; {suggestion('', names)}", tag)
    if not isinstance(name, str):
        raise mistake(f"found {shown(name)}; it should be a string", tag)
    try:
        model = model_of(name)
    except OwaeError as error:
        raise mistake(str(error), tag) from error
    return name, read(model, options)


def validated(model: type[BaseModel], values: Mapping[str, Any], place: str = "") -> tuple[BaseModel | None, list[Problem]]:
    """Returns the values as an instance of the model, or every mistake in them."""
    try:
        return read(model, values), []
    except ValidationError as error:
        return None, problems(error, values, lambda path, key: f"unknown key; {suggestion(key, keys_within(model, path))}", place)


def read(model: type[Model], values: Mapping[str, Any], context: object = None) -> Model:
    """Returns the values as an instance of the model, whose validators may use the context; `ValidationError` if they are wrong."""
    # JSON mode is as strict about numbers, but lets an array be a tuple and a string a path, as in a TOML file.
    return model.model_validate_json(json.dumps(dict(values), default=str), context=context)


def canonical(options: BaseModel) -> tuple[BaseModel, dict[str, Any]]:
    """Returns some options as reading them from a file would give them, and the values that the file holds, defaults included.

    A default that TOML cannot express (None, an infinity, an object) is left out; reading the file gives it again. `PluginError` where
    a default does not fit its own annotation.
    """
    values: dict[str, Any] = {}
    for name in type(options).model_fields:
        try:
            value = options.model_dump(mode="json", include={name}, exclude_none=True, warnings=False).get(name)
        except PydanticSerializationError:
            continue
        if name in options.model_fields_set or _expressible(value):
            values[name] = value
    again, faults = validated(type(options), values)
    if again is None:
        told = "; ".join(map(str, faults))
        raise PluginError(f"{type(options).__name__}: a default does not fit its own annotation: {told}")
    return again, values


def _expressible(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_expressible(item) for item in value.values())
    if isinstance(value, list):
        return all(_expressible(item) for item in value)
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def problems(
    error: ValidationError, values: Mapping[str, Any], unknown: Callable[[Sequence[str | int], str], str], place: str = ""
) -> list[Problem]:
    """Translates the mistakes that pydantic found in values at a place; `unknown` words the message about a key in the table at a path."""
    # The members of a union each have their say about one place; a user reads them as one sentence.
    said: dict[tuple[str, str], list[str]] = {}
    for detail in error.errors():
        # Pydantic adds the member of a union to the place; only the parts that exist in the values mean anything to a user.
        about_absent = detail["type"] in ("missing", "extra_forbidden", _OURS)
        path = _existing(detail["loc"], values, keep_last=about_absent)
        message = _message(detail, path, unknown)
        messages = said.setdefault((join(place, *path), message if detail["type"] == _OURS else ""), [])
        if message not in messages:
            messages.append(message)
    found = []
    for (at, _), (first, *others) in said.items():
        start = first.partition("; ")[0] + "; "
        found.append(Problem(at, "; or ".join([first, *(message.removeprefix(start) for message in others)])))
    return found


def _existing(loc: Sequence[str | int], values: Any, *, keep_last: bool) -> list[str | int]:
    kept: list[str | int] = []
    for i, part in enumerate(loc):
        a_text = isinstance(values, str)
        try:
            values = values[part]
        except (KeyError, IndexError, TypeError):
            # What is missing from a table has a place in it; what is said of a part of a value in a short form has not.
            if keep_last and i == len(loc) - 1 and not a_text:
                kept.append(part)
            continue
        kept.append(part)
    return kept


def _message(detail: ErrorDetails, path: Sequence[str | int], unknown: Callable[[Sequence[str | int], str], str]) -> str:
    kind = detail["type"]
    if kind == _OURS:
        return detail["msg"]
    if kind == "extra_forbidden":
        return unknown(path[:-1], str(path[-1]))
    if kind == "missing":
        return "is missing; it has no default"
    found = shown(detail["input"])
    if kind == "model_type":
        return f"found {found}; it should be a table" + (f", as {_heading(path)}" if len(path) <= 2 else "")
    text = detail["msg"].removeprefix("Input ").removeprefix("Value error, ")
    if kind == "literal_error":
        expected = str(detail.get("ctx", {}).get("expected", ""))
        names = [name.strip(" '") for name in expected.replace(" or ", ", ").split(",")]
        return f"found {found}; {suggestion(str(detail['input']), names)}"
    return f"found {found}; {text}"


def _heading(path: Sequence[str | int]) -> str:
    return f"[[{path[0]}]]" if isinstance(path[-1], int) else f"[{'.'.join(map(str, path))}]"


def keys_within(model: type[BaseModel], path: Sequence[str | int]) -> set[str]:
    """Returns the keys of the models that an option's annotation holds at a place within it."""
    models = {model}
    for part in path:
        inner = {m for outer in models if part in outer.model_fields for m in _models(outer.model_fields[str(part)].annotation)}
        models = inner or models  # an index changes nothing
    return {name for model in models for name in model.model_fields}


def _models(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for argument in get_args(annotation) for model in _models(argument)}


def join(place: str, *parts: str | int) -> str:
    """Returns a place within a place.

    >>> join("levels", 0, "layer", "hidden")
    'levels[0].layer.hidden'
    """
    for part in parts:
        place = f"{place}[{part}]" if isinstance(part, int) else f"{place}.{part}" if place else str(part)
    return place


def shown(value: object) -> str:
    """Returns a value as text for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"
