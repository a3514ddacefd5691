"""Writes a complete plugin package from the templates beside this file."""

from __future__ import annotations

import keyword
import re
import shutil
from dataclasses import dataclass
from importlib import metadata, resources, util
from pathlib import Path

from owae.cli import available
from owae.errors import ConfigError, PluginError
from owae.hooks import COMMANDS, ENTRY_POINTS
from owae.registry.registry import Registry
from owae_dev.kinds import DEFAULTS, FACTS, Kind

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST = 50


@dataclass(frozen=True)
class Names:
    """What a plugin and its parts are called.

    Attributes:
        name: What a config writes after `kind =`, or the command.
        kind: What the plugin brings.
    """

    name: str
    kind: Kind

    @property
    def distribution(self) -> str:
        return f"owae-{self.name}"

    @property
    def module(self) -> str:
        return self.distribution.replace("-", "_")

    @property
    def cls(self) -> str:
        """The class: the name in capitals, and the kind, so that it shadows nothing of Python's or torch's."""
        stem = "".join(part.capitalize() for part in self.name.removesuffix(self.kind.value).split("-"))
        return stem + self.kind.value.capitalize()

    def values(self) -> dict[str, str]:
        """What stands for each `@placeholder@` of a template."""
        facts = FACTS[self.kind]
        example = {key: text.format(name=self.name) for key, text in facts.example.items()}
        command = self.kind == Kind.COMMAND
        return {
            **(DEFAULTS | example),
            "name": self.name,
            "kind": self.kind.value,
            "interface": facts.interface,
            "distribution": self.distribution,
            "module": self.module,
            "class": self.cls,
            "group": f'"{COMMANDS}"' if command else ENTRY_POINTS,
            "target": f"{self.module}.cli:command" if command else self.module,
            "check": f"owae {self.name} --help" if command else f"owae plugins check {self.name}",
        }


def checked(name: str, kind: Kind) -> Names:
    """Returns the names of a new plugin.

    Args:
        name: What the component or command is to be called; a leading `owae-`, as distributions have, is dropped.
        kind: What the plugin brings.

    Raises:
        ConfigError: It is no name.
        PluginError: Something installed has it already.
    """
    if name.startswith("owae-"):
        name = name.removeprefix("owae-")
    if not _NAME.fullmatch(name):
        meant = re.sub(r"[^a-z0-9]+", "-", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()).strip("-")
        meant = meant if _NAME.fullmatch(meant) else "my-" + (meant.lstrip("-0123456789") or kind.value)
        raise ConfigError(
            f"found the name '{name}'; a name is small letters and digits, in words joined by single dashes, and starts with a letter, "
            f"as '{meant}'"
        )
    if len(name) > _LONGEST:
        raise ConfigError(f"the name has {len(name)} characters; {_LONGEST} at most would work")
    names = Names(name, kind)
    interface = FACTS[kind].interface
    if keyword.iskeyword(names.module) or not names.cls.isidentifier():  # no template would be Python
        raise ConfigError(f"the name '{name}' makes a class called '{names.cls}', which Python does not take; another would work")
    if interface and (
        owners := [entry for entry in Registry.discover().entries if (entry.interface, entry.name) == (interface, name)]
    ):
        raise PluginError(f"{interface} '{name}' exists already, from {owners[0].distribution}; another name would work")
    if kind == Kind.COMMAND and (claims := available().get(name)):
        raise PluginError(f"command '{name}' exists already, from {claims[0].distribution}; another name would work")
    taken = {distribution.name for distribution in metadata.distributions() if distribution.name}
    if names.distribution in taken or util.find_spec(names.module) is not None:
        raise PluginError(f"a distribution '{names.distribution}' is installed already; another name would work")
    return names


def write(names: Names, parent: Path) -> Path:
    """Writes the package into a new folder, which is called as the distribution is, and returns the folder.

    Raises:
        ConfigError: The folder exists. Nothing in it is changed.
    """
    folder = parent / names.distribution
    files = rendered(names)
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir()
    except FileExistsError as error:
        what = error.filename or folder
        why = "exists and is left as it is; another name, or --into another folder" if Path(what) == folder else "is no folder; one"
        raise ConfigError(f"{what} {why} would work") from error
    try:
        for place, text in files.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)  # a part of a package would stand in the way of the next try
        raise
    return folder


def rendered(names: Names) -> dict[str, str]:
    """Returns the text of each file of the package, by its path in the folder."""
    command, kind = names.kind == Kind.COMMAND, names.kind.value
    source = f"src/{names.module}"
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        "example.toml": "example.toml",
        f"{source}/py.typed": "py.typed",
        f"{source}/__init__.py": "command_init.py" if command else f"{kind}.py",
        f"tests/test_{names.module.removeprefix('owae_')}.py": f"test_{kind}.py",
    }
    if command:
        templates[f"{source}/cli.py"] = "command.py"
    values = names.values()
    return {path: _filled(template, values) for path, template in templates.items()}


def _filled(template: str, values: dict[str, str]) -> str:
    text = (resources.files("owae_dev") / "templates" / f"{template}.in").read_text(encoding="utf-8")
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text
