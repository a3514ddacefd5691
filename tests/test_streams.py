"""What plugins and libraries print goes to stderr; stdout holds results."""

from __future__ import annotations

import os

import pytest

from owae.streams import quiet_stdout


def test_what_is_printed_within_goes_to_stderr_also_from_outside_python(capfd: pytest.CaptureFixture[str]):
    print("before")
    with quiet_stdout():
        print("by python")
        os.write(1, b"by a library\n")
    print("after")
    out, err = capfd.readouterr()
    assert out == "before\nafter\n"
    assert sorted(err.splitlines()) == ["by a library", "by python"]
