"""The kinds of plugin that `owae plugins new` can write, and what differs between them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a plugin brings."""

    DIVERGENCE = "divergence"
    LAYER = "layer"
    COST = "cost"
    REGULARISER = "regulariser"
    PRIOR = "prior"
    SOURCE = "source"
    COMMAND = "command"


@dataclass(frozen=True)
class Facts:
    """How a kind stands in a package and in a config.

    Attributes:
        interface: The name of its interface in a registry; empty for a command.
        example: The tables of an example config that use it, with `{name}` for its name.
    """

    interface: str
    example: dict[str, str]


FACTS = {
    Kind.DIVERGENCE: Facts("divergence", {"divergence": '[divergence]\nkind = "{name}"'}),
    Kind.LAYER: Facts("layer", {"bottom": '{{ kind = "{name}", latent = 8, hidden = 64, output = "sigmoid" }}'}),
    Kind.COST: Facts("cost", {"more": '[cost]\nkind = "{name}"\n\n'}),
    Kind.REGULARISER: Facts("regulariser", {"weights": "regulariser = 0.1\n", "more": '[regulariser]\nkind = "{name}"\n\n'}),
    Kind.PRIOR: Facts("prior", {"more": '[prior]\nkind = "{name}"\n\n'}),
    Kind.SOURCE: Facts("data", {"data": '[data]\nkind = "{name}"'}),
    Kind.COMMAND: Facts("", {}),
}

# What an example config has where the plugin's own kind does not stand.
DEFAULTS = {
    "data": '[data]\nkind = "digits"',
    "bottom": '{ kind = "mlp", latent = 8, hidden = [64, 64], output = "sigmoid" }',
    "weights": "",
    "more": "",
    "divergence": '[divergence]\nkind = "mmd"',
}
