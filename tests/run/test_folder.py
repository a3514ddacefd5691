"""A run folder: its lock, who may read it, what is deleted and when, and what an interrupted write leaves."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import stat
from pathlib import Path

import pytest
import torch
from interruption import contents

from owae.errors import TrainingError
from owae.files import clear_temporary, delete_all, replace_durably, write_durably
from owae.run import checkpoint
from owae.run.folder import writing
from owae.run.metrics import read_metrics
from owae.run.opened import open_run

fcntl = pytest.importorskip("fcntl")


def state(step: int) -> dict:
    return {"model": {"a": torch.full((100,), float(step))}, "step": step}


# Checkpoints


def test_what_was_just_written_is_never_deleted(tmp_path: Path):
    """Whatever lies there of a higher number, and however few are kept."""
    (tmp_path / "step-000000099.safetensors").write_bytes(b"cut")
    for step in (1, 2, 3):
        assert checkpoint.save(tmp_path, state(step), keep=1).exists()
    assert [path.name[5:14] for path in checkpoint.paths(tmp_path)] == ["000000099", "000000003"]


@pytest.mark.slow
def test_what_does_not_open_is_put_aside_and_not_counted(make_short, caplog: pytest.LogCaptureFixture):
    run = make_short("run", "train.keep=2")
    newest = checkpoint.paths(run.folder / "checkpoints")[0]
    newest.write_bytes(newest.read_bytes()[:1000])
    damaged = newest.read_bytes()
    assert make_short("run", "train.keep=2", "train.epochs=4", resume=True).step == 8
    assert [path.name[5:14] for path in checkpoint.paths(run.folder / "checkpoints")] == ["000000008", "000000006"]
    assert newest.with_name(f"{newest.name}.damaged").read_bytes() == damaged
    straight = make_short("straight", "train.keep=2", "train.epochs=4")
    assert contents(straight.folder, "checkpoints/*8*") == contents(run.folder, "checkpoints/*8*")


@pytest.mark.slow
def test_a_checkpoint_under_another_number_is_not_taken_for_damaged(make_short):
    run = make_short()
    newest = checkpoint.paths(run.folder / "checkpoints")[0]
    newest.rename(newest.with_name("step-000000050.safetensors"))
    run = make_short("run", "train.epochs=3", resume=True)
    assert not list(run.folder.rglob("*.damaged"))
    assert open_run(run.folder).step == 6  # under its later number it would stay the newest


@pytest.mark.parametrize("mask", [0o022, 0o007])
def test_the_umask_decides_who_reads_a_run(make_short, mask: int):
    before = os.umask(mask)
    try:
        run = make_short("run", "train.epochs=1", "train.validation=0.25", 'train.best="validation/loss"')
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in run.folder.rglob("*") if path.is_file()}
    assert {"best.safetensors", "step-000000002.safetensors", "run.json", "metrics.jsonl", ".lock"} <= set(modes)
    assert set(modes.values()) == {0o666 & ~mask}, modes


def test_checkpoints_by_steps(make_short):
    run = make_short("run", "train.checkpoint_steps=3", "train.keep=9", "train.epochs=3")
    assert [int(path.stem[5:]) for path in checkpoint.paths(run.folder / "checkpoints")] == [6, 4, 3, 2]


@pytest.mark.slow
def test_checkpoints_by_minutes(make_short, monkeypatch: pytest.MonkeyPatch):
    """A clock that goes on by a minute whenever it is asked; checkpoints at ends of epochs count as well."""
    now = itertools.count(0, 60)
    monkeypatch.setattr("owae.run.saving.time", type("Clock", (), {"monotonic": lambda: next(now)}))
    run = make_short("run", "train.checkpoint_minutes=6", "train.keep=99", "train.epochs=10", "train.checkpoint_every=10")
    steps = [int(path.stem[5:]) for path in checkpoint.paths(run.folder / "checkpoints")][::-1]
    assert steps[-1] == 20
    assert {after - before for before, after in itertools.pairwise(steps[:-1])} == {3}, "asked twice a step"


# Locks


@pytest.mark.parametrize("code", [errno.EWOULDBLOCK, errno.EACCES])
def test_a_folder_in_use_is_refused(make_short, code: int, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(TrainingError, match="another process is training"):
        make_short()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL])
def test_a_file_system_without_locks_is_said_once(make_short, code: int, monkeypatch: pytest.MonkeyPatch, caplog):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert make_short("run", "train.epochs=1").step == 2
    told = [record for record in caplog.records if "cannot be locked" in record.message]
    assert [record.levelno for record in told] == [logging.WARNING]


# Writes


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF])
def test_a_file_system_that_flushes_no_folder(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch):
    fsync = os.fsync

    def on_files_alone(number: int) -> None:
        if stat.S_ISDIR(os.fstat(number).st_mode):
            raise OSError(code, os.strerror(code))
        fsync(number)

    monkeypatch.setattr(os, "fsync", on_files_alone)
    write_durably(tmp_path / "file", "content")
    assert (tmp_path / "file").read_text() == "content"


def test_other_failures_to_flush_are_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(number: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (tmp_path / ".writing-file").touch()
    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error"):
        replace_durably(tmp_path / ".writing-file", tmp_path / "file")
    with pytest.raises(OSError, match="Input/output error"):
        write_durably(tmp_path / "other", "content")
    assert not (tmp_path / "other").exists()


def test_what_interrupted_writes_left_is_cleared_at_the_next_start(make_short):
    run = make_short("run", "train.epochs=1")
    left = [
        ".writing-run.json",
        "checkpoints/.writing-step-000000008.safetensors",
        "checkpoints/.tmpa1B2c3",
        "pictures/.writing-a.png",
    ]
    for name in [*left, "figures/.writing-samples.png", "notes.txt", ".hidden"]:
        (run.folder / name).parent.mkdir(exist_ok=True)
        (run.folder / name).write_text("part of a file")
    (run.folder / ".writing-codes.npz.columns").mkdir()
    (run.folder / ".writing-codes.npz.columns/z1.npy").write_text("part of a file")
    make_short("run", resume=True)
    still = [name for name, content in contents(run.folder, "**/*").items() if content == b"part of a file"]
    assert still == [".hidden", "notes.txt"]
    clear_temporary(run.folder / "no such folder")


@pytest.mark.slow
def test_a_log_with_damaged_lines_keeps_the_others(make_short):
    run = make_short()
    path = run.folder / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], b"\xff\x00\n", b"[1]\n", b'{"step": "x"}\n', *lines[2:], lines[0][:20]]))
    assert [line["step"] for line in read_metrics(path)] == list(range(1, 5))
    make_short("run", "train.epochs=3", resume=True)
    assert [line["step"] for line in read_metrics(path)] == list(range(1, 7))


# Overwriting


def test_all_are_deleted_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    files = [tmp_path / name for name in "abc"]
    for path in files:
        path.write_text(path.name)
    rename = Path.rename

    def stuck(self: Path, target: Path) -> Path:
        if self.name == "c":
            raise PermissionError(errno.EPERM, "Operation not permitted", str(self))
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stuck)
        with pytest.raises(PermissionError):
            delete_all(files)
        assert contents(tmp_path, "*") == {"a": b"a", "b": b"b", "c": b"c"}
    delete_all(files)
    assert not list(tmp_path.iterdir())


def test_an_overwrite_that_cannot_delete_all_deletes_nothing(make_short, monkeypatch: pytest.MonkeyPatch):
    run = make_short()
    before = contents(run.folder, "**/*")
    rename = Path.rename

    def stuck(self: Path, target: Path) -> Path:
        if self.name == "step-000000004.safetensors":
            raise OSError(errno.EROFS, "Read-only file system", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stuck)
    with pytest.raises(TrainingError, match=rf"the run in {run.folder} cannot be replaced, and was left as it is: .*Read-only"):
        make_short("run", "train.epochs=1", overwrite=True)
    assert contents(run.folder, "**/*") == before
    assert open_run(run.folder).step == 4


def test_an_overwrite_deletes_nothing_before_all_else_is_checked(make_short):
    run = make_short()
    before = contents(run.folder, "**/*")
    with pytest.raises(TrainingError, match=r"train\.device|device"):
        make_short("run", "train.device=cuda:7", overwrite=True)
    assert contents(run.folder, "**/*") == before


@pytest.mark.slow
def test_an_overwrite_takes_links_for_what_they_are(make_short, tmp_path: Path):
    run = make_short()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "precious").write_text("not of this run")
    (run.folder / "link").symlink_to(tmp_path / "elsewhere")
    make_short("run", "train.epochs=1", overwrite=True)
    assert not (run.folder / "link").is_symlink()
    assert (tmp_path / "elsewhere" / "precious").exists()


@pytest.mark.parametrize("left", [["checkpoints/empty"], ["checkpoints", "pictures"]])
def test_a_folder_that_holds_nothing_but_folders_is_free(make_short, tmp_path: Path, left: list[str]):
    for name in left:
        (tmp_path / "run" / name).mkdir(parents=True)
    (tmp_path / "run" / ".writing-run.json").touch()
    assert make_short("run", "train.epochs=1").step == 2


# Failures


def test_a_failed_removal_of_an_old_checkpoint_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The folder has turned read-only between the save and the clean-up."""
    checkpoint.save(tmp_path, state(1))

    def refuse(self: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(self))

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(TrainingError, match=r"older checkpoints in .* cannot be removed: .*Read-only.*step-000000002.* is written"):
        checkpoint.save(tmp_path, state(2), keep=1)
    assert checkpoint.load_newest(tmp_path)[1]["step"] == 2  # pyright: ignore[reportOptionalSubscript]


@pytest.mark.parametrize("name", [".writing-run.json", ".writing-config.toml", "metrics.jsonl"])
def test_a_disk_that_is_full_at_the_start_is_told(make_short, name: str, monkeypatch: pytest.MonkeyPatch):
    opened = Path.open

    def full(self: Path, mode: str = "r", *more, **options):
        if self.name == name and mode != "r":
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return opened(self, mode, *more, **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(TrainingError, match=r"run cannot be (made or written|written any more): .*No space left"):
        make_short()


def test_writing_names_folder_and_reason(tmp_path: Path):
    with pytest.raises(TrainingError, match=f"{tmp_path} cannot be written any more: .*No space left"), writing(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
