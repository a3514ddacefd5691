"""Broken, clashing and misspelt plugins, truly installed, are told and stop nothing else."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import tiny
from installed import install, owae

from owae.cli import available, loaded, main
from owae.files import expanded

FLAT = """
import owae

class Flat(owae.Divergence):
    name = "{name}"

    def forward(self, x, y):
        return (x.mean(0) - y.mean(0)).square().sum()

@owae.hookimpl
def {hook}():
    return [Flat]
"""

LOUD = FLAT.format(name="p-loud", hook="owae_components").replace(
    "    def forward",
    "    def __init__(self) -> None:\n        super().__init__()\n        print('in a component')\n\n    def forward",
)

COMMANDS = """
import typer

print("a greeting")
app = typer.Typer()

@app.command()
def one(times: int = 1) -> None:
    "One of two."
    typer.echo("one" * times)

@app.command()
def two() -> None:
    "Two of two."

def alone(word: str = "hello") -> None:
    "Say a word."
    typer.echo(word)

number = 3
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed distributions, most of them broken."""
    made = tmp_path_factory.mktemp("site")
    install(made, "owae-p-raises", "import a_module_that_is_not_there", components=True)
    install(made, "owae-p-exits", "raise SystemExit('bye')", components=True, commands={"exits": "alone"})
    install(made, "owae-p-second", FLAT.format(name="mmd", hook="owae_components"), components=True)
    install(made, "owae-p-misspelt", FLAT.format(name="never", hook="owae_component"), components=True)
    install(made, "owae-p-fine", FLAT.format(name="p-flat", hook="owae_components"), components=True)
    install(made, "owae-p-loud", f"print('at import')\n{LOUD}", components=True)
    install(made, "owae-p-group", COMMANDS, commands={"group": "app", "alone": "alone", "number": "number", "gone": "gone"})
    install(made, "owae-p-other", COMMANDS, commands={"alone": "alone"})
    return made


@pytest.fixture
def run(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Runs a command line in this process, with those distributions: exit code, stdout, stderr."""
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("OWAE_PLUGINS", raising=False)

    def ran(*arguments: str, plugins: str | None = None) -> tuple[object, str, str]:
        if plugins is not None:
            monkeypatch.setenv("OWAE_PLUGINS", plugins)
        for name in [name for name in sys.modules if name.startswith("owae_p_")]:
            del sys.modules[name]
        with pytest.raises(SystemExit) as exited:
            main(arguments)
        out, err = capsys.readouterr()
        return exited.value.code, out, err

    return ran


def test_help_lists_every_command_and_why_some_are_unavailable(run) -> None:
    code, out, err = run("--help")
    text = " ".join(out.split())
    assert code == 0
    for command in ("check", "plugins", "train", "group", "alone", "exits"):
        assert f" {command} " in text
    assert "exits Unavailable: command 'exits' of 'owae-p-exits' cannot be used: SystemExit: bye" in text
    assert "number Unavailable: command 'number' of 'owae-p-group' cannot be used: TypeError: 3 is neither" in text
    assert "gone Unavailable: " in text
    assert "alone Unavailable: command 'alone' is claimed by 'owae-p-group' and 'owae-p-other'" in text
    assert "a greeting" not in out
    assert "a greeting" in err


@pytest.mark.parametrize("arguments", [["exits"], ["exits", "--help"], ["exits", "something", "--else=3"]])
def test_an_unavailable_command_says_why_when_it_is_used(arguments: list[str], run) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "command 'exits' of 'owae-p-exits' cannot be used: SystemExit: bye" in err
    assert "Traceback" not in err


def test_a_command_with_two_owners_names_both_when_it_is_used(run) -> None:
    code, _, err = run("alone")
    assert code == 2
    assert "'owae-p-group' and 'owae-p-other'" in err
    assert "OWAE_PLUGINS" in err
    assert run("alone", "--word", "hi", plugins="owae-p-other")[:2] == (0, "hi\n")


def test_commands_of_plugins_run(run) -> None:
    assert run("group", "one", "--times", "2")[:2] == (0, "oneone\n")
    code, out, _ = run("group", "--help")
    assert code == 0
    assert "Two of two." in out
    assert "completion" not in out


def test_the_environment_restricts_commands_but_not_owaes_own(run) -> None:
    _, out, _ = run("--help", plugins="owae_p_other")
    assert " alone " in out
    assert " train " in out
    assert " group " not in out
    code, _, err = run("group", plugins="")
    assert code == 2
    assert "no such command 'group'" in err


