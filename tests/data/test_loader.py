"""Who reads the examples (this process or workers) changes nothing of what is read; and nobody is left behind."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing import resource_tracker
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
import torch
from listed import Locked, OneByOne, Restless
from processes import start, wait_for_checkpoint

from owae.data import workers
from owae.data.loader import Loader, resident
from owae.data.sources import Subset, TensorSource, as_floats
from owae.data.workers import Workers
from owae.errors import DataError
from owae.interfaces import DataSource
from owae.training import fit


def loader(source: DataSource, workers: int, method: str = "fork", seed: int = 3) -> Loader:
    made = Loader(source, 8, seed, workers=workers)
    if made.workers is not None:
        made.workers.start_method = method
    return made


def started_by_this() -> set[int]:
    """Live processes whose parent is this one, but for the tracker of shared memory, which serves all of them."""
    tracker = getattr(resource_tracker, "_resource_tracker")._pid  # noqa: B009 # untyped and private
    found = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
    alive = {int(pid) for pid in found if "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]}
    return alive - {tracker}


@pytest.fixture
def children() -> Callable[[], set[int]]:
    """Gives the processes that the test itself started; a library that compiles, for one, keeps some over tests."""
    before = started_by_this()
    return lambda: started_by_this() - before


@pytest.mark.parametrize("method", [pytest.param("spawn", marks=pytest.mark.slow), "fork"])
def test_workers_give_the_batches_of_one_process(method: str, children: Callable[[], set[int]]):
    """To the bit, over epochs, from the middle of one, after one that was left, and drawing nothing from training's noise."""
    plain, read = loader(OneByOne(), 0), loader(OneByOne(), 2, method)
    state = torch.get_rng_state()
    try:
        for epoch, start in ((1, 0), (2, 3), (2, 0)):
            expected, got = list(plain.epoch(epoch, start)), list(read.epoch(epoch, start))
            assert len(expected) == len(got) == 5 - start
            assert all(torch.equal(a, b) for a, b in zip(expected, got, strict=True))
        left = read.epoch(3)
        next(left)
        left.close()
        assert torch.equal(next(read.epoch(4)), next(plain.epoch(4)))
        assert len(children()) == 2, "workers are kept over epochs"
    finally:
        read.close()
    assert torch.equal(torch.get_rng_state(), state)
    assert not children()
    assert torch.equal(next(read.epoch(1)), next(plain.epoch(1))), "started anew after close"
    read.close()
    assert not children()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_fault_of_the_source_is_told_as_it_is(workers: int):
    with pytest.raises(DataError, match=r"^picture 3 cannot be read$"):
        next(loader(OneByOne(fault="data"), workers).epoch(1))
    with pytest.raises(ZeroDivisionError, match="a bug"):
        next(loader(OneByOne(fault="bug"), workers).epoch(1))


def test_a_worker_that_dies_is_said_with_what_would_work(children: Callable[[], set[int]]):
    with pytest.raises(DataError, match=r"a worker that reads examples died.*train\.workers = 0"):
        next(loader(OneByOne(fault="death"), 2).epoch(1))
    assert not children()


def test_a_source_that_cannot_be_sent_to_workers_is_refused_with_the_reason():
    with pytest.raises(DataError, match=r"Locked cannot be sent to workers: .*lock.*train\.workers = 0"):
        next(loader(Locked(), 2, "spawn").epoch(1))
    assert len(list(loader(Locked(), 2, "fork").epoch(1))) == 5
    assert len(list(loader(Locked(), 0).epoch(1))) == 5


def test_workers_are_spawned():
    assert Workers(OneByOne(), 1).start_method == "spawn"


def test_fewer_than_no_workers_are_refused():
    with pytest.raises(DataError, match="workers is -1; 0 or more"):
        Loader(OneByOne(), 8, workers=-1)


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (-0.5, 0.5)])
def test_bytes_span_the_range(value_range: tuple[float, float]):
    low, high = value_range
    floats = as_floats(torch.arange(256, dtype=torch.uint8), value_range)
    assert floats.dtype == torch.float32
    assert (floats[0].item(), floats[-1].item()) == value_range
    assert torch.allclose(floats, torch.linspace(low, high, 256), rtol=0, atol=1e-6 * (high - low))


