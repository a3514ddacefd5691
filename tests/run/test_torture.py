"""A short form of `benchmarks/torture.py`: trainings killed at random moments, some of them inside a save."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TORTURE = Path(__file__).resolve().parents[2] / "benchmarks" / "torture.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_training_killed_again_and_again_equals_one_left_alone():
    done = subprocess.run([sys.executable, str(TORTURE), "--cycles", "2"], capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("survived 2 / 2 (")
    assert done.stdout.endswith("at the end equal to the bit\n")