def test_plugins_lists_components_commands_and_failures(run) -> None:
    code, out, _ = run("plugins", "--json")
    assert code == 0
    rows = json.loads(out)
    assert all(set(row) == {"name", "kind", "distribution", "version", "status"} for row in rows)
    status = {(row["distribution"], row["name"]): (row["kind"], row["version"], row["status"]) for row in rows}
    assert status["owae-p-fine", "p-flat"] == ("divergence", "1.2", "ok")
    assert status["owae-p-second", "mmd"] == ("divergence", "1.2", "clash: also claimed by owae-mmd")
    assert status["owae-mmd", "mmd"][2] == "clash: also claimed by owae-p-second"
    assert "ModuleNotFoundError" in status["owae-p-raises", "owae-p-raises"][2]
    assert status["owae-p-exits", "owae-p-exits"] == ("plugin", "1.2", "failed: SystemExit: bye")
    assert "did you mean 'owae_components'" in status["owae-p-misspelt", "owae-p-misspelt"][2]
    assert status["owae", "train"][0::2] == ("command", "ok")
    assert status["owae-p-exits", "exits"][2].startswith("failed: ")
    assert status["owae-p-other", "alone"][2].startswith("clash: ")


def test_json_is_alone_on_stdout_where_plugins_print(run, tmp_path: Path) -> None:
    code, out, err = run("check", str(tiny.config(tmp_path)), "--json", "--set", "divergence.kind=p-loud")
    assert code == 0
    assert json.loads(out)["divergence"] == {"divergence": "p-loud"}
    assert "at import" in err
    assert "in a component" in err
    assert json.loads(run("plugins", "--json")[1])


def test_plugins_prints_a_line_each(run) -> None:
    code, out, err = run("plugins")
    assert code == 0
    assert "OWAE_PLUGINS" not in err
    lines = {tuple(line.split()[:4]): line for line in out.splitlines()}
    assert lines["p-flat", "divergence", "owae-p-fine", "1.2"].endswith("ok")
    assert lines["owae-p-exits", "plugin", "owae-p-exits", "1.2"].endswith("failed: SystemExit: bye")
    code, out, err = run("plugins", plugins="owae-dev, owae-p-fine, owae-p-nowhere")
    assert "OWAE_PLUGINS restricts plugins to: owae-dev, owae-p-fine, owae-p-nowhere" in err
    assert "owae-p-raises" not in out
    assert "named in OWAE_PLUGINS, but not installed" in out
    code, out, err = run("plugins", plugins="owae-p-fine")
    assert (code, out) == (2, "")
    assert "no such command 'plugins'" in err
    assert "OWAE_PLUGINS restricts plugins to: owae-p-fine" in err


def test_a_component_with_two_owners_names_both_when_it_is_used(run, tmp_path: Path) -> None:
    code, out, err = run("check", str(tiny.config(tmp_path)))
    assert (code, out) == (2, "")
    assert "divergence.kind: divergence 'mmd' is claimed by 'owae-mmd' and 'owae-p-second'" in err


def test_a_failed_plugin_is_told_where_its_component_is_missing(run, tmp_path: Path) -> None:
    code, _, err = run("check", str(tiny.config(tmp_path)), "--set", "divergence.kind=never")
    assert code == 2
    assert "no divergence is called 'never'" in err
    for plugin in ("owae-p-raises", "owae-p-exits", "owae-p-misspelt"):
        assert err.count(f"plugin '{plugin}' of {plugin} failed: ") == 1
    assert "failed: unknown hook 'owae_component'" in err


def test_failed_plugins_are_not_told_where_none_of_their_names_is_needed(run, tmp_path: Path) -> None:
    code, _, err = run("check", str(tiny.config(tmp_path)), "--set", "divergence.kind=p-flat")
    assert code == 0
    assert "failed" not in err


@pytest.mark.slow
def test_training_goes_on_beside_broken_plugins(folder: Path, tmp_path: Path) -> None:
    config = tiny.config(tmp_path, epochs=1)
    ran = owae("train", str(config), "--set", "divergence.kind=p-flat", "--out", str(tmp_path / "run"), path=folder)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == f"{tmp_path / 'run'}\n"
    assert "owae-p-raises" not in ran.stderr
    assert "failed" not in ran.stderr


def leaves(command: Any) -> list[Any]:
    """A command, or all below a group."""
    return [leaf for each in command.commands.values() for leaf in leaves(each)] if hasattr(command, "commands") else [command]


@pytest.mark.parametrize("name", sorted(available()))
def test_every_path_of_every_command_may_hold_variables(name: str) -> None:
    """`~` and `$SCRATCH`, as in configs."""
    for leaf in leaves(loaded(name, available()[name])):
        hints = get_type_hints(inspect.unwrap(leaf.callback), include_extras=True)
        plain = [key for key, hint in hints.items() if "Path" in str(hint) and hint.__metadata__[0].parser is not expanded]
        assert not plain, f"owae {name} {leaf.name}"
