"""The file that decoded pictures are kept in: an interrupted decoding goes on, room is looked for first, memory stays bounded."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from owae.errors import DataError
from owae_data import base, cache, picture_sets
from owae_data.arrays import Arrays
from owae_data.cache import ArrayCache, Decoder

ROWS = np.random.default_rng(0).integers(0, 256, (50, 1, 4, 4), dtype=np.uint8)


def decoder(seen: list[int], stop: type[BaseException] | None = None, at: int = 30) -> Decoder:
    """Ten rows at a time, interrupted before some; notes tell how far it came."""

    def blocks(start: int = 0, notes: object = None) -> Iterator[np.ndarray]:
        for row in range(start, 50, 10):
            if stop is not None and row == at:
                raise stop
            seen.append(row)
            yield ROWS[row : row + 10]

    return Decoder(ROWS.shape, blocks, lambda: {"seen": list(seen)}, blocks)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SYNCED", 1)


def test_an_interrupted_decoding_goes_on(tmp_path: Path):
    kept = ArrayCache(tmp_path, "set", {"a": 1})
    first: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        kept.make(decoder(first, KeyboardInterrupt))
    assert first == [0, 10, 20]
    assert kept.load() is None
    second: list[int] = []
    assert torch.equal(kept.make(decoder(second)), torch.from_numpy(ROWS))
    assert second == [30, 40]
    assert [path.name for path in kept.path.parent.iterdir() if path.suffix in (".part", ".json")] == [
        kept.path.with_suffix(".json").name
    ]


def test_what_was_written_after_the_last_pause_is_written_again(tmp_path: Path):
    kept = ArrayCache(tmp_path, "set", {"a": 1})
    with pytest.raises(KeyboardInterrupt):
        kept.make(decoder([], KeyboardInterrupt))
    part = next(kept.path.parent.glob(".*.part"))
    with part.open("ab") as file:
        file.write(b"half a row")
    assert torch.equal(kept.make(decoder([])), torch.from_numpy(ROWS))


@pytest.mark.parametrize("damage", ["short", "notes"])
def test_a_part_that_is_not_whole_is_made_anew(tmp_path: Path, damage: str):
    kept = ArrayCache(tmp_path, "set", {"a": 1})
    with pytest.raises(KeyboardInterrupt):
        kept.make(decoder([], KeyboardInterrupt))
    part = next(kept.path.parent.glob(".*.part"))
    if damage == "short":
        part.write_bytes(part.read_bytes()[:200])
    else:
        part.with_suffix(".json").write_text("{")
    seen: list[int] = []
    assert torch.equal(kept.make(decoder(seen)), torch.from_numpy(ROWS))
    assert seen == [0, 10, 20, 30, 40]


def test_an_error_leaves_nothing(tmp_path: Path):
    kept = ArrayCache(tmp_path, "set", {"a": 1})
    with pytest.raises(DataError):
        kept.make(decoder([], DataError))
    assert not [path for path in kept.path.parent.iterdir() if not path.name.endswith(".lock")]


def test_room_is_looked_for_before_anything_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=799))
    monkeypatch.setattr(base, "LARGE", 1)
    seen: list[int] = []
    with pytest.raises(DataError, match=r"8e-07 GB more are needed, 7\.99e-07 GB are free.*set OWAE_DATA"):
        ArrayCache(tmp_path, "set", {"a": 1}).make(decoder(seen))
    assert not seen


def test_pictures_go_on_with_what_was_known_to_be_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from PIL import Image

    from owae_data.image_folder import ImageFolder

    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "home"))
    monkeypatch.setattr(base, "LARGE", 1)
    monkeypatch.setattr(picture_sets, "RUN", 4)
    (tmp_path / "set").mkdir()
    for n in range(20):
        Image.fromarray(ROWS[n].repeat(2, 1)[0].repeat(2, 1)).save(tmp_path / "set" / f"{n:02d}.png")
    whole = bytearray((tmp_path / "set" / "02.png").read_bytes())
    whole[50:60] = bytes(10)
    (tmp_path / "set" / "02.png").write_bytes(whole)
    decoded = []
    read = picture_sets.read

    def reading(source, form):
        if len(decoded) == 12 and not resumed:
            raise KeyboardInterrupt
        decoded.append(source)
        return read(source, form)

    monkeypatch.setattr(picture_sets, "read", reading)
    resumed: list[bool] = []
    with pytest.raises(KeyboardInterrupt):
        ImageFolder("train", path=tmp_path / "set", skip_broken=True)
    decoded.clear()
    resumed.append(True)
    source = ImageFolder("train", path=tmp_path / "set", skip_broken=True, holdout=0.05)
    assert len(decoded) < 12
    assert len(source) == 18
    monkeypatch.setattr(picture_sets, "read", read)
    expected = [Image.open(tmp_path / "set" / name) for name in source._names]
    assert torch.equal(source.batch(torch.arange(18)), torch.from_numpy(np.stack([np.asarray(one) for one in expected]))[:, None])


BOUNDED = """
import multiprocessing, resource, sys
import numpy as np, torch
from multiprocessing.reduction import ForkingPickler
from owae.data.loader import Loader
from owae_data.base import StoredSource
from owae_data.cache import mapped
from pathlib import Path

path = Path(sys.argv[1])
file = np.lib.format.open_memmap(path, "w+", np.uint8, (24_000, 3, 64, 64))
for at in range(0, len(file), 1000):
    file[at : at + 1000] = at // 1000
file.flush()
del file


def status(name):
    line = next(line for line in open("/proc/self/status") if line.startswith(name + ":"))
    return int(line.split()[1]) << 10


allowed = 128 << 20
assert path.stat().st_size > 2 * allowed
before = status("VmData")
resource.setrlimit(resource.RLIMIT_DATA, (before + allowed, before + allowed))
source = StoredSource(mapped(path))
assert len(bytes(ForkingPickler.dumps(source))) < 1 << 15
there, here = multiprocessing.Pipe()
there.send(source)  # as to a worker process
sent = here.recv()
total, anonymous = 0, status("RssAnon")
for batch in Loader(sent, 128).epoch(1):
    total += float(batch[:, 0, 0, 0].sum())
assert abs(total * 255 - sum(range(24)) * 1000) < 10, total
assert status("RssAnon") - anonymous < allowed
try:
    np.ones(2 * allowed, np.uint8)
except MemoryError:
    print("bounded")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA is held to on Linux")
def test_a_set_twice_the_memory_is_read(tmp_path: Path):
    command = [sys.executable, "-c", BOUNDED, str(tmp_path / "set.npy")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.stdout.strip() == "bounded", done.stderr


def test_a_mapped_array_is_sent_to_workers_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("owae_data.array_files.LARGE", 0)
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (100, 30, 30, 3), dtype=np.uint8))
    source = Arrays("train", path=tmp_path / "x.npy")
    state = source.__getstate__()
    assert not isinstance(state["_examples"], torch.Tensor)
    there = Arrays.__new__(Arrays)
    there.__setstate__(state)
    rows = torch.tensor([3, 0, 7])
    assert torch.equal(there.batch(rows), source.batch(rows))
