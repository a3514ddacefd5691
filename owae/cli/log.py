"""Logs go to stderr: with rich on a terminal, one plain line each elsewhere."""

from __future__ import annotations

import logging

from owae.streams import on_terminal

_NAME = "owae-cli"


class _Ours(logging.Filter):
    """Lets pass what owae and its plugins say, and warnings of everybody."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.name.partition(".")[0].startswith("owae")


class _Plain(logging.Formatter):
    """The message, with its level where that is not the usual one."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno == logging.INFO else f"{record.levelname.lower()}: {text}"


def set_up_logging(*, verbose: bool = False, quiet: bool = False) -> None:
    """Sends logs to stderr; called again, it replaces what it set up before."""
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if handler.get_name() == _NAME]:
        root.removeHandler(old)
    handler = _handler()
    handler.set_name(_NAME)
    handler.addFilter(_Ours())
    root.addHandler(handler)
    root.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)


def _handler() -> logging.Handler:
    if on_terminal():
        from rich.console import Console
        from rich.logging import RichHandler

        return RichHandler(console=Console(stderr=True), show_time=False, show_path=False, highlighter=None)
    handler = logging.StreamHandler()
    handler.setFormatter(_Plain())
    return handler
