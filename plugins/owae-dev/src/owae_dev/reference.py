"""Reference pages in Markdown, made from the code: config keys, components, commands, the Python interface."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

import owae
from owae.cli import available, loaded
from owae.config.config import Config
from owae.config.schema import LevelConfig
from owae.config.weights import RULES, Weights
from owae.registry.options import options_model
from owae.registry.registry import Entry, Registry
from owae.training.options import Best, Options
from owae_dev.docstrings import described, sections

# Where the component of an interface stands in a config.
PLACES = {
    "data": "[data]",
    "layer": "layer of [[levels]]",
    "cost": "[cost], or cost of [[levels]]",
    "regulariser": "[regulariser], or regulariser of [[levels]]",
    "prior": "[prior]",
    "divergence": "[divergence]",
    "observer": "loggers of [train]",
    "phase": "a table of its own name",
}


def pages(registry: Registry) -> dict[str, str]:
    """Every page by its path below the reference's folder."""
    found = {"keys.md": keys(), "commands.md": commands(), "python.md": python()}
    entries = sorted(registry.entries, key=lambda entry: (entry.interface, entry.name))
    found["components.md"] = components(entries)
    return found | {f"components/{slug(entry)}.md": component(entry) for entry in entries}


def slug(entry: Entry) -> str:
    """The name of a component's page."""
    return f"{entry.interface}-{entry.name}"


def keys() -> str:
    """Every key of a config."""
    parts = [
        "# Every key of a config",
        "Made from the models that read configs. [Configs](../config.md) explains them.",
        "## At the top",
    ]
    parts.append(_table(["key", "is"], [[f"`{name}`", text] for name, text in _described(Config).items()]))
    for heading, model in (("[[levels]]", LevelConfig), ("[weights]", Weights), ("[train]", Options), ("best of [train]", Best)):
        parts += [f"## {heading}", _fields(model)]
    parts.append("## Rules of weights")
    for name, rule in RULES.items():
        parts += [f'### `rule = "{name}"`', _markdown(rule.__doc__), _fields(rule, skip=("rule",))]
    return _page(parts)


def components(entries: Iterable[Entry]) -> str:
    """The list of components, with the tree of their pages."""
    parts = ["# Every component", "Made from the constructors and docstrings of what is installed."]
    listed = list(entries)
    rows = [
        [f"[`{entry.name}`](components/{slug(entry)}.md)", entry.interface, entry.distribution, _first(entry.cls)]
        for entry in listed
    ]
    parts.append(_table(["name", "kind", "distribution", "is"], rows))
    tree = "\n".join(f"components/{slug(entry)}" for entry in listed)
    parts.append(f"```{{toctree}}\n:hidden:\n\n{tree}\n```")
    return _page(parts)


def component(entry: Entry) -> str:
    """The page of one component: what it is, where it stands in a config, its options."""
    parts = [
        f"# {entry.name}",
        f"*{entry.interface}, from {entry.distribution} {entry.version}; in a config: {PLACES[entry.interface]}*",
    ]
    parts.append(_markdown(entry.cls.__doc__, leave=("Args", "Attributes", "Raises")))
    options = options_model(entry.cls)
    texts = sections(entry.cls.__doc__).get("Args", {}) | sections(entry.cls.__init__.__doc__).get("Args", {})
    if options.model_fields:
        parts += ["## Options", _fields(options, texts=texts)]
    else:
        parts.append("It has no options.")
    parts.append(f"Python: `{entry.cls.__module__}.{entry.cls.__qualname__}`")
    return _page(parts)


def commands() -> str:
    """Every command, its arguments and options."""
    parts = ["# Every command", "Made from the commands themselves. [The command line](../cli.md) explains them."]
    for name, owners in sorted(available().items()):
        command = loaded(name, owners)
        for path, one in _walk(command, f"owae {name}"):
            parts += [f"## {path}", _escape(inspect.cleandoc(one.help or ""))]
            rows = [_parameter(parameter) for parameter in one.params if not getattr(parameter, "hidden", False)]
            if rows:
                parts.append(_table(["", "takes", "does"], rows))
            parts.append(f"*From {owners[0].distribution}.*")
    return _page(parts)


def python() -> str:
    """The names of `import owae`, and the checks of `owae.testing`."""
    parts = ["# Python", "The names of `import owae`, then those of `owae.testing`; other modules may change without notice."]
    for module, names in ((owae, [name for name in owae.__all__ if name != "__version__"]), (None, _testing())):
        home = module or importlib.import_module("owae.testing")
        for name in sorted(names):
            parts += _object(f"{home.__name__}.{name}", getattr(home, name))
    return _page(parts)


def _testing() -> list[str]:
    return list(importlib.import_module("owae.testing").__all__)


def _object(path: str, value: Any) -> Iterator[str]:
    yield f"## {path}"
    if inspect.isclass(value) or inspect.isfunction(value):
        yield f"```text\n{path.rpartition('.')[2]}{_signature(value)}\n```"
        yield _markdown(value.__doc__)
    else:
        yield f"`{_cut(repr(value))}`"
    if inspect.isclass(value):
        for name, method in vars(value).items():
            if not name.startswith("_") and (doc := inspect.getdoc(method)) and not isinstance(method, type):
                function = getattr(method, "__func__", method)
                signature = _signature(function) if callable(function) else ""
                yield f"**`{name}{signature}`**"
                yield _markdown(doc)


