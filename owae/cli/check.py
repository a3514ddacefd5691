"""`owae check`: checks a config and prints what it describes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from owae.cli.configs import ConfigFile, Overrides
from owae.streams import quiet_stdout

if TYPE_CHECKING:
    from owae.config.config import Config
    from owae.model.stack import Stack
    from owae.registry.registry import Registry


def command(
    config: ConfigFile,
    overrides: Overrides = None,
    shape: Annotated[
        str | None,
        typer.Option(
            metavar="CxHxW",
            help="Take examples to have this shape, and leave the data alone. Sets that need a download are never opened.",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Check a config and print its levels: shapes, parameters, costs and effective weights. Nothing is trained or written."""
    from owae.cli.configs import load
    from owae.cli.tables import print_json

    sizes = None if shape is None else _sizes(shape)
    with quiet_stdout():
        found = describe(*load(config, overrides), sizes)
    if as_json:
        print_json(found)
    else:
        _print(found)


def describe(config: Config, registry: Registry, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    """Returns what a config describes: its data, levels bottom first, weights `w_0 … w_k` (Eq. 14), divergence and totals.

    With a shape given, or told by the data's options, the data are not opened: their range is taken to be what their options say,
    and their number is not known.
    """
    from owae.config.build import build, build_stack
    from owae.run.observers import observer_classes

    observer_classes(config, registry)  # names that train.loggers has and no plugin brings are refused
    data: dict[str, Any] = {"kind": config.data.kind}
    shape = _declared(config, registry) if shape is None else shape
    if shape is None:
        built = build(config, registry)
        stack, train = built.stack, built.train
        for beginning in built.beginnings.values():  # whether weights of another run are there, and fit
            beginning.prepare(stack, train)
        data |= {"shape": list(train.shape), "value_range": list(train.value_range), "train": len(train), "test": len(built.test)}
        data["class_names"] = None if train.class_names is None else list(train.class_names)
    else:
        low, high = getattr(config.data.options, "value_range", (0.0, 1.0))
        value_range = (low, high)
        stack = build_stack(config, registry, shape, value_range)
        data |= {"shape": list(shape), "value_range": list(value_range)}
    return {
        "config": config.source,
        "data": data,
        "levels": [_level(config, stack, i) for i in range(stack.depth)],
        "stacked": stack.matched_level,
        "weights": list(stack.weights),
        "divergence": stack.divergence.describe(stack.matched_prior.shape),
        "prior": config.prior.kind,
        "parameters": sum(parameter.numel() for parameter in stack.parameters()),
        "epochs": config.train.epochs,
        "batch_size": config.train.batch_size,
    }


def _declared(config: Config, registry: Registry) -> tuple[int, ...] | None:
    """The shape that the data's options alone decide, if they do."""
    source: Any = registry.get("data", config.data.kind)
    shape = source.declared_shape(**dict(config.data.options))
    return None if shape is None else tuple(shape)


def _sizes(text: str) -> tuple[int, ...]:
    parts = text.lower().replace("×", "x").replace(",", "x").split("x")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"found '{text}'; write the sizes as 3x64x64", param_hint="--shape")
    return tuple(map(int, parts))


def _level(config: Config, stack: Stack, i: int) -> dict[str, Any]:
    import math

    level = config.levels[i]
    layer, regulariser = stack.layers[i], level.regulariser or config.regulariser
    made: Any = stack.levels[i]
    summary = getattr(layer, "summary", None)
    stacked = i < stack.matched_level
    return {
        "level": i + 1,
        "layer": level.layer.kind,
        **({"summary": str(summary())} if callable(summary) else {}),
        "in_shape": list(layer.in_shape),
        "latent_shape": list(layer.latent_shape),
        "dimension": math.prod(layer.latent_shape),
        "parameters": sum(parameter.numel() for parameter in layer.parameters()),
        "cost": (level.cost or config.cost).kind,
        "space": level.space,
        "target": level.target,
        "rows": level.rows,
        "weight": stack.weights[i] if stacked else None,
        "regulariser": regulariser.kind if regulariser else None,
        "penalty_weight": made.penalty_weight if stacked and regulariser else None,
    }


def _print(found: dict[str, Any]) -> None:
    from owae.cli.tables import print_table

    data, levels, k = found["data"], found["levels"], found["stacked"]
    low, high = data["value_range"]
    counts = f", {data['train']:,} to train on and {data['test']:,} to test on" if "train" in data else " (not opened)"
    typer.echo(f"data: {data['kind']}{counts}, {_shape(data['shape'])} in [{low:g}, {high:g}]")
    if names := data.get("class_names"):
        typer.echo(f"classes: {', '.join(names[:20])}{f' and {len(names) - 20} more' if len(names) > 20 else ''}")
    typer.echo()
    headings = {
        "level": lambda level: str(level["level"]),
        "layer": lambda level: level["layer"],
        "networks": lambda level: level.get("summary", ""),
        "from": lambda level: _shape(level["in_shape"]),
        "to": lambda level: _shape(level["latent_shape"]),
        "dimension": lambda level: f"{level['dimension']:,}",
        "parameters": lambda level: f"{level['parameters']:,}",
        "cost": _cost,
        "weight": lambda level: _number(level["weight"]),
        "regulariser": lambda level: level["regulariser"] or "",
        "penalty": lambda level: _number(level["penalty_weight"]) if level["regulariser"] else "",
    }
    columns = {heading: [cell(level) for level in levels] for heading, cell in headings.items()}
    shown = {heading: cells for heading, cells in columns.items() if any(cells)}
    print_table(list(shown), zip(*shown.values(), strict=True), right={"level", "dimension", "parameters", "weight", "penalty"})
    typer.echo()
    described = ", ".join(f"{name} {_value(value)}" for name, value in found["divergence"].items() if name != "divergence")
    typer.echo(
        f"divergence at z_{k}: {found['divergence'].get('divergence', '')}, weight {_number(found['weights'][-1])}; {described}"
    )
    prior = found["prior"] if k == len(levels) else f"ancestral, through levels {k + 1} to {len(levels)}, from {found['prior']}"
    typer.echo(f"prior at z_{k}: {prior}")
    typer.echo(f"total: {found['parameters']:,} parameters, {found['epochs']:,} epochs in batches of {found['batch_size']}")


def _cost(level: dict[str, Any]) -> str:
    if level["space"] == "data" and level["target"] == "data":
        return f"{level['cost']} on the data, through z_{level['level']}"
    return f"{level['cost']} on z_{level['level'] - 1}" + (", in data space" if level["space"] == "data" else "")


def _shape(shape: list[int]) -> str:
    return "×".join(map(str, shape))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
