"""Pictures in tar files: the contract, the order whoever reads, what is refused, and that an index is made once."""

from __future__ import annotations

import gzip
import io
import multiprocessing
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from owae.data.loader import Loader
from owae.data.sources import reads_singly
from owae.errors import DataError
from owae.testing import check_source
from owae_data.image_folder import ImageFolder
from owae_data.shards import index
from owae_data.shards.source import Shards


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OWAE_DATA", str(tmp_path / "home"))
    return tmp_path / "home"


def picture(seed: int, size: tuple[int, int] = (9, 7), format_: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format=format_)
    return stream.getvalue()


def write(path: Path, members: dict[str, bytes], format_: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format_) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def samples(numbers: range, **also: bytes) -> dict[str, bytes]:
    members = {}
    for n in numbers:
        members |= {
            f"a/{n:05d}.png": picture(n),
            f"a/{n:05d}.cls": str(n % 3).encode(),
            **{f"a/{n:05d}.{k}": v for k, v in also.items()},
        }
    return members


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for shard in range(3):
        write(tmp_path / "set" / f"part-{shard:02d}.tar", samples(range(20 * shard, 20 * shard + 20), json=b"{}"))
    return tmp_path / "set"


def test_shards_keep_the_contract(folder: Path):
    assert reads_singly(Shards("train", path=folder))  # so that a slow epoch is told what workers would do
    check_source(Shards, path=folder)
    check_source(
        Shards,
        path=folder,
        channels=1,
        size=(4, 5),
        value_range=(-1.0, 1.0),
        test_path=write(folder.parent / "t.tar", samples(range(90, 99))),
    )


def test_examples_and_labels_are_those_of_the_files(folder: Path, tmp_path: Path):
    train = Shards("train", path=folder, holdout=0.2)
    assert (len(train), train.shape) == (48, (3, 9, 7))
    assert train.labels is not None
    seen = {train[i].numpy().tobytes(): label for i, label in enumerate(train.labels.tolist())}
    for n in range(60):
        pixels = np.asarray(Image.open(io.BytesIO(picture(n)))).transpose(2, 0, 1).tobytes()
        if pixels in seen:
            assert seen.pop(pixels) == n % 3
    assert not seen
    for n in range(60):  # the same files in a folder are read alike
        path = tmp_path / "pictures" / f"{n:05d}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(picture(n))
    options = {"size": (6, 6), "crop": (7, 7), "channels": 1, "holdout": 0.2}
    unlabelled = Shards("train", path=folder, labels=False, **options)
    assert unlabelled.labels is None
    same = ImageFolder("train", path=tmp_path / "pictures", **options)
    rows = torch.arange(48)
    assert torch.equal(unlabelled.batch(rows), same.batch(rows))


@pytest.mark.parametrize("pattern", ["part-*.tar", "part-{00..02}.tar", ""])
def test_files_are_named_by_folder_pattern_or_range(folder: Path, pattern: str):
    assert len(Shards("test", path=folder / pattern)) == 6
    assert [path.name for path in index.tar_files(folder / pattern)] == ["part-00.tar", "part-01.tar", "part-02.tar"]


@pytest.mark.parametrize("names", [("train-0.tar", "train-1.tar", "val-0.tar"), ("Train/0.tar", "train-1.tar", "testing/0.tar")])
def test_files_named_as_splits_are(tmp_path: Path, names: tuple[str, ...]):
    for number, name in enumerate(names):
        write(tmp_path / "set" / name, samples(range(20 * number, 20 * number + 10)))
    assert [len(Shards(split, path=tmp_path / "set")) for split in ("train", "test")] == [20, 10]
    assert len(Shards("test", path=tmp_path / "set" / names[0])) == 1


def test_files_that_are_like_splits_by_half_are_refused(folder: Path):
    (folder / "part-02.tar").rename(folder / "part-test.tar")
    with pytest.raises(DataError, match=r"'part-test\.tar': splits or one set"):
        Shards("train", path=folder)
    assert len(Shards("test", path=folder / "part-{00..01}.tar", test_path=folder / "part-test.tar")) == 20


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_batches_are_the_same_whoever_reads_and_wherever_an_epoch_goes_on(folder: Path, method: str):
    source = Shards("train", path=folder)
    plain, ahead = Loader(source, 8, seed=1), Loader(source, 8, seed=1, workers=2)
    assert ahead.workers is not None
    ahead.workers.start_method = method
    try:
        for start in (0, 4):
            pairs = zip(plain.epoch(2, start), ahead.epoch(2, start), strict=True)
            assert all(torch.equal(one, other) for one, other in pairs)
    finally:
        ahead.close()
    ranks = [torch.cat(list(Loader(source, 8, seed=1, rank=rank, ranks=2).epoch(2))) for rank in (0, 1)]
    assert len(torch.cat(ranks)) == len(source)
    there, here = multiprocessing.Pipe()
    with there, here:
        there.send(source)  # as to a worker process
        again = here.recv()
    assert torch.equal(again[5], source[5])
    assert again.fingerprint() == source.fingerprint()


