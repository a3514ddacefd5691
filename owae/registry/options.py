"""The constructor is the schema: a component's keyword arguments as a strict pydantic model; `arguments(options)` gives them back."""

from __future__ import annotations

import inspect
import keyword
from functools import cache
from typing import Any, get_type_hints

from pydantic import BaseModel, create_model
from torch import nn

from owae.interfaces import INTERFACES, Component
from owae.registry.problems import STRICT, canonical, validated

__all__ = ["canonical", "options_model", "validated"]


@cache
def options_model(cls: type) -> type[BaseModel]:
    """Returns the options of a class: its constructor's keyword-only arguments, with their annotations and defaults.

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
            fields[key_of(parameter.name)] = (hints.get(parameter.name, Any), default)
        elif parameter.kind is not parameter.POSITIONAL_ONLY:
            raise TypeError(
                f"{cls.__name__}.__init__ takes '{parameter.name}', "
                "which is neither the engine's (before a '/') nor an option (after a '*')"
            )
    return create_model(f"{cls.__name__}Options", __config__=STRICT, **fields)


def key_of(argument: str) -> str:
    """Returns the key of a config for an argument: its name, without the underscore that a word of Python's own needs, as `from_`."""
    return argument[:-1] if keyword.iskeyword(argument[:-1]) else argument


def arguments(options: BaseModel) -> dict[str, Any]:
    """Returns options as the arguments of their constructor."""
    return {f"{key}_" if keyword.iskeyword(key) else key: value for key, value in options}


def breach(cls: object) -> str:
    """Says how a class breaks the contract of a component; empty where it does not."""
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
