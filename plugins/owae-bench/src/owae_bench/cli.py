"""The command line of `owae bench`. Nothing heavy is imported before a command runs."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from owae.files import expanded

log = logging.getLogger(__name__)

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure what is installed.")


@app.callback()
def _group() -> None:
    """Measure what is installed."""


@app.command()
def divergences(
    sizes: Annotated[str, typer.Option(help="Numbers of samples, separated by commas.")] = "128,1024",
    dims: Annotated[str, typer.Option(help="Numbers in an event, separated by commas.")] = "2,32",
    device: Annotated[str, typer.Option(help="Where: auto, cpu, cuda, cuda:1, mps.")] = "auto",
    backends: Annotated[str, typer.Option(help="Backends, separated by commas; all unless given.", show_default=False)] = "",
    divergence: Annotated[
        list[str] | None,
        typer.Option(
            help='A name, or a table as in a config: \'{ kind = "mmd", kernel = "gaussian" }\'. Repeatable; all unless given.'
        ),
    ] = None,
    against: Annotated[
        Literal["samples", "prior"],
        typer.Option(help="Measure D(x, y), or D against the standard normal prior, as training calls it."),
    ] = "samples",
    repeats: Annotated[int, typer.Option(min=1, help="Warm calls to take the median of; fewer once they have taken 0.3 s.")] = 10,
    limit: Annotated[float, typer.Option(min=1, help="Seconds after which one measurement is given up.")] = 300,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    csv: Annotated[
        Path | None, typer.Option(metavar="PATH", parser=expanded, help="Also write the rows as CSV.", show_default=False)
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="PATH", parser=expanded, help="Also draw times over sizes: .png, .pdf, .svg.", show_default=False),
    ] = None,
) -> None:
    """Measure every installed divergence: time, compilation, memory, error against float64.

    Times are of warm calls, in float32. Compilation is the first call of a fresh process less a warm one; the first call at a
    further size only adds what that size needs. Peak memory is that of one warm forward and backward beyond what was held before:
    growth of the process on a CPU (Linux only), torch's own count on a GPU.
    """
    from owae.parallel.devices import choose_device
    from owae.registry.registry import Registry
    from owae.streams import quiet_stdout
    from owae_bench.bench import expected_seconds, run
    from owae_bench.cases import cases
    from owae_bench.machine import describe_machine
    from owae_bench.report import print_rows, to_json, write_csv, write_plot

    numbers = {name: _numbers(text, f"--{name}") for name, text in (("sizes", sizes), ("dims", dims))}
    for path in (csv, plot):
        if path is not None and path.is_dir():
            raise typer.BadParameter(f"{path} is a folder; give a file")
    if plot is not None and plot.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise typer.BadParameter(f"{plot} should end in .png, .pdf or .svg", param_hint="--plot")
    with quiet_stdout():
        chosen = str(choose_device(device))
        registry = Registry.discover()
    failures = [f"{each.plugin} of {each.distribution}: {each.reason}" for each in registry.failures]
    for failure in failures:
        log.warning("plugin not loaded: %s", failure)
    wanted = cases(registry, divergence or (), [name.strip() for name in backends.split(",") if name.strip()])
    total = len(wanted) * len(numbers["sizes"]) * len(numbers["dims"])
    here = describe_machine(chosen) | {"against": against}
    if float(here["load"] or 0) > 1:
        log.warning("the machine is busy already (load %s): times will be too long, those of several threads by far", here["load"])
    seconds = expected_seconds(len(wanted), numbers["sizes"], numbers["dims"], repeats)
    log.info("%d measurements: about %s on a CPU that is free; what has to be compiled first comes on top", total, _spoken(seconds))
    rows = []
    for row in run(wanted, numbers["sizes"], numbers["dims"], limit=limit, device=chosen, repeats=repeats, against=against):
        rows.append(row)
        outcome = row.reason or f"{row.result['both'] * 1e3:.3g} ms, compiling {row.result['compile']:.2g} s"
        log.info("%d/%d %s, n = %d, d = %d: %s", len(rows), total, row.case.label, row.n, row.d, outcome)
    if csv is not None:
        write_csv(csv, rows)
    if plot is not None:
        write_plot(plot, rows, here)
    if as_json:
        typer.echo(to_json(rows, here, failures))
    else:
        print_rows(rows, here)
    if all(row.reason for row in rows):
        raise typer.Exit(1)


def _spoken(seconds: float) -> str:
    """A time to the precision of an estimate.

    >>> _spoken(47), _spoken(400), _spoken(9000)
    ('50 s', '7 min', '2.5 h')
    """
    if seconds < 100:
        return f"{max(5, 5 * math.ceil(seconds / 5))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _numbers(text: str, option: str) -> list[int]:
    """Positive numbers from a list with commas.

    >>> _numbers("128, 1024", "--sizes")
    [128, 1024]
    """
    parts = [part.strip().replace("_", "") for part in text.split(",") if part.strip()]
    if not parts or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"found '{text}'; positive whole numbers separated by commas would work", param_hint=option)
    return [int(part) for part in parts]