def test_examples_that_fit_rest_on_the_device_and_others_do_not():
    cpu = torch.device("cpu")
    source = TensorSource(torch.randint(0, 256, (20_000, 2), dtype=torch.uint8))
    held = resident(source, cpu, room=40_000)
    assert held is not None
    assert torch.equal(held.examples, source.examples)
    assert held.examples.dtype == torch.uint8
    assert resident(source, cpu, room=39_999) is None
    assert resident(OneByOne(), cpu, room=1e9) is None
    assert resident(Subset(OneByOne(), torch.arange(9)), cpu, room=1e9) is None, "a part of it reads one by one too"
    assert resident(Restless(), cpu, room=1e9) is None


def test_an_epoch_that_waits_for_reading_says_so_once(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO, "owae"):
        slow, quick = Loader(OneByOne(pause=0.001), 8), Loader(TensorSource(torch.zeros(40, 2)), 8)
        for epoch in (1, 2):
            list(slow.epoch(epoch))
            list(quick.epoch(epoch))
    assert slow.waited > 0.05
    assert sum("train.workers = 2 would read ahead" in record.message for record in caplog.records) == 1


@pytest.mark.slow
def test_training_with_workers_is_training_without(make_plain, monkeypatch: pytest.MonkeyPatch, children: Callable[[], set[int]]):
    """From the config on: interrupted in mid-epoch and gone on with, the number of workers changed on the way."""
    from interruption import contents, interrupt_at

    from owae.errors import InterruptionError

    monkeypatch.setattr("owae.data.workers.START_METHOD", "fork")
    straight = make_plain("straight")
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(InterruptionError):
            make_plain("stopped", "train.workers=2")
    assert not children()
    resumed = make_plain("stopped", "train.workers=1", resume=True)
    for pattern in ("checkpoints/step-000000008*", "metrics.jsonl"):
        assert contents(straight.folder, pattern) == contents(resumed.folder, pattern) != {}


def test_leaving_the_loop_ends_the_workers(monkeypatch: pytest.MonkeyPatch, children: Callable[[], set[int]]):
    monkeypatch.setattr("owae.data.workers.START_METHOD", "fork")
    for _ in fit(tiny.stack(), tiny.images(), epochs=5, batch_size=16, workers=2):
        assert len(children()) == 2
        break
    assert not children()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_whole_group_leaves_no_worker(tmp_path: Path, number: signal.Signals, code: int):
    """As a terminal or a scheduler does it: the workers get the signal too, and training still saves its step."""
    process = start(tmp_path, "--set", "train.workers=2")
    wait_for_checkpoint(tmp_path, process)
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=900)
    assert process.returncode == code, err
    assert "is saved, --resume goes on" in err
    assert "Traceback" not in err
    deadline = time.monotonic() + 900
    while (alive := in_session(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not alive


def in_session(session: int) -> list[str]:
    """Live processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if fields[0] != "Z" and int(fields[3]) == session:
            found.append(stat.parent.name)
    return found


@pytest.mark.gpu
@pytest.mark.parametrize("room", [0.0, 1.0])
def test_a_device_gets_the_batches_of_the_cpu(device: torch.device, monkeypatch: pytest.MonkeyPatch, room: float):
    """At rest on the device, and read batch by batch."""
    if device.type != "cuda":
        pytest.skip("for CUDA")
    monkeypatch.setattr("owae.data.loader.SHARE", room)
    source = TensorSource(torch.randint(0, 256, (1000, 3, 8, 8), dtype=torch.uint8), None, (-1.0, 1.0))
    here, there = Loader(source, 64), Loader(source, 64, device=device)
    for a, b in zip(here.epoch(1, 2), there.epoch(1, 2), strict=True):
        assert torch.equal(a, b.cpu())


def test_a_worker_ends_when_its_parent_has(monkeypatch: pytest.MonkeyPatch):
    died, codes = threading.Event(), queue.Queue()
    monkeypatch.setattr("multiprocessing.parent_process", lambda: SimpleNamespace(join=died.wait))
    monkeypatch.setattr("os._exit", codes.put)
    workers._end_with_the_parent(0)
    assert codes.empty()
    died.set()
    assert codes.get(timeout=900) == 1