def test_threads_and_forked_processes_read_what_one_reads(folder: Path):
    source = Shards("train", path=folder)
    expected = [source[index] for index in range(len(source))]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            assert all(map(torch.equal, pool.map(source.__getitem__, range(len(source))), expected))
    if sys.platform == "linux":  # an open file would be shared with processes that are forked from here, its place too
        assert not [one for one in Path("/proc/self/fd").iterdir() if one.exists() and ".tar" in str(one.resolve())]


def test_an_index_is_made_once_and_anew_when_a_file_has_changed(folder: Path, monkeypatch: pytest.MonkeyPatch):
    read = []
    members = index._members
    monkeypatch.setattr(index, "_members", lambda path, *more: read.append(path.name) or members(path, *more))
    before = Shards("train", path=folder)
    Shards("test", path=folder)
    assert read == ["part-00.tar", "part-01.tar", "part-02.tar"]
    write(folder / "part-01.tar", samples(range(200, 230)))
    after = Shards("train", path=folder)
    assert read[3:] == ["part-01.tar"]
    assert before.fingerprint() != after.fingerprint()


def test_the_first_frame_of_a_file_counts_and_further_ones_are_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    frames, stream = [Image.new("L", (6, 5), value) for value in (0, 255)], io.BytesIO()
    frames[0].save(stream, format="GIF", save_all=True, append_images=frames[1:])
    path = write(tmp_path / "x.tar", {**{f"{n}.png": picture(n, (5, 6)) for n in range(5)}, "9.gif": stream.getvalue()})
    caplog.set_level("INFO")
    source = Shards("train", path=path, test_path=path)
    assert (source[5] == 0).all()
    assert "1 of 6 files hold further pages or frames, and the first of each is read" in caplog.text


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_format(tmp_path: Path, format_: int):
    deep = "d" * 60 + "/" + "e" * (30 if format_ == tarfile.USTAR_FORMAT else 120)
    path = write(tmp_path / "x.tar", {f"{deep}{n}.png": picture(n) for n in range(6)}, format_)
    assert len(Shards("train", path=path)) == 5
    assert Shards("train", path=path).labels is None


def test_broken_pictures_are_refused_or_left_out(folder: Path):
    write(folder / "part-03.tar", {"x.png": b"no picture", "y.png": picture(100)})
    with pytest.raises(DataError, match=r"1 of 62 pictures cannot be read .*part-03\.tar, at byte 512.*skip_broken"):
        Shards("train", path=folder)
    assert len(Shards("train", path=folder, skip_broken=True)) == 55
    (folder / "part-03.tar").unlink()
    jpegs = [picture(n, (40, 40), "JPEG") for n in range(2)]
    source = Shards("train", path=write(folder / "part-04.tar", {"x.jpg": jpegs[0][:-200], "y.jpg": jpegs[1]}), holdout=0.5)
    with pytest.raises(DataError, match=r"example 0 .*part-04\.tar, at byte 512\) cannot be read"):
        source.batch(torch.tensor([0]))


@pytest.mark.parametrize(
    ("members", "options", "message"),
    [
        ({"a.png": picture(1), "a.jpg": picture(2, format_="JPEG")}, {}, "a has pictures png, jpg; set image"),
        ({"a.png": picture(1), "a.cls": b"cat"}, {}, r"a\.cls holds b'cat'"),
        ({"a.txt": b"words"}, {}, "no pictures"),
        ({"a.png": picture(1), "b.png": picture(2, (5, 5))}, {}, r"differ in size .* set size = \[9, 7\]"),
        ({"a.png": picture(1), "b.png": picture(2)}, {"crop": (10, 3)}, "smaller than the crop 10x3"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, members: dict, options: dict, message: str):
    with pytest.raises(DataError, match=message):
        Shards("train", path=write(tmp_path / "x.tar", members), **options)


def test_an_ending_can_be_chosen(tmp_path: Path):
    members = {name: content for n in range(4) for name, content in ((f"{n}.png", picture(n)), (f"{n}.seg.png", picture(n + 50)))}
    path = write(tmp_path / "x.tar", members)
    with pytest.raises(DataError, match=r"pictures png, seg\.png"):
        Shards("train", path=path)
    found = Shards("train", path=path, image="seg.png")[0]
    assert found.numpy().tobytes() in {
        np.asarray(Image.open(io.BytesIO(picture(n + 50)))).transpose(2, 0, 1).tobytes() for n in range(4)
    }


def test_files_that_are_no_tar_files(tmp_path: Path):
    for name, content, message in (
        ("packed.tar", gzip.compress(write(tmp_path / "x.tar", samples(range(3))).read_bytes()), "compressed: unpack it"),
        ("short.tar", write(tmp_path / "z.tar", samples(range(3))).read_bytes()[:800], "unexpected end"),
        ("cut.tar", write(tmp_path / "y.tar", samples(range(3))).read_bytes()[:1500], "unexpected end"),
        ("other.tar", b"text" * 1000, "cannot be read as a tar file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            Shards("train", path=tmp_path / name)
    for name in ("none.tar", "none-*.tar", "x-{0..1}.tar"):
        with pytest.raises(DataError, match="no such tar file"):
            Shards("train", path=tmp_path / name)
