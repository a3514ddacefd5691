"""`owae doctor` says what works, and what is used in place of what does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed import install, owae

from owae_dev import doctor


def states(found: list[doctor.Finding]) -> dict[str, str]:
    return {finding.part: finding.state for finding in found}


def test_without_a_compiler_everything_that_needs_one_falls_back_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    found = [*doctor._inductor(), *doctor._keops()]
    assert states(found) == {"C++ compiler": "fallback", "torch.compile": "fallback", "KeOps": "fallback"}
    assert all("install g++" in finding.instead for finding in found)


@pytest.mark.parametrize(("folder", "words"), [("a space/keops", "has a space"), ("file/keops", "cannot be written")])
def test_a_cache_that_keops_cannot_use_is_named(folder: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("KEOPS_CACHE_FOLDER", str(tmp_path / folder))
    (found,) = doctor._keops()
    assert found.state == "fallback"
    assert words in found.found
    assert str(tmp_path / folder) in found.found
    assert "KEOPS_CACHE_FOLDER" in found.instead
    assert not (tmp_path / "a space").exists()


def test_a_package_that_is_missing_is_told_with_what_happens_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    for look in (doctor._keops, doctor._geomloss):
        (found,) = look()
        assert (found.state, "pip install" in found.instead) == ("absent", True)


def test_a_look_that_fails_is_a_finding_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken():
        raise RuntimeError("no such luck")

    for name in ("_inductor", "_keops"):  # compiling takes seconds
        monkeypatch.setattr(doctor, name, list)
    monkeypatch.setattr(doctor, "_torch", broken)
    found = {finding.part: finding for finding in doctor.findings()}
    assert (found["broken"].state, found["broken"].found) == ("failed", "RuntimeError: no such luck")
    assert found["data folder"].state == "ok"


@pytest.mark.slow
def test_the_command_tells_of_broken_plugins_and_of_every_plugin_that_works(tmp_path: Path) -> None:
    install(tmp_path, "owae-p-raises", "import a_module_that_is_not_there", components=True)
    ran = owae("doctor", "--json", path=tmp_path)
    assert ran.returncode == 0, ran.stderr
    found = {finding["part"]: finding for finding in json.loads(ran.stdout)}
    assert found["plugin owae-p-raises"]["state"] == "failed"
    assert "a_module_that_is_not_there" in found["plugin owae-p-raises"]["found"]
    assert any(part.startswith("plugin owae-mmd") and "divergence mmd" in one["found"] for part, one in found.items())
    assert {"python", "torch", "C++ compiler", "torch.compile", "KeOps", "geomloss", "data folder"} <= set(found)
