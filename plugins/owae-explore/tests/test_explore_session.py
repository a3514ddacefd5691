"""What a page shows is what the stack computes."""

from __future__ import annotations

import base64
import io
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from owae.data.sources import examples
from owae.errors import DataError, InputError, OwaeError
from owae.model.inference import evaluating
from owae_explore.session import Session, plain
from owae_report.pixels import to_pixels


@pytest.fixture(scope="module")
def session(pictures):
    return Session(pictures)


def pixels(session: Session, event: list[float]) -> np.ndarray:
    return np.moveaxis(np.array(event).reshape(session.shape), 0, -1)


def decoded(session: Session, z: list[float], level: int) -> np.ndarray:
    with evaluating(session.stack):
        return to_pixels(session.stack.decode(torch.tensor([z]), level), session.run.value_range)[0]


def test_means_lead_down_to_what_the_stack_decodes(session):
    found = session.descend(2, [0.5, -1.0], {})
    assert len(found["events"]) == 2
    for event in found["events"]:
        assert np.array_equal(pixels(session, event), decoded(session, [0.5, -1.0], 2))


def test_noise_is_a_level_s_own_and_a_seed_s(session):
    still, one, again, other = (session.descend(2, [0.5, -1.0], noise) for noise in ({}, {1: 1}, {1: 1}, {1: 2}))
    assert one == again
    assert one["events"][0] == still["events"][0] == other["events"][0]
    assert one["events"][1] != still["events"][1] != other["events"][1] != one["events"][1]
    assert np.array_equal(pixels(session, one["events"][1]), decoded(session, one["codes"][1], 1))


@pytest.mark.parametrize(
    ("level", "kind", "pair"), [(2, "coordinates", [0, 1]), (1, "coordinates", [5, 2]), (1, "principal", [0, 3])]
)
def test_a_plane_passes_through_a_code_and_its_sheet_shows_it(session, level, kind, pair):
    z = session.codes[level - 1][3].tolist()
    found = session.plane(level, kind, pair, z)
    at = torch.tensor(found["centre"]) + sum(u * torch.tensor(axis) for u, axis in zip(found["place"], found["axes"], strict=True))
    assert torch.allclose(at, torch.tensor(z), atol=1e-4)
    with Image.open(io.BytesIO(base64.b64decode(found["sheet"].partition(",")[2]))) as image:
        sheet = np.asarray(image)
    corner = torch.tensor(found["centre"]) - torch.tensor(found["axes"][0]) + torch.tensor(found["axes"][1])
    assert np.abs(sheet[:12, :8].astype(int) - decoded(session, corner.tolist(), level)).max() <= 1
    assert sheet.shape == (12 * found["rows"], 8 * found["columns"], 3)


def test_an_own_picture_becomes_the_example_that_it_was(session):
    x = examples(session.source, torch.tensor([2]))
    buffer = io.BytesIO()
    Image.fromarray(to_pixels(x, session.run.value_range)[0]).save(buffer, format="PNG")
    own, held_out = session.own(buffer.getvalue()), session.example(2)
    assert own == held_out
    with evaluating(session.stack):
        expected = [float((x - session.stack.reconstruct(x, level)).square().sum()) for level in (1, 2)]
    assert own["errors"] == pytest.approx(expected, rel=1e-4)


def test_a_walk_visits_examples_of_a_class(session):
    found = session.walk(2, 1)
    assert all(session.source.labels[place] == 1 for place in found["examples"])
    with evaluating(session.stack):
        codes = session.stack.encode(examples(session.source, torch.tensor(found["examples"])))[1]
    assert np.allclose(found["codes"], codes, atol=1e-5)


def test_a_table_has_values_and_no_sheet(table):
    session = Session(table)
    about = session.about()
    assert about["picture"] is None
    assert about["values"]["low"] < about["values"]["high"]
    assert session.plane(2, "coordinates", [0, 1], None)["sheet"] is None
    assert np.shape(session.descend(2, [0.0, 0.0], {1: 5})["events"]) == (2, 4)
    with pytest.raises(DataError, match="no pictures"):
        session.own(b"")


def test_of_four_channels_that_are_no_bytes_three_are_shown_or_those_asked_for(trained):
    run = trained(np.random.default_rng(0).random((64, 4, 12, 8), dtype=np.float32))
    for asked, count, mode in ((None, 3, "RGB"), ("3", 1, "L"), ("3,0,1", 3, "RGB")):
        session = Session(run, asked)
        assert session.about()["picture"]["channels"] == count
        assert np.shape(session.descend(2, [0.0, 0.0], {})["events"]) == (2, count * 12 * 8)
        with Image.open(io.BytesIO(base64.b64decode(session.plane(2, "coordinates", [0, 1])["sheet"].partition(",")[2]))) as image:
            assert image.mode == mode
    with pytest.raises(OwaeError, match="the data have 4 channels, 0 to 3"):
        Session(run, "4")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda session: session.descend(3, [0.0], {}), "no level 3"),
        (lambda session: session.descend(2, [0.0], {}), "1 numbers for a code z_2; it has 2"),
        (lambda session: session.descend(2, [float("nan"), 0], {}), "finite"),
        (lambda session: session.descend(2, {"a": 1}, {}), "a list of numbers"),
        (lambda session: session.plane(1, "coordinates", [0, 0]), "the pair"),
        (lambda session: session.plane(1, "coordinates", [0, 8]), "0 to 7"),
        (lambda session: session.plane(1, "planar", [0, 1]), "'coordinates' and 'principal'"),
        (lambda session: session.example(-1), "no held-out example -1"),
        (lambda session: session.walk(1, 9), "no held-out example has class 9"),
        (lambda session: session.own(b"no picture"), "no picture of a known format"),
    ],
)
def test_what_cannot_be_shown_is_said(session, ask, message):
    with pytest.raises((InputError, DataError), match=message):
        ask(session)


def test_planes_of_a_single_held_out_example_are_finite(pictures):
    session = Session(pictures)
    session.codes = [codes[:1] for codes in session.codes]
    for level, kind in itertools.product((1, 2), ("coordinates", "principal")):
        found = session.plane(level, kind, [0, 1])
        assert np.isfinite([*found["axes"][0], *found["axes"][1], *found["place"], found["spread"]]).all()
        assert np.linalg.norm(found["axes"][0]) == pytest.approx(2), "two standard deviations of a normal"
    with pytest.raises(InputError, match="2 principal components"):
        session.plane(1, "principal", [0, 5])


def test_messages_name_no_paths():
    assert plain("/home/me/data.npz does not exist; a/b is fine") == "… does not exist; a/b is fine"
