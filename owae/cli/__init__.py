"""The command line. Commands are entry points of the group `owae.commands`, owae's own among them.

So their names are known without importing anything, and a command is imported when it is used, or when `owae --help` lists it. One
that cannot be imported, or that two distributions claim, stays in the list with the reason and stops no other.

Exit codes: 0; 2 for what the user can mend (an `OwaeError`, a wrong option, a full disk); 1 for a bug, and for results that nobody
could be given; 128 + n after signal n.

May import: everything.
Start reading at `main`, below; then a command, as `train.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from owae.cli.log import set_up_logging
from owae.errors import OwaeError, PluginError, suggestion
from owae.hooks import COMMANDS
from owae.registry import discovery
from owae.registry.discovery import Declared, restriction
from owae.streams import open_closed_streams

_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
# What a machine refuses a program that has no bug: no room, no right, a broken disk, a stream that is closed.
_REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EBADF, errno.EPIPE}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs a command line (`sys.argv` unless given) and exits."""
    open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue] # a terminal may lack a sign
    code = _run(arguments)
    # Here and not while Python ends, where a failure would be a traceback and another exit code.
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)  # what is still to be written goes nowhere
            if number == 1 and code == 0:
                code = _lost(error)
    sys.exit(code)


def _run(arguments: Sequence[str] | None) -> Any:
    """Runs a command line and returns its exit code; whatever went wrong has been told."""
    try:
        typer.main.get_command(app).main(args=arguments, prog_name="owae")
    except SystemExit as end:
        return end.code
    except OwaeError as error:
        _tell(str(error))
        return error.exit_code
    except OSError as error:
        return _refused(error)
    except ModuleNotFoundError as error:
        package = (error.name or "owae").partition(".")[0]
        if package.startswith("owae"):
            return _bug()
        _tell(
            f"the package '{package}', which this needs, is not installed; pip install 'owae[all]' brings all that owae's plugins need"
        )
        return 2
    except Exception:
        return _bug()
    return 0


def _refused(error: OSError) -> int:
    """Tells what the system would not do, if that is no bug; returns the exit code."""
    if error.errno not in _REFUSALS:
        return _bug()
    if error.filename is None:  # what owae writes beside its results has a name, or an error of owae's own
        return _lost(error)
    _tell(f"{error.filename}: {error.strerror}")
    return 2


def _lost(error: OSError) -> int:
    """Tells that the results could not be written, unless whoever read them has gone; returns the exit code."""
    if error.errno != errno.EPIPE:
        _tell(f"the results could not be written: {error.strerror}")
    return 1


def _bug() -> int:
    """Tells of an error that no user can mend; returns the exit code."""
    with contextlib.suppress(OSError):
        traceback.print_exc()
        typer.echo("this is a bug in owae or in a plugin: please report it with the lines above", err=True)
    return 1


class Commands(TyperGroup):
    """The commands of all installed distributions, each imported when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(available())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        commands = available()
        if cmd_name not in commands:
            said = [f"no such command '{cmd_name}'", suggestion(cmd_name, commands), restriction()]
            return ctx.fail("; ".join(filter(None, said)))
        try:
            return loaded(cmd_name, commands[cmd_name])
        except PluginError as error:
            return _unusable(cmd_name, str(error))


app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, rich_markup_mode=None, context_settings=_SETTINGS)


def _print_version(value: bool) -> bool:
    if value:
        from owae import __version__

        typer.echo(f"owae {__version__}")
        raise typer.Exit
    return value


@app.callback()
def owae(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Also log details.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Log warnings and errors only.")] = False,
) -> None:
    """Deep-latent hierarchies by stacking Wasserstein autoencoders.

    Results go to stdout, logs to stderr. Commands and components can come from plugins: `owae plugins` lists them.
    """
    set_up_logging(verbose=verbose, quiet=quiet)


def available() -> dict[str, list[Declared]]:
    """Returns the commands by name, each with the distributions that declare it; `OWAE_PLUGINS` restricts all but owae's own."""
    return discovery.available(COMMANDS)


def loaded(name: str, owners: Sequence[Declared]) -> Any:
    """Imports a command; `PluginError` if that fails, or it has several owners."""
    return discovery.load(f"command '{name}'", owners, partial(_command, name))


def _command(name: str, target: Any) -> Any:
    if not isinstance(target, typer.Typer):
        if not callable(target):
            raise TypeError(f"{target!r} is neither a function nor a typer.Typer")
        target = _app_of(target, name)
    command = typer.main.get_command(target)
    command.name = name
    command.short_help = command.get_short_help_str(limit=1000)  # of a long help, the list would cut it to the terminal's width
    # What a Typer adds to a program of its own has no place in a command of ours.
    command.params = [parameter for parameter in command.params if parameter.name not in ("install_completion", "show_completion")]
    return command


def _unusable(name: str, why: str) -> Any:
    """Makes a command that can only say why it cannot be used."""

    def refuse() -> None:
        raise PluginError(why)

    settings = {"allow_extra_args": True, "ignore_unknown_options": True}
    return _command(name, _app_of(refuse, name, help=f"Unavailable: {why}", context_settings=settings, add_help_option=False))


def _app_of(function: Any, name: str, **options: Any) -> typer.Typer:
    alone = typer.Typer(add_completion=False, rich_markup_mode=None)
    alone.command(name, **{"context_settings": _SETTINGS, **options})(function)
    return alone


def _tell(message: str) -> None:
    """Writes an error to stderr, if that can be written."""
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    with contextlib.suppress(OSError):
        # Only a terminal has a width to wrap at; elsewhere a path is not to be cut in two.
        console.print(Text.assemble(("error: ", "red"), message), soft_wrap=not console.is_terminal)
