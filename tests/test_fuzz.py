"""What comes from outside, in any form: configs, checkpoint files, arrays, picture files. Each works or is refused in owae's words.

A few inputs are tried each time; `OWAE_FUZZ=5000` tries so many in every test.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from fuzzing import BUDGET, fuzz, mistaken, write
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from PIL import Image

from owae import Config, OwaeError, Stack, fit
from owae.cli import _run
from owae.config.build import build
from owae.run import checkpoint
from owae.training.loop import Fit
from owae_data.arrays import Arrays
from owae_data.image_folder import ImageFolder
from owae_data.pictures import Form, as_event
from owae_layers import MLP
from owae_mmd import MMD

WHOLE = """
matched_level = 2
[data]
kind = "arrays"
path = "images.npz"
holdout = 0.2
value_range = [0.0, 1.0]
layout = "auto"
[[levels]]
layer = { kind = "mlp", latent = 8, hidden = [16, 16], output = "sigmoid", decoder = "gaussian" }
cost = { kind = "squared-euclidean" }
[[levels]]
layer = { kind = "mlp", latent = 2, hidden = [16] }
regulariser = { kind = "log-variance" }
space = "data"
target = "data"
[weights]
reconstruction = { rule = "power", base = 0.1, per_dimension = true }
match = 1e-3
regulariser = 0.01
[divergence]
kind = "mmd"
[prior]
kind = "standard-normal"
[train]
epochs = 2
batch_size = 16
log_every = 1
seed = 3
device = "cpu"
precision = "32"
optimizer = { name = "Adam", lr = 1e-3, betas = [0.9, 0.999] }
schedule = { name = "CosineAnnealingLR" }
warmup = 3
accumulate = 2
ema = 0.99
validation = 0.1
best = { metric = "validation/loss", mode = "min", patience = 2 }
clip_gradients = 1.0
checkpoint_steps = 4
skip_bad_steps = 1
loggers = ["csv"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fuzz")
    tiny.config(made)
    return made


def _told(config: dict[str, Any], folder: Path, registry: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """A config checks with 0, and then takes a step or is refused by an error of owae's, or ends in 2 with the file or the data named."""
    path = folder / "fuzzed.toml"
    try:
        write(config, path)
    except (TypeError, ValueError):
        return  # no TOML
    capsys.readouterr()
    code, said = _run(["check", str(path)]), capsys.readouterr().err
    assert code in (0, 2), said
    assert "Traceback" not in said
    if code == 2:
        assert "fuzzed.toml" in said or "data" in said or str(folder) in said
        return
    checked = Config.load(path, registry)
    if checked.train.workers or checked.train.devices != 1:  # would start processes, as many as it says
        return
    built = build(checked, registry)
    _refusal(lambda: next(iter(Fit(built.stack, built.train, validation=built.test, options=checked.train))))


@pytest.mark.slow
def test_a_config_works_or_is_refused_with_its_place(folder: Path, registry: Any, capsys: pytest.CaptureFixture[str]) -> None:
    configs = [tomllib.loads(WHOLE), tomllib.loads((folder / "tiny.toml").read_text())]
    for config in configs:
        write(config, folder / "fuzzed.toml")
        assert _run(["check", str(folder / "fuzzed.toml")]) == 0

    @fuzz(25)
    @given(mistaken(configs))
    def tell(config: dict[str, Any]) -> None:
        _told(config, folder, registry, capsys)

    tell()


STATE = {
    "model": {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16), "n": torch.tensor(3)},
    "optimizer": {"state": {0: {"step": torch.tensor(2.0), "betas": (0.9, 0.999)}}, "groups": [{"lr": 1e-3, "name": "Ünits"}]},
    "generators": {"torch": torch.arange(16, dtype=torch.uint8)},
    "step": 7,
}


def test_a_checkpoint_with_any_byte_altered_or_cut_anywhere_is_refused(tmp_path: Path) -> None:
    path = checkpoint.save(tmp_path, STATE)
    older = checkpoint.save(tmp_path / "older", STATE | {"step": 3}).rename(tmp_path / "step-000000003.safetensors")
    whole = path.read_bytes()
    random = np.random.default_rng(0 if not BUDGET else None)
    flips = range(0, len(whole), 3) if not BUDGET else random.integers(0, len(whole), BUDGET)
    for tried, at in enumerate(flips):
        altered = bytearray(whole)
        altered[at] ^= 1 << int(random.integers(0, 8)) if tried % 2 else int(random.integers(1, 256))
        _refused(path, bytes(altered), int(at))
    for length in range(0, len(whole), 1 if BUDGET else 29):
        _refused(path, whole[:length], length)
    _refused(path, whole + b"\0", len(whole))
    newest = checkpoint.load_newest(tmp_path)
    assert newest is not None
    assert (newest[0], newest[1]["step"]) == (older, 3)


def _refused(path: Path, content: bytes, at: int) -> None:
    path.write_bytes(content)
    found: list[Any] = []
    said = _refusal(lambda: found.append(checkpoint.load(path)))
    # A space among those that fill the header up may become another sign that JSON passes over.
    assert path.name in said or repr(found) == repr([STATE]), f"altered at byte {at}: {said}"


def _refusal(use: Callable[[], Any]) -> str:
    """What owae says against a use; nothing if it works. Any other error is a failure."""
    try:
        use()
    except OwaeError as error:
        assert str(error)  # noqa: PT017 # an error may come or not
        return str(error)
    return ""


DTYPES = st.sampled_from(
    ["?", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8", "g", "c8", "c16"]
) | st.sampled_from([">f4", ">i4", ">u2", "S3", "U2", "O", "M8[s]", "m8[s]"])
SHAPES = arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=8) | st.sampled_from(
    [(9, 8, 8), (9, 1, 8, 8), (9, 64)]
)


@st.composite
def any_array(draw: Any) -> np.ndarray:
    """Numbers of any type, shape, order and strides, with NaN, infinities and huge values among them."""
    dtype, shape = draw(DTYPES), draw(SHAPES)
    random = np.random.default_rng(draw(st.integers(0, 99)))
    scale = draw(st.sampled_from([1.0, 255.0, -1.0, 1e-40, 1e30, 0.0]))
    with np.errstate(all="ignore"):
        array = np.asarray(random.random(shape) * scale).astype(dtype)
    if array.dtype.kind in "fc" and array.size and draw(st.booleans()):
        array.flat[draw(st.integers(0, array.size - 1))] = draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    form = draw(st.sampled_from(["C", "F", "reversed", "every second", "read-only", "transposed"]))
    if form == "F":
        return np.asfortranarray(array)
    if form == "reversed":
        return array[::-1] if array.ndim else array
    if form == "every second":
        return array[::2] if array.ndim else array
    if form == "transposed":
        return array.T
    array.flags.writeable = form != "read-only"
    return array


@fuzz(40)
@given(any_array())
def test_an_array_trains_or_is_refused(array: np.ndarray) -> None:
    stack = Stack([MLP((1, 8, 8), latent=2, hidden=[4], output="sigmoid")], divergence=MMD(), weights=[1.0])
    _refusal(lambda: next(iter(fit(stack, array, epochs=1, batch_size=4))))
    _refusal(lambda: stack.encode(array))
    _refusal(lambda: stack.decode(array))


@fuzz(40)
@given(any_array(), st.booleans(), any_array())
def test_a_file_of_arrays_is_read_or_refused(tmp_path: Path, array: np.ndarray, packed: bool, labels: np.ndarray) -> None:
    path = tmp_path / ("x.npz" if packed else "x.npy")
    if packed:
        np.savez(path, x=array, y=labels)
    else:
        np.save(path, array)
    for split in ("train", "test"):
        found: list[Any] = []
        said = _refusal(lambda split=split, found=found: found.append(Arrays(split, path=path)))
        assert not said or str(path) in said or "example" in said
        for source in found:
            batch = source.batch(torch.arange(len(source)))
            assert tuple(batch.shape) == (len(source), *source.shape)
            assert batch.dtype in (torch.uint8, torch.float32)


@pytest.mark.slow
@fuzz(40)
@given(st.data())
def test_a_damaged_picture_is_read_or_refused(tmp_path: Path, data: Any) -> None:
    kind = data.draw(st.sampled_from(["png", "jpg", "bmp", "gif", "tif", "webp"]))
    mode = data.draw(st.sampled_from(["L", "RGB"]))
    path = tmp_path / f"x.{kind}"
    noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    Image.fromarray(noise).convert(mode).save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))]))
    said = _refusal(lambda: as_event(path, Form(crop=(4, 4)), (3, 4, 4)))
    assert not said or str(path) in said
    for split in ("train", "test"):
        said = _refusal(lambda split=split: ImageFolder(split, path=tmp_path, size=(4, 4)))
        assert not said or str(tmp_path) in said or "example" in said
