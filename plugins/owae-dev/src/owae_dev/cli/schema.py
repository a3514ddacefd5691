"""`owae schema`: what a config can say, for editors."""

from __future__ import annotations


def command() -> None:
    """Print a JSON Schema of configs, with every installed component and its options, for completion and checks in an editor."""
    from owae.cli.tables import print_json
    from owae.registry.registry import Registry
    from owae.streams import quiet_stdout
    from owae_dev.schema import schema

    with quiet_stdout():
        found = schema(Registry.discover())
    print_json(found)
