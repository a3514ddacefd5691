"""What a training does with signals while it runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from unignored import unignore

from owae.errors import STOP_SIGNALS
from owae.run.signals import Interrupts


@pytest.fixture(params=STOP_SIGNALS, ids=lambda number: number.name)
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    before = signal.getsignal(request.param)
    yield request.param
    signal.signal(request.param, before)


def test_a_signal_is_noted_and_its_handler_restored(number: int):
    signal.signal(number, signal.SIG_DFL)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        assert interrupts.received == number
    assert signal.getsignal(number) == signal.SIG_DFL


def test_a_signal_that_is_ignored_at_the_start_stays_ignored(number: int):
    signal.signal(number, signal.SIG_IGN)
    with Interrupts() as interrupts:
        os.kill(os.getpid(), number)
        assert signal.getsignal(number) == signal.SIG_IGN
        assert interrupts.received is None
    assert signal.getsignal(number) == signal.SIG_IGN


def test_what_a_test_starts_does_not_inherit_that_the_suite_was_started_to_ignore_a_signal(number: int):
    """A job in the background of a script ignores SIGINT, under nohup SIGHUP; a training that a test starts there must heed it."""
    signal.signal(number, signal.SIG_IGN)
    unignore()
    os.kill(os.getpid(), number)
    program = f"import os, time; os.kill(os.getpid(), {int(number)}); time.sleep(60)"
    assert subprocess.run([sys.executable, "-c", program], check=False, stderr=subprocess.DEVNULL).returncode == -number


@pytest.mark.parametrize(
    ("sent", "code"),
    [("INT TERM", 143), ("TERM TERM", 143), ("USR1 INT INT", 130), ("USR1 USR1 TERM", 0), ("HUP HUP", 0), ("USR2 TERM HUP", 0)],
)
def test_only_a_user_or_scheduler_that_insists_ends_a_training_at_once(sent: str, code: int):
    program = (
        "import os, signal, sys\n"
        "from owae.run.signals import Interrupts\n"
        "for name in 'INT', 'TERM', 'HUP', 'USR1', 'USR2':\n"
        "    signal.signal(getattr(signal, 'SIG' + name), signal.SIG_DFL)\n"
        "with Interrupts() as interrupts:\n"
        f"    sent = [getattr(signal, 'SIG' + name) for name in '{sent}'.split()]\n"
        "    for number in sent:\n"
        "        os.kill(os.getpid(), number)\n"
        "    assert interrupts.received == sent[0]\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == code
