"""The run-time type checker of the tests: beartype, with an int allowed where a float is, as everywhere in Python."""

from __future__ import annotations

import inspect
from typing import Any

from beartype import BeartypeConf, beartype

checked = beartype(conf=BeartypeConf(is_pep484_tower=True))


def look_without_computing(protocol: Any) -> None:
    """Has `isinstance` look for a protocol's members without computing those that are properties, as Python does from 3.12 on.

    The moments of a distribution that is known by its draws would otherwise be drawn anew at each check of an argument.
    """
    members = [name for name in vars(protocol) if not name.startswith("_")]

    class Looking(type(protocol)):
        def __instancecheck__(self, instance: object) -> bool:
            return all(inspect.getattr_static(instance, name, None) is not None for name in members)

    protocol.__class__ = Looking