def _signature(value: Any) -> str:
    try:
        return _cut(re.sub(r"<[^<>]*>", "…", str(inspect.signature(value))), 400)
    except (TypeError, ValueError):
        return "(…)"


def _walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    yield path, command
    for name, inner in sorted(getattr(command, "commands", {}).items()):
        yield from _walk(inner, f"{path} {name}")


def _parameter(parameter: Any) -> list[str]:
    """A row for an argument or option. Typer's own classes have changed much: what one lacks is left out."""
    if parameter.param_type_name == "option":
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    else:
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    flag = getattr(parameter, "is_flag", False)
    default = parameter.default
    told = isinstance(default, str | int | float) and not flag and str(default) != ""
    text = _cell(_escape(getattr(parameter, "help", None) or ""))
    return [names, "" if flag else _takes(parameter), text + (f" Default: `{getattr(default, 'value', default)}`." if told else "")]


def _takes(parameter: Any) -> str:
    annotation = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    kind = getattr(parameter, "type", None)
    choices = annotation if isinstance(annotation, type) and issubclass(annotation, Enum) else getattr(kind, "choices", None)
    choices = choices or (get_args(annotation) if get_origin(annotation) is Literal else None)
    if choices:
        return ", ".join(f"`{getattr(choice, 'value', choice)}`" for choice in choices)
    return _cell(str(parameter.metavar or getattr(kind, "name", "") or getattr(annotation, "__name__", "")))


def _fields(model: type[BaseModel], *, texts: dict[str, str] | None = None, skip: Iterable[str] = ()) -> str:
    texts = _described(model) if texts is None else texts
    rows = []
    for name, field in model.model_fields.items():
        if name not in skip:
            rows.append([f"`{name}`", f"`{_cell(_type(field))}`", _default(field), _cell(texts.get(name, ""))])
    return _table(["key", "type", "default", "is"], rows)


def _described(model: type[BaseModel]) -> dict[str, str]:
    return {name: _cell(text.replace("](scaling.md)", "](../scaling.md)")) for name, text in described(model).items()}


def _type(field: FieldInfo) -> str:
    bounds = [f"{sign} {getattr(limit, key)}" for limit in field.metadata for key, sign in _BOUNDS.items() if hasattr(limit, key)]
    return _cut(" ".join([_named(field.annotation), *bounds]), 120)


def _named(annotation: Any) -> str:
    """An annotation as text: without modules, and an `Annotated` as what it annotates."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is None or annotation is type(None):
        return "None"
    if origin is Annotated:
        return _named(arguments[0])
    if origin is Literal:
        return " | ".join(map(repr, arguments))
    if origin in (Union, UnionType):
        return " | ".join(map(_named, arguments))
    name = getattr(origin or annotation, "__name__", str(annotation))
    inner = ", ".join("…" if argument is Ellipsis else _named(argument) for argument in arguments)
    return f"{name}[{inner}]" if inner else name


_BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True, validated_data={})
    return "" if value is None else f"`{_cell(_cut(repr(value), 60))}`"


_TITLES = ("Args", "Attributes", "Returns", "Raises", "Yields")


def _markdown(doc: str | None, leave: Iterable[str] = ()) -> str:
    """A docstring as Markdown: its sections as lists."""
    text = inspect.cleandoc(doc or "")
    parts = re.split(rf"^({'|'.join(_TITLES)}):\n", text, flags=re.MULTILINE)
    lines = [_body(parts[0])]
    for title, body in zip(parts[1::2], parts[2::2], strict=True):
        if title in leave:
            continue
        section = sections(f"{title}:\n{body}").get(title, {})
        rest = re.sub(r"\A(?:[ \t]+.*\n?|\n)+", "", body)
        listed = [f"- `{name}`: {_escape(told)}" for name, told in section.items()] or [_escape(" ".join(body.split()))]
        lines += [f"**{title}**", "\n".join(listed), _body(rest)]
    return "\n\n".join(line for line in lines if line)


def _body(text: str) -> str:
    """Paragraphs as they are; what is indented or a doctest as a block of code."""
    blocks = []
    for block in re.split(r"\n\s*\n", text.strip()):
        code = block.lstrip().startswith(">>>") or all(line.startswith("    ") for line in block.splitlines() if line.strip())
        blocks.append(f"```text\n{inspect.cleandoc(block)}\n```" if code and block.strip() else _escape(block))
    return "\n\n".join(blocks)


def _escape(text: str) -> str:
    """Text whose brackets and angles are themselves, outside code between backticks."""
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(
        piece if piece.startswith("`") else re.sub(r"([\[\]](?!\())", r"\\\1", piece).replace("<", "&lt;").replace("*", r"\*")
        for piece in pieces
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


def _table(headings: list[str], rows: Iterable[list[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _first(cls: type) -> str:
    return _cell(_escape(" ".join((cls.__doc__ or "").strip().partition("\n\n")[0].split())))


def _cut(text: str, length: int = 80) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"
