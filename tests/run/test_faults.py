"""The machine fails while training writes: a full disk, a folder turned read-only, two who want one folder. All of it real."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tiny
from processes import Process, start, wait_for_checkpoint

from owae import Config, Registry
from owae.run import checkpoint
from owae.run.metrics import read_metrics
from owae.run.opened import open_run
from owae.run.train import train

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="limits and mounts of Linux")]


def mounted(*arguments: str) -> bool:
    return os.geteuid() == 0 and subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@contextmanager
def small_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    if not mounted("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)):
        pytest.skip("no right to mount a small file system")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder cannot be written, not even by root."""
    if os.geteuid() != 0:
        folder.chmod(0o555)
        try:
            yield
        finally:
            folder.chmod(0o755)
        return
    # A mount cannot be made read-only while a file in it is open for writing. So a second one is, where nobody writes, and
    # a copy of it, which is read-only from its first moment, is laid over the folder.
    with tempfile.TemporaryDirectory() as aside:
        if not mounted("--bind", str(folder), aside):
            pytest.skip("root, and no right to mount")
        try:
            assert mounted("-o", "remount,ro,bind", aside)
            assert mounted("--bind", aside, str(folder))
        finally:
            subprocess.run(["umount", "-l", aside], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leave no room on a disk."""
    with contextlib.suppress(OSError), (disk / "filler").open("ab", buffering=0) as file:
        while True:
            file.write(b"0" * 4096)


def assert_stopped_and_whole(process: Process, folder: Path, *words: str) -> None:
    """It said why and ended, the last good checkpoint opens, the log parses, and the run can go on."""
    out, err = process.communicate(timeout=900)
    assert (process.returncode, out) == (2, "")
    assert "Traceback" not in err
    for word in words:
        assert word in err, err
    run = open_run(folder / "run")
    assert run.step > 0
    assert run.model.sample(2).isfinite().all()
    assert read_metrics(folder / "run" / "metrics.jsonl")[0]["step"] == 1


def assert_goes_on(folder: Path) -> None:
    run, registry = open_run(folder / "run"), Registry.discover()
    train(Config.load(folder / "tiny.toml", registry, [f"train.epochs={run.epoch + 1}"]), registry, out=run.folder, resume=True)
    lines = read_metrics(folder / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 4 * run.epoch + 5))


@pytest.mark.parametrize(("share", "words"), [(0.5, "could not be written"), (2.0, "cannot be written any more")])
def test_no_more_room_for_a_file(tmp_path: Path, share: float, words: str):
    """A limit on files, below the checkpoints' size and above it: then it is the log that reaches it."""
    process = start(tmp_path)
    wait_for_checkpoint(tmp_path, process)
    size = checkpoint.paths(tmp_path / "run" / "checkpoints")[0].stat().st_size
    limit = int(share * size)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    assert_stopped_and_whole(process, tmp_path, words, "checkpoint")
    assert_goes_on(tmp_path)


def test_a_full_disk(tmp_path: Path):
    disk = tmp_path / "disk"
    with small_disk(disk):
        process = start(disk)
        wait_for_checkpoint(disk, process)
        while process.poll() is None:  # again and again: an older checkpoint that is deleted leaves room
            fill(disk)
            time.sleep(0.05)
        assert_stopped_and_whole(process, disk, "No space left on device", "checkpoint")
        assert not list((disk / "run" / "checkpoints").glob(".writing*"))
        (disk / "filler").unlink()
        assert_goes_on(disk)


def test_a_folder_turned_read_only(tmp_path: Path):
    process = start(tmp_path)
    wait_for_checkpoint(tmp_path, process)
    with read_only(tmp_path / "run" / "checkpoints"):
        assert_stopped_and_whole(process, tmp_path, "could not be written", "the newest checkpoint is")
    assert_goes_on(tmp_path)


def test_a_read_only_place_is_refused_at_the_start(tmp_path: Path, command: Callable[..., tuple[object, str, str]]):
    (tmp_path / "place").mkdir()
    with read_only(tmp_path / "place"):
        code, out, err = command("train", tiny.config(tmp_path), "--out", tmp_path / "place" / "run")
    assert (code, out) == (2, "")
    assert "cannot be made or written" in err
    assert "Traceback" not in err


def test_two_started_at_once_never_share_a_folder(tmp_path: Path):
    tiny.config(tmp_path, epochs=3)
    for attempt in range(2):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        processes = [start(tmp_path, *(["--resume"] if attempt else [])) for _ in range(2)]
        ends = [(process.communicate(timeout=900), process.returncode) for process in processes]
        # One trains; the others come while it does, or after it: then --resume finds it complete.
        assert sum(code == 0 for _, code in ends) >= 1
        for (_, err), code in ends:
            assert code == 0 or "another process is training" in err or "already holds a run" in err, err
        lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
        assert [line["step"] for line in lines] == list(range(1, 13))
        assert open_run(tmp_path / "run").step == 12


def test_nothing_is_loaded_that_is_not_used(tmp_path: Path):
    """Nobody waits for loggers and pictures that nobody asked for."""
    code = (
        "import sys\n"
        "from owae.cli import main\n"
        "try:\n"
        f"    main(['train', '{tiny.config(tmp_path, epochs=1)}', '--out', '{tmp_path / 'run'}'])\n"
        "except SystemExit as end:\n"
        "    assert not end.code\n"
        "loaded = {'tensorboard', 'wandb', 'torchvision', 'matplotlib.pyplot'} & set(sys.modules)\n"
        "assert not loaded, loaded\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stderr
