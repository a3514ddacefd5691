"""What is installed, whose it is, and whether it can be used."""

from __future__ import annotations


def rows() -> list[dict[str, str]]:
    """Components, failures and commands, each with its name, kind, distribution, version and status."""
    return [*_components(), *_commands()]


def _components() -> list[dict[str, str]]:
    from owae.registry.registry import Registry

    registry = Registry.discover()
    clashes = registry.clashes()
    rows = []
    for entry in sorted(registry.entries, key=lambda entry: (entry.interface, entry.name, entry.distribution)):
        owners = [other.distribution or other.plugin for other in clashes.get((entry.interface, entry.name), []) if other != entry]
        status = f"clash: also claimed by {', '.join(owners)}" if owners else "ok"
        rows.append(_row(entry.name, entry.interface, entry.distribution, entry.version, status))
    return rows + [
        _row(failure.plugin, "plugin", failure.distribution, failure.version, f"failed: {failure.reason}")
        for failure in registry.failures
    ]


def _commands() -> list[dict[str, str]]:
    from owae.cli import available, loaded
    from owae.errors import PluginError

    rows = []
    for name, owners in sorted(available().items()):
        try:
            loaded(name, owners)
            status = "ok"
        except PluginError as error:
            status = f"clash: {error}" if len(owners) > 1 else f"failed: {error}"
        rows += [_row(name, "command", owner.distribution, owner.version, status) for owner in owners]
    return rows


def _row(name: str, kind: str, distribution: str, version: str, status: str) -> dict[str, str]:
    return {"name": name, "kind": kind, "distribution": distribution, "version": version, "status": status}
